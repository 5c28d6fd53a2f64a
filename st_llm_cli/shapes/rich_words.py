"""The words of the rich world: those of the plain one, and what acts, backgrounds and orders are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from st_llm_cli.shapes import words
from st_llm_cli.shapes.scene import MovingShape, Scene, Segment
from st_llm_cli.shapes.words import MOVES, MOVES_NEXT, name_of, sentence, with_article


def vocabulary(prompt_texts: Iterable[str] = ()) -> list[str]:
    """Every piece that a question, an answer, an option or a prompt can contain, sorted.

    Args:
        prompt_texts: Texts wrapped around questions, such as the released system prompts and roles.
    """
    texts = [re.sub("{.*?}", " ", text) for text in QUESTION_FORMS.values()]
    texts += [text for pair in ACT_WORDS.values() for text in pair]
    texts += [*NUMBER_WORDS, *PART_WORDS, *TEXTURE_WORDS.values(), *OTHER_WORDS]
    return words.vocabulary([*texts, *prompt_texts])


def act_text(segment: Segment, scene: Scene, *, bare: bool = False) -> str:
    """What is done in a segment: "blinks", "turns green", "bumps into the blue star"; bare: "blink"."""
    if segment.movement in MOVES:
        return MOVES[segment.movement]
    text = ACT_WORDS[segment.movement][1 if bare else 0]
    if segment.movement == "turn":
        return f"{text} {segment.color}"
    if segment.movement == "bump":
        (target,) = [item for item in scene.objects if item.shape == segment.target]
        return f"{text} the {name_of(target)}"
    return text


def deeds(item: MovingShape, scene: Scene) -> list[Segment]:
    """What an object does, in order; rest is told of only where objects do nothing but move and stop."""
    if scene.story in ("", "walk"):
        return list(item.segments)
    return [segment for segment in item.segments if segment.movement not in ("still", "away")]


def deeds_text(item: MovingShape, scene: Scene) -> str:
    """All that an object does, in order: "blinks and then turns green"; "stays still" if it does nothing."""
    first, *later = deeds(item, scene) or [item.segments[0]]
    said = [act_text(first, scene)]
    said += [MOVES_NEXT.get(each.movement) or act_text(each, scene) for each in later]
    return " and then ".join(said)


def video_caption(scene: Scene) -> str:
    """What happens in a scene, a sentence for each thing that something happens to."""
    return " ".join(map(sentence, CAPTIONS.get(scene.story, _objects_told)(scene)))


def in_turn(texts: Sequence[str]) -> str:
    """One after another: "red and then green"."""
    return " and then ".join(texts)


def colors_of(item: MovingShape) -> list[str]:
    """Colours that an object wears, part by part."""
    return [segment.color or item.color for segment in item.segments]


def texture_words(scene: Scene) -> list[str]:
    """What the background is, one after another."""
    return [TEXTURE_WORDS[backdrop.texture] for backdrop in scene.backdrops]


def visitors(scene: Scene) -> list[MovingShape | None]:
    """Who is there in each part of a scene in which one object at most is."""
    there: list[MovingShape | None] = []
    for part in range(scene.parts):
        here = [item for item in scene.objects if item.segments[part].movement != "away"]
        there.append(here[0] if here else None)
    return there


def hidden_places(scene: Scene) -> list[str]:
    """Where the object that shows itself is, at the end of each part."""
    shown = [item for item in scene.objects if item.segments[0].movement != "still"]
    if len(shown) != 1:
        return []
    ends = [scene.duration_seconds * (part + 1) / scene.parts for part in range(scene.parts)]
    return [("left", "center", "right")[min(int(x * 3), 2)] for x, _ in shown[0].centers(ends)]


def _objects_told(scene: Scene) -> list[str]:
    return [f"{with_article(name_of(item))} {deeds_text(item, scene)}" for item in scene.objects]


def _colors_told(scene: Scene) -> list[str]:
    told = []
    for item in scene.objects:
        worn = colors_of(item)
        if len(set(worn)) > 1:
            told.append(f"{with_article(item.shape)} is {in_turn(worn)}")
        else:
            told.append(f"{with_article(name_of(item))} stays still")
    return told


def _places_told(scene: Scene) -> list[str]:
    return [*_objects_told(scene), f"the background is {in_turn(texture_words(scene))}"]


def _visits_told(scene: Scene) -> list[str]:
    return [f"there is {in_turn([who_text(item) for item in visitors(scene)])}"]


def who_text(item: MovingShape | None) -> str:
    """Who is there: "a red circle", or "nothing"."""
    return "nothing" if item is None else with_article(name_of(item))


def _shuffle_told(scene: Scene) -> list[str]:
    (shown,) = [item for item in scene.objects if item.segments[0].movement != "still"]
    act = act_text(shown.segments[0], scene)
    return [f"{with_article(name_of(shown))} {act} and is at the {in_turn(hidden_places(scene))}"]


def _views_told(scene: Scene) -> list[str]:
    looks = [act_text(each, scene) for each in scene.camera if each.movement != "still"]
    return [*_objects_told(scene), f"the view {in_turn(looks)}"]


ACT_WORDS = {
    "left and back": ("moves left and back", "move left and back"),
    "right and back": ("moves right and back", "move right and back"),
    "up and back": ("moves up and back", "move up and back"),
    "down and back": ("moves down and back", "move down and back"),
    "blink": ("blinks", "blink"),
    "vanish": ("vanishes", "vanish"),
    "grow": ("grows", "grow"),
    "shrink": ("shrinks", "shrink"),
    "turn": ("turns", "turn"),
    "bump": ("bumps into", "bump into"),
}
"""What acts are called: "it blinks", "does it blink"."""
NUMBER_WORDS = ("zero", "one", "two", "three", "four")
PART_WORDS = ("first", "second", "third", "last")
TEXTURE_WORDS = {"plain": "plain", "stripes": "striped", "checks": "checked", "dots": "dotted"}
"""What backgrounds that follow one another are called."""
OTHER_WORDS = ("in the part", "at the", "There", "nothing", ",", "from to", "The")
QUESTION_FORMS = {
    "action_sequence": "What happens {when}?",
    "after": "right after {event}",
    "before": "right before {event}",
    "action_localization": "When does {event}?",
    "action_count": "How many times does {event}?",
    "action_count_before": "How many times does {event} before {other}?",
    "fine_grained_action": "What does the {name} do?",
    "moving_count": "How many objects move in the {part} part?",
    "moving_attribute": "What color is the object that moves {when}?",
    "moving_direction": "Which way does the {name} move {when}?",
    "object_interaction": "What does the {name} bump into {when}?",
    "object_existence": "Which object is there {when}?",
    "character_order": "In what order do the objects appear?",
    "object_shuffle": "One object {act}. Where is it at the end?",
    "state_change": "What color is the {shape} {when}?",
    "after_color": "right after it is {color}",
    "scene_transition": "How does the background change?",
    "egocentric_navigation": "Which way does the view move {when}?",
    "count": "How many objects are there?",
    "first_movement": "What does the {name} do first?",
    "last_movement": "What does the {name} do at the end?",
}
CAPTIONS = {
    "colors": _colors_told,
    "places": _places_told,
    "visits": _visits_told,
    "shuffle": _shuffle_told,
    "views": _views_told,
}
"""Stories that are told in a way of their own; the others by what each object does."""
