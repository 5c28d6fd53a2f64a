"""Samples from the world of moving shapes, rendered in memory."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from random import Random

from st_llm_cli.errors import RecipeError
from st_llm_cli.model import prompt
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.sources import Shapes, Video
from st_llm_cli.shapes.questions import Question, QuestionKind, ask_from
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.rich import numbers_of
from st_llm_cli.shapes.rich_questions import KIND_STORIES
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.words import names_of
from st_llm_cli.shapes.world import TRAIN_SEEDS, make_scene
from st_llm_cli.shapes.worlds import WORLDS
from st_llm_cli.training.data.example import Example, Task, sample_rng
from st_llm_cli.training.data.order import BATCHES_PER_BUCKET, Buckets


def check_kinds(source: Shapes) -> None:
    """Refuse kinds of questions that there are not, or that some scenes do not give.

    Raises:
        RecipeError: Saying which.
    """
    table, known = _table(source), _known_kinds(source)
    for kind in source.kinds or ():
        if kind not in known:
            near = difflib.get_close_matches(kind, known, n=1)
            fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
            raise RecipeError(f"no kind of question '{kind}' of {source.kind}", where="shapes.kinds", fix=fix)
    for seed in range(_SCENES_TO_CHECK if source.kinds else 0):
        scene = make_scene(seed) if source.world == "plain" else draw_scene(source, Random(seed))
        if all(table[kind](scene, Random(seed)) is None for kind in _asked_of(scene, source)):
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
    antialias = draw_antialias(source, rng)
    frames = sample_frames(scene, 1 if is_picture else num_frames, resolution, antialias=antialias)
    return Example(frames, tasks, is_picture=is_picture, mask_seed=mask_seed, scene=scene)


def draw_scene(source: Shapes, rng: Random) -> Scene:
    """Draw a scene that training may show."""
    seed, world = rng.choice(TRAIN_SEEDS), WORLDS[source.world]
    if source.kind == "images":
        return world.make_picture(seed, num_objects=source.num_objects)
    if source.world == "plain":
        return world.make_scene(seed, num_objects=source.num_objects)
    # A kind of question is asked of few stories: the kind is drawn first, then one of its stories.
    kinds = [(kind, _stories(kind, source.num_objects)) for kind in source.kinds or _known_kinds(source)]
    possible = [stories for _, stories in kinds if stories]
    if not possible:
        what = f"no scene of {source.num_objects} objects gives a question of these kinds"
        raise RecipeError(what, where="shapes.kinds", fix="drop num_objects, or add a kind")
    story = rng.choice(rng.choice(possible))
    return world.make_scene(seed, num_objects=source.num_objects, story=story, slots=source.slots)


def draw_antialias(source: Shapes, rng: Random) -> bool:
    """Draw whether outlines are smooth."""
    return source.world == "plain" or rng.random() < 0.5


def draw_tasks(source: Shapes, rng: Random) -> tuple[Scene, tuple[Task, ...]]:
    """Draw a scene and what is asked about it, without its pictures. See `draw_shapes`."""
    scene = draw_scene(source, rng)
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
        batches = max(2, min(BATCHES_PER_BUCKET, _SCENES_TO_SORT // batch_size))
        self.buckets = Buckets(seed, name, batch_size, self._length, batches)

    def example(self, place: int) -> Example:
        """Render the scene of a place and ask about it."""
        mask_seed = sample_rng(self.seed, "drops", self.name, place).getrandbits(48)
        return draw_shapes(self.source, self._rng(place), self.video.num_frames, self.resolution, mask_seed)

    def _length(self, place: int) -> int:
        return sum(task.length for task in draw_tasks(self.source, self._rng(place))[1])

    def _rng(self, place: int) -> Random:
        return sample_rng(self.seed, "sample", self.name, place)


def _stories(kind: str, num_objects: int | None) -> list[str]:
    return [name for name in KIND_STORIES[kind] if num_objects is None or num_objects in numbers_of(name)]


def _table(source: Shapes) -> dict[str, QuestionKind]:
    world = WORLDS[source.world]
    return world.image_kinds if source.kind == "images" else world.kinds


def _known_kinds(source: Shapes) -> tuple[str, ...]:
    """Kinds of questions that a source may name: all but descriptions."""
    return tuple(kind for kind in _table(source) if kind not in CAPTIONS[source.kind])


def _asked_of(scene: Scene, source: Shapes) -> Sequence[str]:
    """Kinds of questions, descriptions apart, that a scene is asked of those that a source names."""
    kinds: Sequence[str] = source.kinds or _known_kinds(source)
    if source.kind == "images" or source.world == "plain":
        return kinds
    asked = WORLDS[source.world].asked_of(scene)
    return [kind for kind in kinds if kind in asked]


def _tasks(source: Shapes, scene: Scene, rng: Random) -> list[Task]:
    kinds, table = _asked_of(scene, source), _table(source)
    tasks = []
    if rng.random() < source.captions:
        tasks.append(_free(ask_from(table, scene, rng, CAPTIONS[source.kind])))
    if source.kind == "images" and rng.random() < source.exact_places:
        tasks.append(exact_place(scene, rng))
    while len(tasks) < source.questions_per_clip:
        question = ask_from(table, scene, rng, kinds)
        form = rng.random()
        options = _choice(source, question, scene, rng) if form < source.choices else None
        if options is not None:
            tasks.append(options)
        elif source.choices <= form < source.choices + source.talks:
            before = ask_from(table, scene, rng, kinds)
            tasks.append(Task(question.text, question.answer, history=((before.text, before.answer),)))
        else:
            tasks.append(_free(question))
    return tasks


def _free(question: Question) -> Task:
    return Task(question.text, question.answer)


def _choice(source: Shapes, question: Question, scene: Scene, rng: Random) -> Task | None:
    """Ask with options; None for a kind that has none in its world."""
    options = WORLDS[source.world].with_options(question, scene, rng, None)
    if options is None:
        return None
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


def world_of(recipe: Recipe) -> str:
    """Name of the world whose words a recipe's new model has to know; the rich one knows all of the plain."""
    sources = [
        source.shapes for stage in recipe.training for source in stage.data if source.shapes is not None
    ]
    return "rich" if any(source.world == "rich" for source in sources) else "plain"


def shapes_vocabulary(world: str = "plain") -> list[str]:
    """Words of a world of moving shapes and of the released multiple-choice prompt.

    Args:
        world: A key of `WORLDS`.
    """
    frame = prompt.choice_prompt("")
    grid = [EXACT_QUESTION.format(name=""), "Column, row", *map(str, range(1, _FINE_CELLS + 1))]
    return WORLDS[world].vocabulary([frame.after, *grid])


_FINE_CELLS = 8
_SCENES_TO_CHECK = 50
_SCENES_TO_SORT = 256
"""Each process that renders has to draw them all to know its own."""

EXACT_QUESTION = "Where exactly is the {name}?"
CAPTIONS = {"images": ("image_caption",), "videos": ("caption",)}
