"""Questions whose answers follow from a scene, so that they are known to be true.

A question kind is a function (scene, rng) -> Question, or None where the scene gives no such question. The
kinds of videos are in `QUESTION_KINDS`, those of single images in `IMAGE_QUESTION_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, permutations, product
from math import comb
from random import Random

from st_llm_cli.shapes.scene import COLORS, MOVEMENTS, PLACES, SHAPES, MovingShape, Scene
from st_llm_cli.shapes.words import (
    COUNT_WORDS,
    PROMPTS_IMAGE,
    PROMPTS_VIDEO,
    QUESTION_FORMS,
    image_caption,
    movement_answer,
    name_of,
    names_of,
    script_text,
    video_caption,
    with_article,
)


@dataclass(frozen=True)
class Question:
    """One question about one scene, and its true answer."""

    kind: str
    """A key of `QUESTION_KINDS` or `IMAGE_QUESTION_KINDS`."""
    text: str
    """The question as asked."""
    answer: str
    """The true answer; in a multiple-choice question the text of one candidate."""
    candidates: tuple[str, ...] = ()
    """Options in the order of their letters; empty in a free-form question."""

    @property
    def letter(self) -> str:
        """Letter of the right option of a multiple-choice question, "A" for the first."""
        return chr(ord("A") + self.candidates.index(self.answer))


QuestionKind = Callable[[Scene, Random], Question | None]


def ask(scene: Scene, kind: str, rng: Random) -> Question | None:
    """Ask one kind of question about a video; None where the scene gives no such question."""
    return QUESTION_KINDS[kind](scene, rng)


def ask_any(scene: Scene, rng: Random, kinds: Sequence[str] | None = None) -> Question:
    """Ask a question about a video, of a kind drawn evenly from those that the scene gives.

    Args:
        scene: What the question is about.
        rng: Source of randomness.
        kinds: Keys of `QUESTION_KINDS` to draw from; all if None.

    Raises:
        ValueError: If the scene gives no question of any of the kinds.
    """
    return ask_from(QUESTION_KINDS, scene, rng, kinds)


def ask_any_image(scene: Scene, rng: Random, kinds: Sequence[str] | None = None) -> Question:
    """Ask a question about a scene of `make_picture`, shown as a single image.

    Args:
        scene: What the question is about.
        rng: Source of randomness.
        kinds: Keys of `IMAGE_QUESTION_KINDS` to draw from; all if None.

    Raises:
        ValueError: If the scene gives no question of any of the kinds.
    """
    return ask_from(IMAGE_QUESTION_KINDS, scene, rng, kinds)


def with_options(question: Question, scene: Scene, rng: Random, *, key: int | None = None) -> Question | None:
    """Turn a free-form question into a multiple-choice one.

    Args:
        question: A free-form question about the scene.
        scene: What the question is about; what else is to be seen makes the most tempting wrong options.
        rng: Source of randomness.
        key: Place of the right option, counted from 0 and wrapped; drawn evenly if None.

    Returns:
        The question with two to four candidates; None for captions, which have no options.
    """
    if question.kind not in OPTION_POOLS:
        return None
    wrong, tempting = _wrong(question, scene)
    picked = [*rng.sample(tempting, len(tempting))[:_MAX_TEMPTING], *rng.sample(wrong, len(wrong))]
    picked = list(dict.fromkeys(picked))[: _MAX_OPTIONS - 1]
    rng.shuffle(picked)
    place = rng.randrange(len(picked) + 1) if key is None else key % (len(picked) + 1)
    picked.insert(place, question.answer)
    return replace(question, candidates=tuple(picked))


def options_chance(question: Question, scene: Scene, candidates: Sequence[str]) -> Fraction:
    """Say how likely `with_options` gives a question these candidates, in any order.

    Args:
        question: A free-form question about the scene.
        scene: What the question is about.
        candidates: The options; 0 for those that the question cannot have.
    """
    others = {*candidates} - {question.answer}
    if question.kind not in OPTION_POOLS or len(others) != len(candidates) - 1:
        return Fraction(0)
    wrong, tempting = _wrong(question, scene)
    if not others <= {*wrong} or len(others) != min(len(wrong), _MAX_OPTIONS - 1):
        return Fraction(0)
    drawn = [{*pair} for pair in permutations(tempting, min(len(tempting), _MAX_TEMPTING))]
    chances = [
        Fraction(1, comb(len(wrong) - len(sure), len(others) - len(sure))) for sure in drawn if sure <= others
    ]
    return sum(chances, start=Fraction(0)) / len(drawn)


def ask_from(
    table: dict[str, QuestionKind], scene: Scene, rng: Random, kinds: Sequence[str] | None
) -> Question:
    """Ask a question of a kind drawn evenly from those of a table that the scene gives; see `ask_any`."""
    names = list(table if kinds is None else kinds)
    for name in rng.sample(names, len(names)):
        question = table[name](scene, rng)
        if question is not None:
            return question
    raise ValueError(f"the scene of seed {scene.seed} gives no question of the kinds {', '.join(names)}")


def _wrong(question: Question, scene: Scene) -> tuple[list[str], list[str]]:
    """All wrong options of a question, and the tempting ones among them, these as often as they are true."""
    wrong = [text for text in OPTION_POOLS[question.kind](scene) if text != question.answer]
    return wrong, [text for text in _tempting(question, scene) if text in wrong]


def _tempting(question: Question, scene: Scene) -> list[str]:
    """Answers that are true of something else in the scene, or of the scene run backwards."""
    objects = scene.objects
    if question.kind == "color":
        return [item.color for item in objects]
    if question.kind == "shape":
        return [item.shape for item in objects]
    if question.kind in ("first_movement", "last_movement"):
        return [movement_answer(movement) for item in objects for movement in item.movements]
    if question.kind == "movement":
        scripts = [item.movements for item in objects]
        return [_script_answer(script) for way in scripts for script in (way, way[::-1])]
    if question.kind in ("first_place", "last_place"):
        return [item.place(seconds) for item in objects for seconds in (0.0, scene.duration_seconds)]
    return []


def _form(kind: str, answer: str, **words: str) -> Question:
    return Question(kind, QUESTION_FORMS[kind].format(**words), answer)


def any_name(item: MovingShape, rng: Random) -> str:
    """One of the names of an object, drawn evenly."""
    return rng.choice(names_of(item))


def _color(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("color", item.color, shape=item.shape)


def _shape(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("shape", item.shape, color=item.color)


def _exist(scene: Scene, rng: Random) -> Question:
    """Ask for an object; where there is none, one with the wrong colour, the wrong shape or both."""
    item = rng.choice(scene.objects)
    if rng.random() < 0.5:
        return _form("exist", "yes", object=with_article(name_of(item)))
    there = {name_of(item) for item in scene.objects}
    other_color, other_shape = rng.choice(((True, False), (False, True), (True, True)))
    absent = [
        f"{color} {shape}"
        for color in COLORS
        for shape in SHAPES
        if (color != item.color) == other_color
        and (shape != item.shape) == other_shape
        and f"{color} {shape}" not in there
    ]
    return _form("exist", "no", object=with_article(rng.choice(absent)))


def _count(scene: Scene, rng: Random) -> Question:
    return _form("count", COUNT_WORDS[len(scene.objects) - 1])


def _first_movement(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("first_movement", movement_answer(item.movements[0]), name=any_name(item, rng))


def _last_movement(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("last_movement", movement_answer(item.movements[-1]), name=any_name(item, rng))


def _movement(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("movement", _script_answer(item.movements), name=any_name(item, rng))


def _direction(scene: Scene, rng: Random) -> Question | None:
    """Ask which way an object moves, where it moves in one direction only."""
    going = [(item, {*item.movements} - {"still"}) for item in scene.objects]
    clear = [(item, min(ways)) for item, ways in going if len(ways) == 1]
    if not clear:
        return None
    item, way = rng.choice(clear)
    return _form("direction", way, name=any_name(item, rng))


def _first_place(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("first_place", item.place(0.0), name=any_name(item, rng))


def _last_place(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("last_place", item.place(scene.duration_seconds), name=any_name(item, rng))


def _moves_first(scene: Scene, rng: Random) -> Question | None:
    """Ask which of two objects moves first, where the other one stays still at first."""
    moving = [item for item in scene.objects if item.movements[0] != "still"]
    if len(scene.objects) != 2 or len(moving) != 1:
        return None
    return _form("moves_first", f"the {name_of(moving[0])}")


def _still_at_end(scene: Scene, rng: Random) -> Question | None:
    """Ask which of two objects is still at the end, where the other one moves then."""
    resting = [item for item in scene.objects if item.movements[-1] == "still"]
    if len(scene.objects) != 2 or len(resting) != 1:
        return None
    return _form("still_at_end", f"the {name_of(resting[0])}")


def _caption(scene: Scene, rng: Random) -> Question:
    return Question("caption", rng.choice(PROMPTS_VIDEO), video_caption(scene))


def _image_caption(scene: Scene, rng: Random) -> Question:
    return Question("image_caption", rng.choice(PROMPTS_IMAGE), image_caption(scene))


def _place(scene: Scene, rng: Random) -> Question:
    item = rng.choice(scene.objects)
    return _form("place", item.place(0.0), name=any_name(item, rng))


def _what_at(scene: Scene, rng: Random) -> Question:
    """Ask what is in one cell; one time in four in an empty one."""
    taken = {item.place(0.0): with_article(name_of(item)) for item in scene.objects}
    empty = [place for place in PLACES if place not in taken]
    place = rng.choice(empty if rng.random() < 0.25 else list(taken))
    return _form("what_at", taken.get(place, "nothing"), place=place)


def _scripts(scene: Scene) -> list[str]:
    """Every motion script of as many movements as the scene's objects make."""
    count = len(scene.objects[0].movements)
    scripts = [
        script
        for script in product(MOVEMENTS, repeat=count)
        if all(one != other for one, other in pairwise(script))
    ]
    return [_script_answer(script) for script in scripts]


