from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st_llm_cli.shapes.scene import COLORS, MOVEMENTS, PLACES, SHAPES, place_of
from st_llm_cli.shapes.world import BACKGROUNDS, DEMO_SEEDS, EVAL_SEEDS, TRAIN_SEEDS, make_picture, make_scene

seeds = st.integers(min_value=0, max_value=DEMO_SEEDS.stop - 1)


def moments(duration_seconds: float) -> np.ndarray:
    return np.linspace(0, duration_seconds, 200)


@given(seeds)
@settings(max_examples=300, deadline=None)
def test_objects_stay_inside_the_scene(seed: int) -> None:
    scene = make_scene(seed)
    for item in scene.objects:
        centers = item.centers(moments(scene.duration_seconds))
        assert centers.min() - item.radius >= 0.01
        assert centers.max() + item.radius <= 0.99


@given(seeds)
@settings(max_examples=300, deadline=None)
def test_two_objects_differ_in_colour_and_shape_and_never_touch(seed: int) -> None:
    scene = make_scene(seed, num_objects=2)
    one, other = scene.objects
    assert one.color != other.color
    assert one.shape != other.shape
    times = moments(scene.duration_seconds)
    gaps = np.linalg.norm(one.centers(times) - other.centers(times), axis=1)
    assert gaps.min() > one.radius + other.radius


@given(seeds)
@settings(max_examples=300, deadline=None)
def test_motion_scripts_are_gapless_and_each_movement_is_plain_to_see(seed: int) -> None:
    scene = make_scene(seed)
    for item in scene.objects:
        assert item.segments[0].start_seconds == 0
        assert item.segments[-1].end_seconds == scene.duration_seconds
        for one, other in pairwise(item.segments):
            assert one.end_seconds == other.start_seconds
            assert one.movement != other.movement
        for segment in item.segments:
            assert segment.end_seconds - segment.start_seconds >= scene.duration_seconds / 4
            start, end = item.centers([segment.start_seconds, segment.end_seconds])
            step = np.array(MOVEMENTS[segment.movement]) * segment.distance
            assert end - start == pytest.approx(step, abs=1e-9)
            assert segment.distance == 0 if segment.movement == "still" else segment.distance >= 0.25


@given(seeds, st.integers(1, 2), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_numbers_of_objects_and_movements_can_be_chosen(seed: int, objects: int, movements: int) -> None:
    scene = make_scene(seed, num_objects=objects, num_movements=movements)
    assert len(scene.objects) == objects
    assert {len(item.segments) for item in scene.objects} == {movements}


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_a_seed_gives_the_same_scene_again(seed: int) -> None:
    assert make_scene(seed) == make_scene(seed)
    assert make_picture(seed) == make_picture(seed)


def test_a_seed_gives_the_scene_it_gave_to_the_bundled_weights() -> None:
    # Scenes of published seeds must not change by accident; raise WORLD_VERSION when they have to.
    scene = make_scene(EVAL_SEEDS[0])
    assert scene.duration_seconds == 3.86
    assert [(item.color, item.shape, item.movements) for item in scene.objects] == [
        ("cyan", "circle", ("still", "right"))
    ]


def test_different_seeds_give_different_scenes() -> None:
    scenes = [make_scene(seed) for seed in range(500)]
    assert len({(scene.duration_seconds, scene.objects[0].start) for scene in scenes}) == 500


def test_seeds_of_training_evaluation_and_samples_are_disjoint() -> None:
    assert TRAIN_SEEDS.stop <= EVAL_SEEDS.start < EVAL_SEEDS.stop <= DEMO_SEEDS.start


@pytest.mark.parametrize("when", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("objects", [1, 2])
def test_movements_are_balanced(when: int, objects: int) -> None:
    scenes = [make_scene(seed, num_objects=objects) for seed in range(1000)]
    counts = Counter(item.movements[when] for scene in scenes for item in scene.objects)
    assert set(counts) == set(MOVEMENTS)
    assert all(0.15 <= count / counts.total() <= 0.25 for count in counts.values())


def test_most_scenes_have_two_movements() -> None:
    counts = Counter(len(make_scene(seed).objects[0].segments) for seed in range(1000))
    assert 0.70 <= counts[2] / 1000 <= 0.80
    assert counts[1] > 50
    assert counts[3] > 50


def test_objects_come_in_the_order_of_the_colours() -> None:
    order = list(COLORS)
    for seed in range(200):
        one, other = make_scene(seed, num_objects=2).objects
        assert order.index(one.color) < order.index(other.color)


def test_every_object_ends_clearly_inside_a_cell() -> None:
    for seed in range(500):
        scene = make_scene(seed)
        for item in scene.objects:
            ends = item.centers([0.0, scene.duration_seconds])
            assert np.abs(ends[..., None] - [1 / 3, 2 / 3]).min() >= 0.03


def test_places_are_named_row_by_row() -> None:
    points = [(x, y) for y in (0.1, 0.5, 0.9) for x in (0.1, 0.5, 0.9)]
    assert tuple(place_of(x, y) for x, y in points) == PLACES
    assert place_of(1.0, 1.0) == "bottom right"


def test_colours_differ_clearly_from_each_other_and_from_every_background() -> None:
    paints = [np.array(rgb, dtype=float) for rgb in COLORS.values()]
    for index, paint in enumerate(paints):
        for other in paints[index + 1 :]:
            assert np.linalg.norm(paint - other) > 100
        for background in BACKGROUNDS:
            assert np.linalg.norm(paint - background) > 100


def test_pictures_rest_and_show_every_object_in_a_cell_of_its_own() -> None:
    for seed in range(300):
        scene = make_picture(seed)
        assert all(item.movements == ("still",) for item in scene.objects)
        assert len({item.place(0.0) for item in scene.objects}) == len(scene.objects)


def test_pictures_show_every_shape_colour_and_place() -> None:
    items = [item for seed in range(300) for item in make_picture(seed).objects]
    assert {item.shape for item in items} == set(SHAPES)
    assert {item.color for item in items} == set(COLORS)
    assert {item.place(0.0) for item in items} == set(PLACES)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        make_scene(-1)
    with pytest.raises(ValueError, match="num_objects is 3"):
        make_scene(0, num_objects=3)
    with pytest.raises(ValueError, match="num_objects is 0"):
        make_picture(0, num_objects=0)
    with pytest.raises(ValueError, match="num_movements is 4"):
        make_scene(0, num_movements=4)
    with pytest.raises(ValueError, match="num_movements is 0"):
        make_scene(0, num_movements=0)
