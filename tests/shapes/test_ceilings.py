"""What can be known without the order of frames, of every question of both worlds."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from st_llm_cli.shapes.ceilings import Ceilings, Observers, observers_of_file
from st_llm_cli.shapes.one_frame import alike
from st_llm_cli.shapes.orderings import orderings
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.rich import make_scene as make_rich_scene
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS, QUESTION_KINDS
from st_llm_cli.shapes.scene import MovingShape, Scene, Segment
from st_llm_cli.shapes.world import EVAL_SEEDS, fits, make_scene
from st_llm_cli.shapes.worlds import WORLDS

TIMELESS = ("color", "shape", "exist", "count")


def walk(*movements: str, start: tuple[float, float] = (0.5, 0.5), distance: float = 0.3) -> Scene:
    """One red circle that does one thing after another, for equal times in four seconds."""
    length = 4.0 / len(movements)
    segments = tuple(
        Segment(number * length, (number + 1) * length, name, 0.0 if name == "still" else distance)
        for number, name in enumerate(movements)
    )
    item = MovingShape("red", "circle", (220, 40, 40), 0.12, start, segments)
    return Scene(0, 4.0, (12, 12, 12), (item,))


def ceilings(scene: Scene, kind: str, text: str, *candidates: str) -> Ceilings:
    return Observers(scene).ceilings(Question(kind, text, "", candidates))


FIRST = ("first_movement", "What does the circle do first?")


def test_an_object_that_goes_two_ways_may_have_come_back_on_them() -> None:
    scene = walk("left", "up", start=(0.75, 0.75))
    assert ceilings(scene, *FIRST).order_blind == 0.5
    assert ceilings(scene, "movement", "What does the circle do?").order_blind == 0.5
    assert ceilings(scene, "first_place", "Where is the circle at the beginning?").order_blind == 0.5
    assert ceilings(scene, "color", "What color is the circle?") == Ceilings(1.0, 1.0)


def test_what_rests_all_the_time_rests_in_any_order() -> None:
    scene = walk("still")
    assert ceilings(scene, *FIRST) == Ceilings(1.0, 1.0)
    assert ceilings(scene, "last_place", "Where is the circle at the end?").order_blind == 1.0


def test_out_and_back_leaves_the_first_way_known() -> None:
    """Run backwards it goes left first and right at the end as well."""
    assert ceilings(walk("left", "right"), *FIRST).order_blind == 1.0


def test_options_can_give_the_order_away() -> None:
    """Backwards it would go down first: who is not offered that knows the order."""
    scene = walk("left", "up", start=(0.75, 0.75))
    offered = ("It moves left.", "It moves up.", "It moves right.", "It stays still.")
    assert ceilings(scene, *FIRST, *offered).order_blind == 1.0
    # "It moves right." is true at the end of the run backwards, and therefore more often among its options.
    both = ceilings(scene, *FIRST, "It moves left.", "It moves up.", "It moves down.", "It moves right.")
    assert both.order_blind == 0.5


def test_one_frame_of_a_walk_leaves_its_ways_open() -> None:
    scene = walk("left", "up", start=(0.78, 0.5), distance=0.28)
    first = Counter(each.objects[0].movements[0] for each in alike(scene, 2.25))
    assert first == {"left": 4, "right": 4, "up": 4, "down": 4}
    assert ceilings(scene, *FIRST).single_frame == 0.25


def test_one_frame_does_not_show_who_hides_where() -> None:
    for seed in range(6):
        scene = make_rich_scene(seed, story="shuffle")
        for question in CHOICE_KINDS["object_shuffle"](scene):
            assert Observers(scene).ceilings(question).single_frame == pytest.approx(1 / 3)
    # Nor does it where an object shows itself: the swaps are still to come.
    (question,) = CHOICE_KINDS["object_shuffle"](scene)
    early = Observers(scene, [scene.duration_seconds * 0.1]).ceilings(question)
    assert early.single_frame == pytest.approx(1 / 3)


def test_one_frame_seldom_shows_which_way_an_object_goes_around() -> None:
    found = []
    for seed in range(100):
        scene = make_rich_scene(seed, story="tour")
        question = QUESTION_KINDS["moving_direction"](scene, Random(seed))
        assert question is not None
        found.append(Observers(scene).ceilings(question).single_frame)
    assert min(found) == 0.25 and max(found) == 1  # in the middle, in a corner
    assert 0.5 < sum(found) / len(found) < 0.7


def test_the_generator_makes_what_is_taken_to_be_possible() -> None:
    ways = 0
    for seed in range(100):
        scene = make_scene(seed)
        here, backwards = orderings(scene)
        assert here == scene and fits(scene.objects) and fits(backwards.objects)
        assert sorted(map(bytes, sample_frames(scene, 8, 24))) == sorted(
            map(bytes, sample_frames(backwards, 8, 24))
        )
        ways += len(alike(scene, scene.duration_seconds / 2))
    outside = replace(walk("left", start=(0.3, 0.5)).objects[0], radius=0.14)
    assert not fits([outside]) and not fits([walk("still").objects[0]] * 2)
    assert ways > 300  # a single frame does leave much open


@pytest.mark.parametrize("name", WORLDS)
def test_every_question_of_both_worlds_has_ceilings(name: str) -> None:
    world = WORLDS[name]
    asked: Counter[str] = Counter()
    scenes = [world.make_scene(seed) for seed in EVAL_SEEDS[:50]]
    scenes += [WORLDS["rich"].make_scene(seed, story="walk") for seed in range(15) if name == "rich"]
    for scene in scenes:
        seed = scene.seed
        observers = Observers(scene)
        for kind in world.asked_of(scene):
            question = world.kinds[kind](scene, Random(seed))
            if question is None:
                continue
            free = replace(question, candidates=())
            chosen = world.with_options(question, scene, Random(seed), None)
            for each in (free, chosen) if chosen else (free,):
                found = observers.ceilings(each)
                asked[kind, bool(each.candidates)] += 1  # type: ignore[index]
                assert 0 < found.order_blind <= 1 and 0 < found.single_frame <= 1
                assert not each.candidates or found.order_blind >= 1 / len(each.candidates)
                assert kind not in TIMELESS or found == Ceilings(1.0, 1.0)
    assert {kind for kind, _ in asked} == set(world.kinds)  # type: ignore[misc]


@pytest.mark.parametrize("name", WORLDS)
def test_options_are_as_likely_as_they_are_drawn(name: str) -> None:
    world = WORLDS[name]
    scenes = [world.make_scene(seed) for seed in EVAL_SEEDS[:28]]
    for kind, ask in world.kinds.items():
        pairs = [(each, ask(each, Random(0))) for each in scenes if kind in world.asked_of(each)]
        asked = [(each, question) for each, question in pairs if question is not None]
        if kind in ("direction", "moves_first", "still_at_end", "caption") and not asked:
            continue  # of the rich world: rare, and without options
        scene, question = max(asked, key=lambda pair: len(pair[0].objects[0].movements))
        rng = Random(kind)
        drawn = [world.with_options(question, scene, rng, None) for _ in range(600)]
        sets = Counter(frozenset(each.candidates) for each in drawn if each is not None)
        for options, count in sets.most_common(20):
            expected = 600 * float(world.options_chance(question, scene, sorted(options)))
            assert abs(count - expected) < 5 * max(1, expected) ** 0.5, (kind, options)
        if 0 < len(sets) < 20:  # all that there are
            assert sum(world.options_chance(question, scene, sorted(each)) for each in sets) == 1


@pytest.mark.parametrize("name", WORLDS)
def test_options_that_a_question_cannot_have_are_not_drawn(name: str) -> None:
    world, kind = WORLDS[name], {"plain": "color", "rich": "count"}[name]
    scene = next(each for each in map(world.make_scene, EVAL_SEEDS) if kind in world.asked_of(each))
    question = world.kinds[kind](scene, Random(0))
    assert question is not None
    chosen = world.with_options(question, scene, Random(0), 0)
    assert chosen is not None
    good = chosen.candidates
    assert world.options_chance(question, scene, good) > 0
    for wrong in (good[1:], good[:2], (*good[:3], "pink"), (*good[:3], good[1])):
        assert world.options_chance(question, scene, wrong) == 0
        with pytest.raises(ValueError, match="is no question of kind"):
            Observers(scene).ceilings(replace(chosen, candidates=wrong))


def test_of_files_walks_are_seen_in_the_middles_of_equal_parts() -> None:
    scene = make_scene(EVAL_SEEDS[0], num_objects=1, num_movements=2)
    name = f"{scene.objects[0].color} {scene.objects[0].shape}"
    question = Question("movement", f"What does the {name} do?", "")
    assert observers_of_file(scene, 8, 15).ceilings(question) == Observers(scene).ceilings(question)
    places = WORLDS["rich"].make_scene(0, story="places")
    question = Question("scene_transition", "How does the background change?", "")
    even, three = (observers_of_file(places, frames, 12).ceilings(question) for frames in (8, 3))
    assert even.order_blind == pytest.approx(1 / 24) and three.order_blind > even.order_blind


def test_a_question_of_another_world_has_none() -> None:
    with pytest.raises(ValueError, match="'state_change'"):
        ceilings(walk("left"), "state_change", "What color is the circle at first?")
