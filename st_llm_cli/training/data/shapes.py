"""Samples from the world of moving shapes, rendered in memory."""

from __future__ import annotations

import difflib
from random import Random

from st_llm_cli.errors import RecipeError
from st_llm_cli.model import prompt
from st_llm_cli.recipe.sources import Shapes, Video
from st_llm_cli.shapes import questions
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.words import names_of, vocabulary
from st_llm_cli.shapes.world import TRAIN_SEEDS, make_picture, make_scene
from st_llm_cli.training.data.example import Example, Task, sample_rng
from st_llm_cli.training.data.order import Buckets


def check_kinds(source: Shapes) -> None:
    """Refuse kinds of questions that there are not, or that some scenes do not give.

    Raises:
        RecipeError: Saying which.
    """
    table = questions.IMAGE_QUESTION_KINDS if source.kind == "images" else questions.QUESTION_KINDS
    for kind in source.kinds or ():
        if kind not in KINDS[source.kind]:
            near = difflib.get_close_matches(kind, KINDS[source.kind], n=1)
            fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(KINDS[source.kind])}"
            raise RecipeError(f"no kind of question '{kind}' of {source.kind}", where="shapes.kinds", fix=fix)
    for seed in range(_SCENES_TO_CHECK if source.kinds else 0):
        scene = make_scene(seed)
        if all(table[kind](scene, Random(seed)) is None for kind in source.kinds or ()):
            what = "some scenes give no question of these kinds"
            raise RecipeError(what, where="shapes.kinds", fix="add a kind that all give, such as color")


def draw_shapes(source: Shapes, rng: Random, num_frames: int, resolution: int, mask_seed: int = 0) -> Example:
    """Draw a scene of moving shapes and ask about it.

    Args:
        source: Kind of scene and mixture of questions.
        rng: Source of randomness.
        num_frames: Frames of a clip; a picture has one.
        resolution: Side of the frames in pixels.
        mask_seed: See `Example`.
    """
    scene, tasks = draw_tasks(source, rng)
    is_picture = source.kind == "images"
    frames = sample_frames(scene, 1 if is_picture else num_frames, resolution)
    return Example(frames, tasks, is_picture=is_picture, mask_seed=mask_seed, scene=scene)


def draw_tasks(source: Shapes, rng: Random) -> tuple[Scene, tuple[Task, ...]]:
    """Draw a scene and what is asked about it, without its pictures. See `draw_shapes`."""
    seed = rng.randrange(len(TRAIN_SEEDS))
    make = make_picture if source.kind == "images" else make_scene
    scene = make(seed, num_objects=source.num_objects)
    return scene, tuple(_tasks(source, scene, rng))


class Rendered:
    """A source whose samples are rendered: every place of it is a scene of its own.

    Args:
        name: Unlike any other group's of the stage.
        source: Its settings.
        video: The recipe's block.
        resolution: Side of the frames in pixels.
        seed: The stage's.
        batch_size: Samples per step, on all processes together.
    """

    def __init__(
        self, name: str, source: Shapes, video: Video, resolution: int, seed: int, batch_size: int
    ) -> None:
        self.name = name
        self.source = source
        self.video = video
        self.resolution = resolution
        self.seed = seed
        self.buckets = Buckets(seed, name, batch_size, self._length)

    def example(self, place: int) -> Example:
        """Render the scene of a place and ask about it."""
        mask_seed = sample_rng(self.seed, "drops", self.name, place).getrandbits(48)
        return draw_shapes(self.source, self._rng(place), self.video.num_frames, self.resolution, mask_seed)

    def _length(self, place: int) -> int:
        return sum(task.length for task in draw_tasks(self.source, self._rng(place))[1])

    def _rng(self, place: int) -> Random:
        return sample_rng(self.seed, "sample", self.name, place)


def _tasks(source: Shapes, scene: Scene, rng: Random) -> list[Task]:
    kinds = source.kinds or KINDS[source.kind]
    ask = questions.ask_any_image if source.kind == "images" else questions.ask_any
    tasks = []
    if rng.random() < source.captions:
        tasks.append(_free(ask(scene, rng, CAPTIONS[source.kind])))
    if source.kind == "images" and rng.random() < source.exact_places:
        tasks.append(exact_place(scene, rng))
    while len(tasks) < source.questions_per_clip:
        question = ask(scene, rng, kinds)
        form = rng.random()
        if form < source.choices:
            tasks.append(_choice(question, scene, rng))
        elif form < source.choices + source.talks:
            before = ask(scene, rng, kinds)
            tasks.append(Task(question.text, question.answer, history=((before.text, before.answer),)))
        else:
            tasks.append(_free(question))
    return tasks


def _free(question: Question) -> Task:
    return Task(question.text, question.answer)


def _choice(question: Question, scene: Scene, rng: Random) -> Task:
    options = questions.with_options(question, scene, rng)
    assert options is not None, f"{question.kind} has no options"
    return Task(choice_text(options), f"{options.letter}) {options.answer}", choice=True)


def exact_place(scene: Scene, rng: Random) -> Task:
    """Ask where an object of a picture is, on a grid finer than people would name.

    Only in training: movement is a matter of small shifts, which the nine named places hide.
    """
    item = rng.choice(scene.objects)
    column, row = (1 + min(int(share * _FINE_CELLS), _FINE_CELLS - 1) for share in item.start)
    return Task(EXACT_QUESTION.format(name=rng.choice(names_of(item))), f"Column {column}, row {row}.")


def choice_text(question: Question) -> str:
    """Write a multiple-choice question with its options, as the released MVBench script does."""
    options = "\n".join(
        f"({chr(ord('A') + place)}) {candidate}" for place, candidate in enumerate(question.candidates)
    )
    return f"Question: {question.text}\nOptions:\n{options}"


def shapes_vocabulary() -> list[str]:
    """Words of the world of moving shapes and of the released multiple-choice prompt."""
    frame = prompt.choice_prompt("")
    grid = [EXACT_QUESTION.format(name=""), "Column, row", *map(str, range(1, _FINE_CELLS + 1))]
    return vocabulary([frame.after, *grid])


_FINE_CELLS = 8
_SCENES_TO_CHECK = 50

EXACT_QUESTION = "Where exactly is the {name}?"
CAPTIONS = {"images": ("image_caption",), "videos": ("caption",)}
KINDS = {
    "images": tuple(kind for kind in questions.IMAGE_QUESTION_KINDS if kind not in CAPTIONS["images"]),
    "videos": tuple(kind for kind in questions.QUESTION_KINDS if kind not in CAPTIONS["videos"]),
}
