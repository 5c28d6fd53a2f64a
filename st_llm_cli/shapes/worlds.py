"""The worlds of moving shapes by name: how each makes its scenes, and what it asks about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from st_llm_cli.shapes import questions, rich, rich_questions, rich_words, words, world
from st_llm_cli.shapes.questions import Question, QuestionKind
from st_llm_cli.shapes.scene import Scene


@dataclass(frozen=True)
class World:
    """One world."""

    make_scene: Callable[..., Scene]
    make_picture: Callable[..., Scene]
    kinds: dict[str, QuestionKind]
    """Questions about videos."""
    image_kinds: dict[str, QuestionKind]
    """Questions about single pictures."""
    asked_of: Callable[[Scene], Sequence[str]]
    """Kinds that a scene is asked; it may still give none of one of them."""
    with_options: Callable[[Question, Scene, Random, int | None], Question | None]
    """Turns a question into a multiple-choice one; None where it has no such form. The last argument is the
    place of the right option, drawn if None."""
    options_chance: Callable[[Question, Scene, Sequence[str]], Fraction]
    """How likely a question gets certain options, in any order."""
    vocabulary: Callable[[Iterable[str]], list[str]]


def _plain_options(question: Question, scene: Scene, rng: Random, key: int | None) -> Question | None:
    return questions.with_options(question, scene, rng, key=key)


def _rich_options(question: Question, scene: Scene, rng: Random, key: int | None) -> Question | None:
    if question.kind in rich_questions.CHOICE_KINDS:
        return rich_questions.with_options(question, rng, key=key)
    return None


def _rich_options_chance(question: Question, scene: Scene, candidates: Sequence[str]) -> Fraction:
    return rich_questions.options_chance(question, candidates)


def world_of(scene: Scene) -> World:
    """The world that the scene of a video is of."""
    return WORLDS["rich" if scene.story else "plain"]


WORLDS = {
    "plain": World(
        world.make_scene,
        world.make_picture,
        questions.QUESTION_KINDS,
        questions.IMAGE_QUESTION_KINDS,
        lambda scene: list(questions.QUESTION_KINDS),
        _plain_options,
        questions.options_chance,
        words.vocabulary,
    ),
    "rich": World(
        rich.make_scene,
        rich.make_picture,
        rich_questions.QUESTION_KINDS,
        rich_questions.IMAGE_QUESTION_KINDS,
        lambda scene: list(rich_questions.kinds_of(scene.story)),
        _rich_options,
        _rich_options_chance,
        rich_words.vocabulary,
    ),
}
"""By name; the bundled weights know both."""
