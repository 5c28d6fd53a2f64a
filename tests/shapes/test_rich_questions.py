"""Questions of the rich world are true, and only those said to be so can be answered without order."""

from collections import Counter, defaultdict
from random import Random

import pytest

from st_llm_cli.shapes.ceilings import Observers
from st_llm_cli.shapes.orderings import orderings
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.rich import STORY_NAMES, make_scene
from st_llm_cli.shapes.rich_questions import (
    CHOICE_KINDS,
    KIND_STORIES,
    ORDER_FREE,
    QUESTION_KINDS,
    kinds_of,
    with_options,
)
from st_llm_cli.shapes.rich_words import vocabulary
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.words import pieces

ORDERED = sorted({*CHOICE_KINDS} - {*ORDER_FREE})
SEEDS = range(8)
MOST_APART = {2: 10.8, 3: 13.8, 4: 16.3, 6: 20.5, 24: 49.7}
"""Of chi-squared for so many answers: one time in a thousand it is more."""


def asked(kind: str, seeds: range = SEEDS) -> list[tuple[Scene, Question]]:
    found = []
    for story in KIND_STORIES[kind]:
        for seed in seeds:
            scene = make_scene(seed, story=story)
            question = QUESTION_KINDS[kind](scene, Random(seed))
            if question is not None:
                found.append((scene, question))
    return found


def test_twelve_kinds_and_more_are_named_after_tasks_of_mvbench() -> None:
    assert len({kind.removesuffix("_before") for kind in CHOICE_KINDS} - {"count"}) >= 12
    assert set(KIND_STORIES) == set(QUESTION_KINDS)
    assert {story for stories in KIND_STORIES.values() for story in stories} == set(STORY_NAMES)


@pytest.mark.parametrize("kind", ORDERED)
def test_without_the_order_of_frames_nobody_does_better_than_guessing(kind: str) -> None:
    for scene, question in asked(kind):
        observers = Observers(scene)
        chosen = with_options(question, Random(scene.seed))
        assert 3 <= len(chosen.candidates) <= 4
        assert observers.ceilings(chosen).order_blind == pytest.approx(1 / len(chosen.candidates))
        free = observers.ceilings(Question(kind, question.text, question.answer))
        assert free.order_blind == pytest.approx(1 / len(question.candidates))


@pytest.mark.parametrize("kind", ORDERED)
def test_every_answer_that_the_frames_leave_open_comes_equally_often(kind: str) -> None:
    """What the ceilings take for granted: that no order is drawn more often than another."""
    counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for seed in range(300):
        scene = make_scene(seed, story=KIND_STORIES[kind][0])
        question = QUESTION_KINDS[kind](scene, Random(seed))
        assert question is not None
        pool = sorted(question.candidates)
        counts[len(pool)][pool.index(question.answer)] += 1
    for answers, times in counts.items():
        expected = times.total() / answers
        apart = sum((times[place] - expected) ** 2 / expected for place in range(answers))
        assert apart < MOST_APART[answers], (answers, times)


@pytest.mark.parametrize("kind", ORDER_FREE)
def test_what_needs_no_order_can_be_answered_without(kind: str) -> None:
    for scene, question in asked(kind, range(4)):
        chosen = with_options(question, Random(scene.seed))
        assert Observers(scene).ceilings(chosen).order_blind == 1


def test_who_sees_other_frames_knows_more() -> None:
    """Guards the ceilings: frames that are not sampled evenly give orders away."""
    scene = make_scene(0, story="acts")
    question = QUESTION_KINDS["action_sequence"](scene, Random(0))
    assert question is not None
    times = [scene.duration_seconds * share for share in (0.1, 0.2, 0.3, 0.55, 0.8)]
    assert Observers(scene, times).ceilings(question).order_blind > 0.3


def test_the_middle_frame_is_in_the_third_part() -> None:
    scene = make_scene(0, story="turns", num_objects=4)
    for question in CHOICE_KINDS["moving_attribute"](scene):
        assert Observers(scene).ceilings(question).single_frame == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ORDERED)
def test_other_orders_are_asked_the_same_with_other_answers(kind: str) -> None:
    scene, question = asked(kind, range(1))[0]
    answers: Counter[str] = Counter()
    pools = defaultdict(set)
    for other in orderings(scene):
        for form in CHOICE_KINDS[kind](other):
            pools[form.text].add(frozenset(form.candidates))
            answers[form.answer] += form.text == question.text
    assert all(len(found) == 1 for found in pools.values())  # options give nothing away
    assert {answer for answer, count in answers.items() if count} == set(question.candidates)


def happening(scene: Scene) -> list[str]:
    """What is to be seen to happen in each part, by its colour and the change of what is seen, told anew."""
    told = []
    for part in range(scene.parts):
        times = [scene.duration_seconds * (part + share) / scene.parts for share in (0.02, 0.3, 0.5, 0.7)]
        for item in scene.objects:
            states = item.states(times)
            x, y = states.centers[2] - states.centers[0]
            ways = {"left": x < -0.1, "right": x > 0.1, "up": y < -0.1, "down": y > 0.1}
            moved = [name for name, goes in ways.items() if goes]
            if not states.shown.all():
                what = "blinks" if states.shown[3] else "vanishes"
            elif states.colors[2] != item.color:
                what = f"turns {states.colors[2]}"
            elif states.radii[2] != states.radii[0]:
                what = "grows" if states.radii[2] > states.radii[0] else "shrinks"
            elif moved:
                what = f"moves {moved[0]} and back"
            else:
                continue
            told.append(f"The {item.color} {item.shape} {what}.")
    return told


