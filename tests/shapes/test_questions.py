from __future__ import annotations

import re
from collections import Counter
from random import Random

import numpy as np
import pytest

from st_llm_cli.shapes.questions import (
    IMAGE_QUESTION_KINDS,
    OPTION_POOLS,
    QUESTION_KINDS,
    Question,
    ask,
    ask_any,
    ask_any_image,
    with_options,
)
from st_llm_cli.shapes.scene import MovingShape, Scene
from st_llm_cli.shapes.world import EVAL_SEEDS, make_picture, make_scene

SEEDS = range(300)


def all_of(kind: str, count: int = 1000, **chosen: int) -> list[tuple[Scene, Question]]:
    """Questions of one kind about many scenes."""
    scenes = [make_scene(seed, **chosen) for seed in range(count)]
    asked = [(scene, ask(scene, kind, Random(scene.seed))) for scene in scenes]
    return [(scene, question) for scene, question in asked if question is not None]


def subject(scene: Scene, text: str) -> MovingShape:
    """The only object that a question's words can mean."""
    words = set(re.findall("[a-z]+", text))
    found = [item for item in scene.objects if {item.color, item.shape} & words]
    assert len(found) == 1
    return found[0]


def displacement(item: MovingShape, start: float, end: float) -> np.ndarray:
    one, other = item.centers([start, end])
    return other - one


def direction_seen(item: MovingShape, start: float, end: float) -> str:
    """What the object does between two moments, told from where it is alone."""
    x, y = displacement(item, start, end)
    if max(abs(x), abs(y)) < 1e-9:
        return "still"
    return ("right" if x > 0 else "left") if abs(x) > abs(y) else ("down" if y > 0 else "up")


def test_every_object_can_be_told_by_its_names() -> None:
    for seed in SEEDS:
        scene = make_scene(seed, num_objects=2)
        for kind in ("first_movement", "last_movement", "movement", "first_place", "last_place"):
            question = ask(scene, kind, Random(seed))
            assert question is not None
            subject(scene, question.text)


@pytest.mark.parametrize(("kind", "when"), [("first_movement", 0.0), ("last_movement", 1.0)])
def test_movement_answers_tell_what_is_to_be_seen(kind: str, when: float) -> None:
    said = {
        "It moves left.": "left",
        "It moves right.": "right",
        "It moves up.": "up",
        "It moves down.": "down",
        "It stays still.": "still",
    }
    for scene, question in all_of(kind):
        item = subject(scene, question.text)
        duration = scene.duration_seconds
        start, end = (0.0, 0.2 * duration) if when == 0 else (0.8 * duration, duration)
        assert said[question.answer] == direction_seen(item, start, end)


def test_whole_scripts_are_told_in_order() -> None:
    for scene, question in all_of("movement"):
        item = subject(scene, question.text)
        told = re.findall("left|right|up|down|still|stops", question.answer)
        seen = [direction_seen(item, segment.start_seconds, segment.end_seconds) for segment in item.segments]
        assert ["still" if word == "stops" else word for word in told] == seen


@pytest.mark.parametrize(("kind", "when"), [("first_place", 0.0), ("last_place", 1.0)])
def test_place_answers_tell_where_the_object_is(kind: str, when: float) -> None:
    for scene, question in all_of(kind):
        item = subject(scene, question.text)
        x, y = item.centers([when * scene.duration_seconds])[0]
        words = question.answer.split()
        assert ("left" in words) == (x < 1 / 3)
        assert ("right" in words) == (x > 2 / 3)
        assert ("top" in words) == (y < 1 / 3)
        assert ("bottom" in words) == (y > 2 / 3)


def test_colour_shape_and_count_are_true() -> None:
    for scene, question in all_of("color"):
        assert subject(scene, question.text).color == question.answer
    for scene, question in all_of("shape"):
        assert subject(scene, question.text).shape == question.answer
    for scene, question in all_of("count"):
        assert question.answer == {1: "one", 2: "two"}[len(scene.objects)]


def test_existence_is_true_and_as_often_yes_as_no() -> None:
    questions = all_of("exist", 2000)
    for scene, question in questions:
        there = any(item.color in question.text and item.shape in question.text for item in scene.objects)
        assert question.answer == ("yes" if there else "no")
    yes = sum(question.answer == "yes" for _, question in questions)
    assert 0.45 <= yes / len(questions) <= 0.55


def test_absent_objects_are_wrong_in_colour_in_shape_or_in_both() -> None:
    kinds: Counter[tuple[bool, bool]] = Counter()
    for scene, question in all_of("exist", 2000, num_objects=1):
        item = scene.objects[0]
        if question.answer == "no":
            kinds[item.color in question.text, item.shape in question.text] += 1
    assert set(kinds) == {(True, False), (False, True), (False, False)}
    assert min(kinds.values()) / kinds.total() > 0.25


def test_direction_is_asked_only_where_there_is_one() -> None:
    asked = all_of("direction")
    for scene, question in asked:
        item = subject(scene, question.text)
        assert {*item.movements} - {"still"} == {question.answer}
    assert len(asked) > 300


