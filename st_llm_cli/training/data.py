"""From a recipe's sources to batches: what is shown, what is asked, and what is to be learnt.

Every sample is a function of (seed, index): a resumed run and any number of processes see the same ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from st_llm_cli.errors import RecipeError
from st_llm_cli.model import prompt
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Data, Shapes
from st_llm_cli.shapes import questions
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.words import names_of, vocabulary
from st_llm_cli.shapes.world import TRAIN_SEEDS, Scene, make_picture, make_scene
from st_llm_cli.video.transform import normalize


@dataclass(frozen=True)
class Task:
    """One question about a clip, and the answer to be learnt."""

    question: str
    """As asked; a multiple-choice question with its options."""
    answer: str
    history: tuple[prompt.Turn, ...] = ()
    """What was asked and answered before; not learnt again."""
    choice: bool = False
    """Whether it is asked by the released multiple-choice prompt."""


@dataclass(frozen=True)
class Example:
    """One clip and what is asked about it."""

    frames: NDArray[np.uint8]
    """[frames, resolution, resolution, 3]."""
    tasks: tuple[Task, ...]
    """Each becomes a sequence of its own; they share the clip's pass through the vision encoder."""


class ExampleStream(Dataset[Example]):
    """The samples of a training stage, in the order in which they are used.

    Args:
        train: The stage.
        num_frames: Frames of a clip.
        resolution: Side of the frames in pixels.

    Raises:
        RecipeError: If the stage asks for a kind of question that there is not, or not of every scene.
    """

    def __init__(self, train: Train, num_frames: int, resolution: int) -> None:
        for source in train.data:
            _check_kinds(_shapes(source))
        self.train = train
        self.num_frames = num_frames
        self.resolution = resolution

    def __len__(self) -> int:
        return self.train.steps * self.train.batch_size

    def __getitem__(self, index: int) -> Example:
        # One source a batch: pictures give the video-only parts no gradient, so all ranks must agree on it.
        step = index // self.train.batch_size
        weights = [source.weight for source in self.train.data]
        source = sample_rng(self.train.seed, "source", step).choices(self.train.data, weights)[0]
        return self._draw(source, sample_rng(self.train.seed, "sample", index))

    def _draw(self, source: Data, rng: Random) -> Example:
        return draw_shapes(_shapes(source), rng, self.num_frames, self.resolution)


def sample_rng(seed: int, *place: int | str) -> Random:
    """Source of randomness of one place in a run: always the same, and unlike every other place's."""
    return Random("/".join(map(str, (seed, *place))))


def _shapes(source: Data) -> Shapes:
    if source.shapes is None:
        raise RecipeError("only moving shapes can be trained on yet", where="data", fix="use shapes")
    return source.shapes


def _check_kinds(source: Shapes) -> None:
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


def draw_shapes(source: Shapes, rng: Random, num_frames: int, resolution: int) -> Example:
    """Draw a scene of moving shapes and ask about it.

    Args:
        source: Kind of scene and mixture of questions.
        rng: Source of randomness.
        num_frames: Frames of a clip; a picture has one.
        resolution: Side of the frames in pixels.
    """
    seed = rng.randrange(len(TRAIN_SEEDS))
    images = source.kind == "images"
    make = make_picture if images else make_scene
    scene = make(seed, num_objects=source.num_objects)
    frames = sample_frames(scene, 1 if images else num_frames, resolution)
    return Example(frames, tuple(_tasks(source, scene, rng)))


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


@dataclass(frozen=True)
class Collator:
    """Examples → one batch of tensors, the arguments of the model's forward pass."""

    tokenizer: Any
    """transformers tokenizer of the language model."""
    config: StllmConfig

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Put examples of equally many frames together.

        Returns:
            `frames` [clips, frames, 3, side, side]; `clip_of_row` [rows]; `input_ids`, `attention_mask` and
            `labels` [rows, length].
        """
        rows = [self.row(task) for example in examples for task in example.tasks]
        length = max(len(ids) for ids, _ in rows)
        # A masked position may hold any id; this one is never looked up as a video.
        input_ids = torch.zeros(len(rows), length, dtype=torch.long)
        attention_mask = torch.zeros(len(rows), length, dtype=torch.long)
        labels = torch.full((len(rows), length), IGNORED_LABEL)
        for row, (ids, answer) in enumerate(rows):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            attention_mask[row, : len(ids)] = 1
            labels[row, len(ids) - len(answer) : len(ids)] = torch.tensor(answer)
        owners = [clip for clip, example in enumerate(examples) for _ in example.tasks]
        return {
            "frames": torch.stack([self.normalised(example.frames) for example in examples]),
            "clip_of_row": torch.tensor(owners),
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
        }

    def normalised(self, frames: NDArray[np.uint8]) -> Tensor:
        """Frames as the vision encoder takes them, [frames, 3, side, side]."""
        return normalize(frames, self.config.image_mean, self.config.image_std)

    def row(self, task: Task) -> tuple[list[int], list[int]]:
        """Token ids of a whole sequence, and those of the answer at its end."""
        if task.choice:
            asked = prompt.choice_prompt(task.question)
        else:
            asked = prompt.chat_prompt(self.config.prompt_format, task.question, history=task.history)
        answer = prompt.answer_ids(self.tokenizer, self.config, task.answer)
        return asked.ids(self.tokenizer, self.config) + answer, answer


_FINE_CELLS = 8
_SCENES_TO_CHECK = 50

EXACT_QUESTION = "Where exactly is the {name}?"
CAPTIONS = {"images": ("image_caption",), "videos": ("caption",)}
KINDS = {
    "images": tuple(kind for kind in questions.IMAGE_QUESTION_KINDS if kind not in CAPTIONS["images"]),
    "videos": tuple(kind for kind in questions.QUESTION_KINDS if kind not in CAPTIONS["videos"]),
}
