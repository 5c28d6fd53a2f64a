"""Scenes that show the same at one moment."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from st_llm_cli.shapes import rich
from st_llm_cli.shapes.cast import EDGE
from st_llm_cli.shapes.one_frame import alike
from st_llm_cli.shapes.orderings import view
from st_llm_cli.shapes.render import render_frame, sample_times
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.world import make_scene

Scripts = tuple[tuple[str, ...], ...]
"""What each object does, in order."""


def middle(scene: Scene) -> float:
    return sample_times(scene.duration_seconds, 8)[4]


def scripts(scene: Scene) -> Scripts:
    return tuple(item.movements for item in scene.objects)


def pictures(scenes: list[Scene], seconds: float) -> set[bytes]:
    """The different pictures of some scenes, without noise: only the seed tells that apart."""
    return {render_frame(replace(each, noise=0.0), seconds, 48, 48).tobytes() for each in scenes}


@pytest.mark.parametrize("seed", range(20))
def test_walks_through_a_moment_show_the_same_there_and_other_things_elsewhere(seed: int) -> None:
    scene = make_scene(seed)
    when = middle(scene)
    others = alike(scene, when)
    assert 1 <= len(others) <= 16
    assert {view(each, when) for each in others} == {view(scene, when)}
    assert len(pictures(others, when)) == 1
    assert scripts(scene) in map(scripts, others)
    for each in others:
        for item, own in zip(each.objects, scene.objects, strict=True):
            assert sorted(one.distance for one in item.segments) == sorted(
                one.distance for one in own.segments
            )


@pytest.mark.parametrize("seed", range(40))
def test_tours_through_a_moment_show_the_same_there_and_other_things_elsewhere(seed: int) -> None:
    scene = rich.make_scene(seed, story="tour")
    when = middle(scene)
    others = alike(scene, when)
    assert len({*map(scripts, others)}) == len(others) <= 16
    assert scripts(scene) in map(scripts, others)
    assert {view(each, when) for each in others} == {view(scene, when)}
    assert len(pictures(others, when)) == 1
    assert len(pictures(others, 0.0)) > 1 or len({each.objects[0].start for each in others}) == 1
    for each in others:
        assert {*map(scripts, alike(each, when))} == {*map(scripts, others)}
        ways = [item.centers(np.linspace(0.0, scene.duration_seconds, 400)) for item in each.objects]
        radii = [item.radius for item in each.objects]
        for way, radius in zip(ways, radii, strict=True):
            low, high = radius + EDGE - 1e-9, 1 - radius - EDGE + 1e-9
            assert way.min() >= low and way.max() <= high
        if len(ways) == 2:
            assert np.linalg.norm(ways[0] - ways[1], axis=1).min() > sum(radii)


@pytest.mark.parametrize("seed", range(10))
def test_shuffles_alike_differ_in_who_showed_itself_and_in_the_order_of_swaps(seed: int) -> None:
    scene = rich.make_scene(seed, story="shuffle")
    when = middle(scene)
    others = alike(scene, when)
    assert scene in others
    # Who, and how, and which pair was first: that the third is swapped at this moment is to be seen.
    assert len({*map(scripts, others)}) == len(others) == 3 * 3 * 2
    assert len(pictures(others, when)) == 1
    assert len(pictures(others, scene.duration_seconds * 0.4)) == 2


def test_a_frame_in_which_an_object_shows_itself_tells_who_it_is() -> None:
    scenes = [rich.make_scene(seed, story="shuffle") for seed in range(20)]
    scene = next(each for each in scenes if "grow" in {name for name, *_ in scripts(each)})
    others = alike(scene, scene.duration_seconds / 8)
    assert len(others) == 6
    shown = {tuple(acts[0] for acts in scripts(each)) for each in others}
    assert shown == {tuple(acts[0] for acts in scripts(scene))}
    # Before it grows it looks as all others do.
    assert len(alike(scene, 0.0)) == 54


@pytest.mark.parametrize(
    ("story", "num_objects", "scenes"), [("tour", 1, 400), ("tour", 2, 400), ("shuffle", 3, 60)]
)
def test_scenes_alike_are_drawn_equally_often(story: str, num_objects: int, scenes: int) -> None:
    drawn: defaultdict[frozenset[Scripts], Counter[Scripts]] = defaultdict(Counter)
    for seed in range(scenes):
        scene = rich.make_scene(seed, story=story, num_objects=num_objects)
        drawn[frozenset(map(scripts, alike(scene, middle(scene))))][scripts(scene)] += 1
    excess, freedom = 0.0, 0
    for possible, times in drawn.items():
        expected = times.total() / len(possible)
        excess += sum((times[each] - expected) ** 2 / expected for each in possible)
        freedom += len(possible) - 1
    assert freedom > 15 and excess < freedom + 5 * (2 * freedom) ** 0.5  # chi squared, five deviations
