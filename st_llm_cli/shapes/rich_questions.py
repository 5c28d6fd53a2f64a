"""Questions about scenes of the rich world, after the tasks of MVBench whose names they have.

A kind with options is a function from a scene to all the questions of its kind that the scene gives. Each
comes with its pool: every answer that it can have as far as the frames tell, whatever their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, permutations
from math import comb
from random import Random

from st_llm_cli.shapes import questions
from st_llm_cli.shapes.cast import OUT_AND_BACK
from st_llm_cli.shapes.questions import Question, QuestionKind, any_name
from st_llm_cli.shapes.rich_words import (
    ACT_WORDS,
    NUMBER_WORDS,
    PART_WORDS,
    QUESTION_FORMS,
    act_text,
    colors_of,
    deeds,
    hidden_places,
    texture_words,
    video_caption,
    visitors,
    who_text,
)
from st_llm_cli.shapes.scene import MOVEMENTS, MovingShape, Scene, Segment
from st_llm_cli.shapes.words import PROMPTS_VIDEO, name_of, names_of, sentence

Forms = Callable[[Scene], list[Question]]
"""All questions of one kind about a scene; their candidates are the pools."""
ENDS = ("first", "at the end")


def with_options(question: Question, rng: Random, *, key: int | None = None) -> Question:
    """Choose up to four candidates from the pool of a question, evenly from all choices with the answer.

    Args:
        question: One of `CHOICE_KINDS`.
        rng: Source of randomness.
        key: Place of the right option, counted from 0 and wrapped; drawn evenly if None.
    """
    wrong = [text for text in question.candidates if text != question.answer]
    picked = rng.sample(wrong, min(len(wrong), MOST_OPTIONS - 1))
    place = rng.randrange(len(picked) + 1) if key is None else key % (len(picked) + 1)
    picked.insert(place, question.answer)
    return Question(question.kind, question.text, question.answer, tuple(picked))


def options_chance(question: Question, candidates: Sequence[str]) -> Fraction:
    """Say how likely `with_options` gives a question these candidates, in any order.

    Args:
        question: Any, with its pool as candidates.
        candidates: The options; 0 for those that the question cannot have.
    """
    others = {*candidates} - {question.answer}
    wrong = {*question.candidates} - {question.answer}
    if len(others) != len(candidates) - 1 or not others <= wrong:
        return Fraction(0)
    if len(others) != min(len(wrong), MOST_OPTIONS - 1):
        return Fraction(0)
    return Fraction(1, comb(len(wrong), len(others)))


def _form(kind: str, answer: str, pool: Sequence[str], *, form: str = "", **words: str) -> Question:
    text = QUESTION_FORMS[form or kind].format(**words)
    return Question(kind, text, answer, tuple(dict.fromkeys(pool)))


def _events(scene: Scene) -> list[tuple[MovingShape, Segment]]:
    """What happens, in order; of each part one thing at most."""
    found = [(item, each) for item in scene.objects for each in deeds(item, scene)]
    return sorted(found, key=lambda event: event[1].start_seconds)


def _clause(scene: Scene, event: tuple[MovingShape, Segment], *, bare: bool = False) -> str:
    """What happens, as a clause: "the red circle blinks"; bare: "the red circle blink"."""
    item, segment = event
    return f"the {name_of(item)} {act_text(segment, scene, bare=bare)}"


def _action_sequence(scene: Scene) -> list[Question]:
    events = [_clause(scene, event) for event in _events(scene)]
    said = [sentence(event) for event in events]
    kind = "action_sequence"
    found = [_form(kind, said[end], said, when=when) for end, when in ((0, "first"), (-1, "last"))]
    for number, event in enumerate(events):
        rest = said[:number] + said[number + 1 :]
        for form, other in (("after", number + 1), ("before", number - 1)):
            if 0 <= other < len(said):
                when = QUESTION_FORMS[form].format(event=event)
                found.append(_form(kind, said[other], rest, when=when))
    return found


def _action_localization(scene: Scene) -> list[Question]:
    return [
        _form(
            "action_localization",
            _parts()[scene.part_of((event[1].start_seconds + event[1].end_seconds) / 2)],
            _parts(),
            event=_clause(scene, event, bare=True),
        )
        for event in _events(scene)
    ]


def _parts() -> list[str]:
    return [f"in the {name} part" for name in PART_WORDS]


def _times(scene: Scene) -> dict[str, int]:
    """How many times each thing happens, by its words, the most frequent ones first."""
    counts = Counter(_clause(scene, event, bare=True) for event in _events(scene))
    return dict(counts.most_common())


def _action_count(scene: Scene) -> list[Question]:
    times = _times(scene)
    most = max(times.values())
    asked = [clause for clause, number in times.items() if number == most]
    return [_form("action_count", NUMBER_WORDS[most], NUMBER_WORDS[1:], event=clause) for clause in asked]


def _action_count_before(scene: Scene) -> list[Question]:
    clauses = [_clause(scene, event, bare=True) for event in _events(scene)]
    often, once = _times(scene)
    (other,) = [_clause(scene, event) for event in _events(scene) if _clause(scene, event, bare=True) == once]
    answer = NUMBER_WORDS[clauses.index(once)]
    return [_form("action_count_before", answer, NUMBER_WORDS[: scene.parts], event=often, other=other)]


def _fine_grained_action(scene: Scene) -> list[Question]:
    ((item, segment),) = _events(scene)
    answer = f"It {act_text(segment, scene)}."
    pool = [f"It {shown}." for act, (shown, _) in ACT_WORDS.items() if act not in ("turn", "bump")]
    return [_form("fine_grained_action", answer, [answer, *pool], name=name) for name in names_of(item)]


def _moving_count(scene: Scene) -> list[Question]:
    moving = [0] * scene.parts
    for _, segment in _events(scene):
        moving[scene.part_of((segment.start_seconds + segment.end_seconds) / 2)] += 1
    pool = [NUMBER_WORDS[number] for number in sorted(moving)]
    return [
        _form("moving_count", NUMBER_WORDS[number], pool, part=part)
        for number, part in zip(moving, PART_WORDS, strict=True)
    ]


def _moving_attribute(scene: Scene) -> list[Question]:
    colors = [item.color for item, _ in _events(scene)]
    pool = [item.color for item in scene.objects]
    return _at_both_ends("moving_attribute", colors, pool, ("first", "last"))


def _moving_direction(scene: Scene) -> list[Question]:
    pool = [name for name in MOVEMENTS if name != "still"]
    return [
        question
        for item in scene.objects
        for name in names_of(item)
        for question in _at_both_ends("moving_direction", item.movements, pool, name=name)
    ]


def _object_interaction(scene: Scene) -> list[Question]:
    (actor,) = [item for item in scene.objects if "bump" in item.movements]
    names = {item.shape: f"the {name_of(item)}" for item in scene.objects}
    bumped = [names[each.target] for each in actor.segments if each.target is not None]
    pool = [names[item.shape] for item in scene.objects if item is not actor]
    return [
        question
        for name in names_of(actor)
        for question in _at_both_ends("object_interaction", bumped, pool, ("first", "last"), name=name)
    ]


def _object_existence(scene: Scene) -> list[Question]:
    there = [who_text(item) for item in visitors(scene)]
    return _at_both_ends("object_existence", there, sorted(there), ("at first", "at the end"))


def _character_order(scene: Scene) -> list[Question]:
    there = [f"the {name_of(item)}" for item in visitors(scene) if item is not None]
    pool = [", ".join(order) for order in permutations(sorted(there))]
    return [_form("character_order", ", ".join(there), pool)]


def _object_shuffle(scene: Scene) -> list[Question]:
    (shown,) = [item for item in scene.objects if item.movements[0] != "still"]
    act = act_text(shown.segments[0], scene)
    return [_form("object_shuffle", hidden_places(scene)[-1], ("left", "center", "right"), act=act)]


def _state_change(scene: Scene) -> list[Question]:
    (item,) = [each for each in scene.objects if len(set(colors_of(each))) > 1]
    worn = colors_of(item)
    shape = item.shape
    found = _at_both_ends("state_change", worn, sorted(worn), ("at first", "at the end"), shape=shape)
    for color, following in pairwise(worn):
        rest = [each for each in sorted(worn) if each != color]
        when = QUESTION_FORMS["after_color"].format(color=color)
        found.append(_form("state_change", following, rest, shape=shape, when=when))
    return found


def _scene_transition(scene: Scene) -> list[Question]:
    order = texture_words(scene)
    pool = [_transition(other) for other in permutations(sorted(order))]
    return [_form("scene_transition", _transition(order), pool)]


def _transition(order: Sequence[str]) -> str:
    return f"from {' to '.join(order)}"


def _egocentric_navigation(scene: Scene) -> list[Question]:
    looks = [each.movement.split()[0] for each in scene.camera if each.movement != "still"]
    return _at_both_ends("egocentric_navigation", looks, [name.split()[0] for name in OUT_AND_BACK])


def _at_both_ends(
    kind: str, answers: Sequence[str], pool: Sequence[str], ends: Sequence[str] = ENDS, **words: str
) -> list[Question]:
    """Ask for the first and for the last of some answers."""
    pairs = zip((answers[0], answers[-1]), ends, strict=True)
    return [_form(kind, answer, pool, when=when, **words) for answer, when in pairs]


def _count(scene: Scene) -> list[Question]:
    return [_form("count", NUMBER_WORDS[len(scene.objects)], NUMBER_WORDS[1:])]


def _told(kind: str, end: int) -> QuestionKind:
    """Ask what an object does first, or at the end."""

    def ask(scene: Scene, rng: Random) -> Question | None:
        acting = [item for item in scene.objects if deeds(item, scene)]
        if not acting:
            return None
        item = rng.choice(acting)
        answer = f"It {act_text(deeds(item, scene)[end], scene)}."
        return Question(kind, QUESTION_FORMS[kind].format(name=any_name(item, rng)), answer)

    return ask


def _caption(scene: Scene, rng: Random) -> Question:
    return Question("caption", rng.choice(PROMPTS_VIDEO), video_caption(scene))


def _drawn(forms: Forms) -> QuestionKind:
    def ask(scene: Scene, rng: Random) -> Question | None:
        found = forms(scene)
        return rng.choice(found) if found else None

    return ask


def kinds_of(story: str) -> Iterator[str]:
    """Names of the kinds of questions that scenes of a story give."""
    return (kind for kind, stories in KIND_STORIES.items() if story in stories)


MOST_OPTIONS = 4
CHOICE_KINDS: dict[str, Forms] = {
    "action_sequence": _action_sequence,
    "action_localization": _action_localization,
    "action_count": _action_count,
    "action_count_before": _action_count_before,
    "fine_grained_action": _fine_grained_action,
    "moving_count": _moving_count,
    "moving_attribute": _moving_attribute,
    "moving_direction": _moving_direction,
    "object_interaction": _object_interaction,
    "object_existence": _object_existence,
    "object_shuffle": _object_shuffle,
    "character_order": _character_order,
    "state_change": _state_change,
    "scene_transition": _scene_transition,
    "egocentric_navigation": _egocentric_navigation,
    "count": _count,
}
"""Kinds that have a multiple-choice form; all can be asked without options as well."""
ORDER_FREE = ("action_count", "fine_grained_action", "count")
"""Kinds of these that frames in any order can answer. All others need the order of time."""
FREE_KINDS: dict[str, QuestionKind] = {
    "first_movement": _told("first_movement", 0),
    "last_movement": _told("last_movement", -1),
    **{
        kind: questions.QUESTION_KINDS[kind]
        for kind in (
            "movement",
            "direction",
            "first_place",
            "last_place",
            "moves_first",
            "still_at_end",
            "color",
            "shape",
            "exist",
        )
    },
    "caption": _caption,
}
"""Kinds that have no multiple-choice form here."""
QUESTION_KINDS: dict[str, QuestionKind] = {
    **{kind: _drawn(forms) for kind, forms in CHOICE_KINDS.items()},
    **FREE_KINDS,
}
IMAGE_QUESTION_KINDS: dict[str, QuestionKind] = {**questions.IMAGE_QUESTION_KINDS, "count": _drawn(_count)}
_ACTING = ("acts", "once", "repeats", "tally", "crowd", "turns", "bumps")
_NAMED = (*_ACTING, "walk", "tour", "places", "visits", "views")
KIND_STORIES: dict[str, tuple[str, ...]] = {
    "action_sequence": ("acts",),
    "action_localization": ("acts", "once"),
    "action_count": ("repeats",),
    "action_count_before": ("tally",),
    "fine_grained_action": ("once",),
    "moving_count": ("crowd",),
    "moving_attribute": ("turns",),
    "moving_direction": ("tour",),
    "object_interaction": ("bumps",),
    "object_existence": ("visits",),
    "object_shuffle": ("shuffle",),
    "character_order": ("visits",),
    "state_change": ("colors",),
    "scene_transition": ("places",),
    "egocentric_navigation": ("views",),
    "count": ("walk", "visits"),
    "first_movement": ("walk", "tour", "acts", "bumps"),
    "last_movement": ("walk", "tour", "acts", "bumps"),
    "movement": ("walk", "tour"),
    "direction": ("walk",),
    "first_place": ("walk", "tour"),
    "last_place": ("walk", "tour"),
    "moves_first": ("walk",),
    "still_at_end": ("walk",),
    "color": _NAMED,
    "shape": _NAMED,
    "exist": _NAMED,
    "caption": (*_NAMED, "colors", "shuffle"),
}
"""Stories whose scenes are asked each kind of question."""