def test_sequences_are_true() -> None:
    for scene in (make_scene(seed, story="acts") for seed in range(20)):
        seen = happening(scene)
        assert len(seen) == 4
        for form in CHOICE_KINDS["action_sequence"](scene):
            if form.text == "What happens first?":
                assert form.answer == seen[0]
            elif form.text == "What happens last?":
                assert form.answer == seen[-1]
            else:
                which, event = form.text.removeprefix("What happens right ").rstrip("?").split(" ", 1)
                at = seen.index(f"{event[0].upper()}{event[1:]}.")
                assert form.answer == seen[at + (1 if which == "after" else -1)]


def test_localizations_and_counts_are_true() -> None:
    parts = ["in the first part", "in the second part", "in the third part", "in the last part"]
    for scene in (make_scene(seed, story="acts") for seed in range(20)):
        seen = [each.split()[1:3] for each in happening(scene)]
        for form, event in zip(CHOICE_KINDS["action_localization"](scene), seen, strict=True):
            assert form.answer == parts[seen.index(event)] or seen.count(event) > 1
    for scene in (make_scene(seed, story="repeats") for seed in range(20)):
        most = Counter(happening(scene)).most_common(1)[0][1]
        answers = {form.answer for form in CHOICE_KINDS["action_count"](scene)}
        assert answers == {["zero", "one", "two", "three", "four"][most]}
    for scene in (make_scene(seed, story="tally") for seed in range(20)):
        seen_all = happening(scene)
        (once,) = [each for each in seen_all if seen_all.count(each) == 1]
        (form,) = CHOICE_KINDS["action_count_before"](scene)
        assert form.answer == ["zero", "one", "two", "three"][seen_all.index(once)]


def test_shuffled_objects_are_where_they_are_said_to_be() -> None:
    for scene in (make_scene(seed, story="shuffle") for seed in range(20)):
        (shown,) = [item for item in scene.objects if item.segments[0].movement != "still"]
        (form,) = CHOICE_KINDS["object_shuffle"](scene)
        x = shown.centers([scene.duration_seconds])[0, 0]
        assert form.answer == ("left" if x < 1 / 3 else "right" if x > 2 / 3 else "center")


def test_visitors_colours_and_backgrounds_come_in_the_order_told() -> None:
    for seed in range(10):
        scene = make_scene(seed, story="visits", num_objects=4)
        middles = [scene.duration_seconds * (part + 0.5) / 4 for part in range(4)]
        shown = [item.states(middles).shown for item in scene.objects]
        order = [scene.objects[[bool(own[part]) for own in shown].index(True)] for part in range(4)]
        (form,) = CHOICE_KINDS["character_order"](scene)
        assert form.answer == ", ".join(f"the {item.color} {item.shape}" for item in order)
        first, last = CHOICE_KINDS["object_existence"](scene)
        assert first.answer.endswith(f"{order[0].color} {order[0].shape}")
        assert last.answer.endswith(f"{order[3].color} {order[3].shape}")
        scene = make_scene(seed, story="colors")
        worn = [item.states(middles_of(scene)).colors for item in scene.objects]
        (changing,) = [each for each in worn if len(set(each)) == 4]
        first, last, *after = CHOICE_KINDS["state_change"](scene)
        assert (first.answer, last.answer) == (changing[0], changing[3])
        assert [form.answer for form in after] == list(changing[1:])


def middles_of(scene: Scene) -> list[float]:
    return [scene.duration_seconds * (part + 0.5) / scene.parts for part in range(scene.parts)]


def test_letters_and_answers_are_balanced() -> None:
    for kind in ("action_localization", "moving_direction", "moving_count", "egocentric_navigation"):
        # Four move only where there are four, which is not in every scene.
        said = [question.answer for _, question in asked(kind, range(60)) if question.answer != "four"]
        answers = Counter(said)
        assert all(0.12 < count / answers.total() < 0.38 for count in answers.values()), (kind, answers)
    _, question = asked("state_change", range(1))[0]
    letters = [with_options(question, Random(0), key=key).letter for key in range(len(question.candidates))]
    assert letters == list("ABCD"[: len(question.candidates)])


def test_vocabulary_is_all_that_is_said_and_no_more() -> None:
    known, said = set(vocabulary()), set(pieces("Question: \nOptions:\n(A) (B) (C) (D) (E)"))
    for story in STORY_NAMES:
        for seed in range(60):
            scene = make_scene(seed, story=story)
            for kind in kinds_of(story):
                question = QUESTION_KINDS[kind](scene, Random(seed))
                if question is not None:
                    for text in (question.text, question.answer, *question.candidates):
                        said.update(pieces(text))
    assert said <= known
    unused = known - said
    assert unused <= PICTURES_ONLY, unused
    assert len(known) < 150


def test_scenes_read_as_sentences() -> None:
    captions = {}
    for story in STORY_NAMES:
        question = QUESTION_KINDS["caption"](make_scene(0, story=story), Random(0))
        assert question is not None
        captions[story] = question.answer
    assert captions["visits"].startswith("There is a")
    assert " blinks and " in captions["shuffle"] or " and is at the " in captions["shuffle"]
    assert "The background is " in captions["places"]
    assert "The view moves " in captions["views"]


PICTURES_ONLY = {"image"}
"""Words that only questions about single pictures need."""
