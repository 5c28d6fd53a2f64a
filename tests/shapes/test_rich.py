"""Scenes of the rich world: what they may hold, and that only time tells their orders apart."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from st_llm_cli.shapes.orderings import orderings, same_frames
from st_llm_cli.shapes.render import render_frame, render_frames, sample_frames, sample_times
from st_llm_cli.shapes.rich import STORY_NAMES, make_picture, make_scene, numbers_of
from st_llm_cli.shapes.scene import ACTS, Backdrop, Scene, in_rhythm
from st_llm_cli.shapes.stories import PARTS, STORIES
from st_llm_cli.shapes.textures import PLAIN, TEXTURES

SEEDS = range(12)


def told(story: str, seeds: range = SEEDS) -> list[Scene]:
    return [make_scene(seed, story=story) for seed in seeds]


@pytest.mark.parametrize("story", STORY_NAMES)
def test_a_seed_gives_the_same_scene_again(story: str) -> None:
    assert told(story) == told(story)
    assert len({scene.duration_seconds for scene in told(story)}) == len(SEEDS)


def test_a_published_seed_gives_the_scene_it_gave() -> None:
    scene = make_scene(10**9)
    found = (scene.story, scene.duration_seconds, [(item.color, item.shape) for item in scene.objects])
    assert found == PUBLISHED


@pytest.mark.parametrize("story", STORY_NAMES)
def test_objects_stay_inside_and_apart(story: str) -> None:
    for scene in told(story):
        times = np.linspace(0, scene.duration_seconds, 161)[:-1]
        states = [item.states(times) for item in scene.objects]
        for each in states:
            seen = each.centers[each.shown]
            radii = each.radii[each.shown][:, None]
            assert (seen - radii).min() > 0 and (seen + radii).max() < 1
        bumping = {item.shape for item in scene.objects if "bump" in item.movements}
        for (one, a), (other, b) in combinations(zip(scene.objects, states, strict=True), 2):
            if scene.story == "shuffle":
                continue  # they pass each other closely
            gaps = np.linalg.norm(a.centers - b.centers, axis=1) - a.radii - b.radii
            both = a.shown & b.shown
            touch = bool({one.shape, other.shape} & bumping)
            assert gaps[both].min(initial=1.0) > (-1e-9 if touch else 0.0)


def test_who_bumps_into_another_touches_it() -> None:
    for scene in told("bumps"):
        (actor,) = [item for item in scene.objects if "bump" in item.movements]
        for segment in actor.segments:
            if segment.movement == "bump":
                (target,) = [item for item in scene.objects if item.shape == segment.target]
                middle = (segment.start_seconds + segment.end_seconds) / 2
                gap = np.linalg.norm(actor.centers([middle])[0] - target.centers([middle])[0])
                assert gap == pytest.approx(actor.radius + target.radius)


@pytest.mark.parametrize("story", STORY_NAMES)
@pytest.mark.parametrize("num_frames", [4, 8])
def test_other_orders_have_the_same_frames(story: str, num_frames: int) -> None:
    for scene in told(story, range(2)):
        others = orderings(scene)
        assert len(others) == {"walk": 2, "tour": 8, "shuffle": 6}.get(story, 24)
        times = sample_times(scene.duration_seconds, num_frames)
        assert all(same_frames(scene, other, times) for other in (*others[::3], others[-1]))


@pytest.mark.parametrize("story", STORY_NAMES)
def test_the_pictures_of_other_orders_are_the_same_to_the_last_pixel(story: str) -> None:
    for scene in told(story, range(2)):
        every = orderings(scene)
        first, *others = [pictures(other) for other in (*every[::5], every[-1])]
        assert all(other == first for other in others)


def pictures(scene: Scene) -> list[bytes]:
    frames = sample_frames(replace(scene, noise=0.0), 8, 24)
    return sorted(frame.tobytes() for frame in frames)


@pytest.mark.parametrize("story", sorted({*STORY_NAMES} - {"walk", "once"}))
def test_other_orders_are_other_scenes(story: str) -> None:
    """Guards the comparisons above: orders differ, and what differs in more than order is noticed."""
    scene = make_scene(1, story=story)
    times = sample_times(scene.duration_seconds, 8)
    shown = {tuple(map(bytes, sample_frames(replace(other, noise=0.0), 8, 24))) for other in orderings(scene)}
    assert len(shown) > 3
    assert not same_frames(scene, make_scene(2, story=story), times)


@pytest.mark.parametrize("fps", [8, 25])
def test_other_orders_have_the_same_frames_in_a_file(fps: int) -> None:
    for story in STORIES:
        scene = in_rhythm(make_scene(3, story=story), fps)
        times = sample_times(scene.duration_seconds, 8, fps)
        assert all(same_frames(scene, other, times) for other in orderings(scene)[::5]), story


def test_each_order_is_as_likely_as_any_other() -> None:
    """Where the generator puts what happens: any of its acts is in each part equally often."""
    for story in ("acts", "once", "tally", "crowd", "turns", "bumps", "views"):
        counts: Counter[int] = Counter()
        for scene in told(story, range(240)):
            steps = [(each, item.shape) for item in scene.objects for each in item.segments]
            acts = [(each.movement, who, each.distance, each) for each, who in steps if each.movement in ACTS]
            acts += [(each.movement, "", each.distance, each) for each in scene.camera]
            times = Counter(each[:3] for each in acts)
            *_, pick = min((each for each in acts if times[each[:3]] == 1), key=lambda each: each[:3])
            counts[scene.part_of((pick.start_seconds + pick.end_seconds) / 2)] += 1
        assert sum((count - 60) ** 2 / 60 for count in counts.values()) < 16.3, (story, counts)  # p > 0.001


def test_tours_begin_in_each_direction_equally_often() -> None:
    counts = Counter(item.movements[0] for scene in told("tour", range(300)) for item in scene.objects)
    expected = counts.total() / 4
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 20


def test_what_happens_can_be_brief() -> None:
    scene = make_scene(5, story="acts", slots=8)
    acts = [each for item in scene.objects for each in item.segments if each.movement in ACTS]
    assert len(acts) == 4
    length = scene.duration_seconds / PARTS / 8
    assert all(each.end_seconds - each.start_seconds == pytest.approx(length) for each in acts)


@pytest.mark.parametrize("story", STORY_NAMES)
def test_numbers_of_objects_can_be_chosen(story: str) -> None:
    for number in numbers_of(story):
        assert len(make_scene(4, story=story, num_objects=number).objects) == number


def test_everything_documented_comes() -> None:
    scenes = [make_scene(seed) for seed in range(400)]
    assert {scene.story for scene in scenes} == set(STORY_NAMES)
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4}
    assert min(scene.duration_seconds for scene in scenes) < 3
    assert max(scene.duration_seconds for scene in scenes) > 50
    textures = {backdrop.texture for scene in scenes for backdrop in scene.backdrops}
    assert textures == {PLAIN, *TEXTURES}
    assert any(any(backdrop.drift) for scene in scenes for backdrop in scene.backdrops)
    assert (
        {bool(scene.noise) for scene in scenes}
        == {bool(any(scene.sway)) for scene in scenes}
        == {True, False}
    )
    acts = {name for scene in scenes for item in scene.objects for name in item.movements}
    assert acts == {"left", "right", "up", "down", "still", *ACTS}


def test_noise_tells_nothing_of_the_place_of_a_frame_in_time() -> None:
    """Neither its strength, nor its mean, nor how far frames that follow each other have it in common."""
    grey = Backdrop(0.0, PLAIN, ((128, 128, 128), (128, 128, 128)), 0.5)
    scene = replace(make_scene(0, story="once"), noise=6.0, objects=(), backdrops=(grey,), sway=(0.0, 0.0))
    times = [scene.duration_seconds * number / 40 for number in range(40)]
    frames = render_frames(scene, times, 64, 64)
    noise = frames.reshape(40, -1).astype(np.float64) - 128  # [times, values]
    error = 1 / np.sqrt(noise.shape[1])
    assert np.abs(noise.std(axis=1) / np.hypot(6.0, 12**-0.5) - 1).max() < 4 * error / np.sqrt(2)
    assert np.abs(noise.mean(axis=1) / 6.0).max() < 4 * error
    alike = np.corrcoef(noise) - np.eye(40)
    assert np.abs(alike).max() < 5 * error
    assert abs(np.diagonal(alike, 1).mean()) < 4 * error / np.sqrt(39)
    np.testing.assert_array_equal(render_frames(scene, times[::-1], 64, 64), frames[::-1])


def test_noise_is_the_same_again_and_not_the_same_in_two_frames() -> None:
    scene = replace(make_scene(0, story="once"), noise=6.0)
    first, later = render_frame(scene, 0.1, 32, 32), render_frame(scene, 0.2, 32, 32)
    assert np.array_equal(first, render_frame(scene, 0.1, 32, 32))
    clean = replace(scene, noise=0.0)
    one, other = (
        frame.astype(float) - render_frame(clean, seconds, 32, 32)
        for frame, seconds in ((first, 0.1), (later, 0.2))
    )
    assert 5 < one.std() < 7
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_backgrounds_that_wander_are_back_at_the_end_of_each_part() -> None:
    scene = next(
        scene for seed in range(99) if any((scene := make_scene(seed, story="once")).backdrops[0].drift)
    )
    bare = replace(scene, objects=(), noise=0.0, sway=(0.0, 0.0))
    length = scene.duration_seconds / PARTS
    first, moved, later = (render_frame(bare, at * length, 40, 40) for at in (0.2, 0.55, 2.2))
    assert np.abs(first.astype(int) - later).max() <= 1
    assert np.abs(first.astype(int) - moved).max() > 30


def test_the_camera_takes_everything_along() -> None:
    scene = replace(make_scene(2, story="views"), noise=0.0)
    (look, *_) = [each for each in scene.camera if each.movement == "left and back"]
    middle = (look.start_seconds + look.end_seconds) / 2
    still = replace(scene, camera=())
    moved, rested = render_frame(scene, middle, 200, 100), render_frame(still, middle, 200, 100)
    shift = round(look.distance * 100)
    same = np.abs(moved[:, shift:].astype(int) - rested[:, :-shift]).mean()
    assert same < 6 < np.abs(moved.astype(int) - rested).mean() + 6


def test_pictures_rest_each_object_in_a_place_of_its_own() -> None:
    counts: Counter[int] = Counter()
    for seed in range(100):
        scene = make_picture(seed)
        counts[len(scene.objects)] += 1
        assert len({item.place(0.0) for item in scene.objects}) == len(scene.objects)
        assert all(item.movements == ("still",) for item in scene.objects)
    assert set(counts) == {1, 2, 3, 4}


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        make_scene(-1)
    with pytest.raises(ValueError, match="num_objects is 5, must be 1 or 2 or 3 or 4"):
        make_scene(0, num_objects=5)
    with pytest.raises(ValueError, match="story is 'tour' of 3 objects, must be one of acts"):
        make_scene(0, num_objects=3, story="tour")
    with pytest.raises(ValueError, match="story is 'fable', must be one of walk"):
        make_scene(0, story="fable")
    with pytest.raises(ValueError, match="slots is 0"):
        make_scene(0, slots=0)
    with pytest.raises(ValueError, match="longest_seconds is 1, must be 2 or more"):
        make_scene(0, longest_seconds=1)
    with pytest.raises(ValueError, match="num_objects is 5"):
        make_picture(0, num_objects=5)


PUBLISHED = ("turns", 3.9, [("red", "circle"), ("green", "star"), ("blue", "square"), ("purple", "triangle")])