def test_comparisons_are_asked_only_where_they_hold() -> None:
    for scene, question in all_of("moves_first", 3000):
        first = next(item for item in scene.objects if question.answer == f"the {item.color} {item.shape}")
        (other,) = [item for item in scene.objects if item is not first]
        early = 0.2 * scene.duration_seconds
        assert direction_seen(first, 0.0, early) != "still"
        assert direction_seen(other, 0.0, early) == "still"
    for scene, question in all_of("still_at_end", 3000):
        resting = next(item for item in scene.objects if question.answer == f"the {item.color} {item.shape}")
        (other,) = [item for item in scene.objects if item is not resting]
        late = 0.8 * scene.duration_seconds
        assert direction_seen(resting, late, scene.duration_seconds) == "still"
        assert direction_seen(other, late, scene.duration_seconds) != "still"


@pytest.mark.parametrize("kind", ["first_movement", "last_movement"])
@pytest.mark.parametrize("objects", [1, 2])
def test_movement_answers_are_balanced(kind: str, objects: int) -> None:
    counts = Counter(question.answer for _, question in all_of(kind, num_objects=objects))
    assert len(counts) == 5
    assert all(0.15 <= count / counts.total() <= 0.25 for count in counts.values())


def test_image_questions_are_true() -> None:
    nothing = 0
    for seed in range(1000):
        scene = make_picture(seed)
        rng = Random(seed)
        place = IMAGE_QUESTION_KINDS["place"](scene, rng)
        assert place is not None
        assert subject(scene, place.text).place(0.0) == place.answer
        what = IMAGE_QUESTION_KINDS["what_at"](scene, rng)
        assert what is not None
        asked = what.text.removeprefix("What is at the ").removesuffix("?")
        there = [f"{item.color} {item.shape}" for item in scene.objects if item.place(0.0) == asked]
        assert what.answer.removeprefix("an ").removeprefix("a ") == (there[0] if there else "nothing")
        nothing += not there
    assert 0.2 <= nothing / 1000 <= 0.3


@pytest.mark.parametrize("kind", OPTION_POOLS)
def test_options_are_distinct_and_hold_the_answer_once(kind: str) -> None:
    asked = 0
    for seed in SEEDS:
        image = kind not in QUESTION_KINDS
        scene = make_picture(seed) if image else make_scene(seed)
        rng = Random(seed)
        free = (IMAGE_QUESTION_KINDS if image else QUESTION_KINDS)[kind](scene, rng)
        if free is None:
            continue
        question = with_options(free, scene, rng)
        assert question is not None
        assert len(set(question.candidates)) == len(question.candidates)
        assert 2 <= len(question.candidates) <= 4
        assert question.candidates["ABCD".index(question.letter)] == free.answer == question.answer
        asked += 1
    assert asked > 10


def test_the_other_movement_of_the_same_clip_is_among_the_options() -> None:
    for scene, free in all_of("first_movement", num_objects=1, num_movements=2):
        question = with_options(free, scene, Random(scene.seed))
        later = ask(scene, "last_movement", Random(0))
        assert question is not None
        assert later is not None
        assert later.answer in question.candidates


def test_letters_are_balanced() -> None:
    letters: Counter[str] = Counter()
    for scene, free in all_of("first_movement"):
        question = with_options(free, scene, Random(scene.seed))
        assert question is not None
        letters[question.letter] += 1
    assert set(letters) == set("ABCD")
    assert all(0.2 <= count / 1000 <= 0.3 for count in letters.values())


def test_the_letter_can_be_chosen() -> None:
    scene = make_scene(0)
    free = ask(scene, "color", Random(0))
    assert free is not None
    chosen = [with_options(free, scene, Random(0), key=key) for key in range(6)]
    assert [question.letter for question in chosen if question is not None] == list("ABCDAB")


def test_captions_have_no_options() -> None:
    scene = make_scene(0)
    caption = ask(scene, "caption", Random(0))
    assert caption is not None
    assert with_options(caption, scene, Random(0)) is None


def test_any_question_is_of_a_kind_asked_for() -> None:
    rng = Random(0)
    kinds = {ask_any(make_scene(seed), rng, ["color", "moves_first"]).kind for seed in SEEDS}
    assert kinds == {"color", "moves_first"}
    assert {ask_any(make_scene(seed), rng).kind for seed in SEEDS} == set(QUESTION_KINDS)
    assert {ask_any_image(make_picture(seed), rng).kind for seed in SEEDS} == set(IMAGE_QUESTION_KINDS)


def test_a_scene_without_the_question_is_an_error() -> None:
    scene = make_scene(EVAL_SEEDS[0], num_objects=1)
    with pytest.raises(ValueError, match="seed 1000000000 gives no question of the kinds moves_first"):
        ask_any(scene, Random(0), ["moves_first"])


def test_the_same_generator_state_gives_the_same_question() -> None:
    scene = make_scene(7)
    assert ask_any(scene, Random(3)) == ask_any(scene, Random(3))