def _script_answer(movements: Sequence[str]) -> str:
    return f"It {script_text(movements)}."


def _mixtures(scene: Scene) -> list[str]:
    """The scene's objects, and objects with the colour of one and the shape of another."""
    return [f"{one.color} {other.shape}" for one in scene.objects for other in scene.objects]


_MAX_OPTIONS = 4
_MAX_TEMPTING = 2

QUESTION_KINDS: dict[str, QuestionKind] = {
    "color": _color,
    "shape": _shape,
    "exist": _exist,
    "count": _count,
    "first_movement": _first_movement,
    "last_movement": _last_movement,
    "movement": _movement,
    "direction": _direction,
    "first_place": _first_place,
    "last_place": _last_place,
    "moves_first": _moves_first,
    "still_at_end": _still_at_end,
    "caption": _caption,
}
IMAGE_QUESTION_KINDS: dict[str, QuestionKind] = {
    "color": _color,
    "shape": _shape,
    "exist": _exist,
    "count": _count,
    "place": _place,
    "what_at": _what_at,
    "image_caption": _image_caption,
}

OPTION_POOLS: dict[str, Callable[[Scene], Sequence[str]]] = {
    "color": lambda scene: list(COLORS),
    "shape": lambda scene: SHAPES,
    "exist": lambda scene: ("yes", "no"),
    "count": lambda scene: COUNT_WORDS,
    "first_movement": lambda scene: [movement_answer(name) for name in MOVEMENTS],
    "last_movement": lambda scene: [movement_answer(name) for name in MOVEMENTS],
    "movement": _scripts,
    "direction": lambda scene: [name for name in MOVEMENTS if name != "still"],
    "first_place": lambda scene: PLACES,
    "last_place": lambda scene: PLACES,
    "moves_first": lambda scene: [f"the {name}" for name in _mixtures(scene)],
    "still_at_end": lambda scene: [f"the {name}" for name in _mixtures(scene)],
    "place": lambda scene: PLACES,
    "what_at": lambda scene: [*(with_article(name) for name in _mixtures(scene)), "nothing"],
}
"""All answers that a kind can have in a scene; kinds that are not here have no multiple-choice form."""
