from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st_llm_cli.video.sampling import (
    SAMPLERS,
    SEEDED_SAMPLERS,
    at_rate,
    frames_at_about_one_per_second,
    middles_of_rounded_parts,
    mvbench,
    random_in_parts,
    released_random,
    released_rate,
    uniform,
)

COUNT = st.integers(min_value=1, max_value=100_000)
WANTED = st.integers(min_value=1, max_value=256)
SEED = st.integers(min_value=0, max_value=2**32 - 1)
FPS = st.floats(min_value=0.1, max_value=240)


@pytest.mark.parametrize("rule", SAMPLERS.values(), ids=SAMPLERS)
@given(total=COUNT, wanted=WANTED)
def test_frames_are_in_order_and_in_range(
    rule: Callable[[int, int], list[int]], total: int, wanted: int
) -> None:
    picks = rule(total, wanted)
    assert picks == sorted(picks)
    assert 0 <= picks[0] <= picks[-1] < total
    if SAMPLERS["released_chat"] is rule:
        assert len(picks) == min(total, wanted)
    else:
        assert len(picks) == wanted


@pytest.mark.parametrize("rule", SEEDED_SAMPLERS.values(), ids=SEEDED_SAMPLERS)
@settings(deadline=None)
@given(total=COUNT, wanted=WANTED, seed=SEED)
def test_drawn_frames_are_in_order_in_range_and_repeatable(
    rule: Callable[[int, int, int], list[int]], total: int, wanted: int, seed: int
) -> None:
    picks = rule(total, wanted, seed)
    assert picks == sorted(picks)
    assert 0 <= picks[0] <= picks[-1] < total
    assert len(picks) == wanted
    assert rule(total, wanted, seed) == picks


@given(total=COUNT, wanted=WANTED)
def test_uniform_steps_are_even(total: int, wanted: int) -> None:
    steps = {later - earlier for earlier, later in pairwise(uniform(total, wanted))}
    assert not steps or max(steps) - min(steps) <= 1


def test_uniform_takes_every_frame_of_a_clip_as_long_as_asked() -> None:
    assert uniform(16, 16) == list(range(16))


def test_uniform_repeats_the_frames_of_a_shorter_clip_evenly() -> None:
    assert uniform(3, 6) == [0, 0, 1, 1, 2, 2]
    assert uniform(1, 4) == [0, 0, 0, 0]


def test_random_can_draw_the_last_frame_of_a_part_and_the_released_one_cannot() -> None:
    drawn = {random_in_parts(40, 4, seed)[3] for seed in range(300)}
    assert drawn == set(range(30, 40))
    drawn_as_released = {released_random(40, 4, seed)[3] for seed in range(300)}
    assert drawn_as_released == set(range(30, 39))


@given(total=COUNT, source_fps=FPS, fps=FPS)
def test_rate_gives_frames_in_order_and_in_range(total: int, source_fps: float, fps: float) -> None:
    total = min(total, 2000)
    duration = total / source_fps
    if duration * fps > 5000:
        return
    picks = at_rate([index / source_fps for index in range(total)], duration, fps)
    assert picks == sorted(picks)
    assert 0 <= picks[0] <= picks[-1] < total
    assert len(picks) == max(1, int(duration * fps + 1e-3))


@given(total=COUNT, source_fps=FPS, fps=FPS, most=WANTED)
def test_limited_rate_gives_frames_of_the_unlimited_one(
    total: int, source_fps: float, fps: float, most: int
) -> None:
    total = min(total, 2000)
    duration = total / source_fps
    if duration * fps > 5000:
        return
    times = [index / source_fps for index in range(total)]
    picks = at_rate(times, duration, fps)
    kept = range(len(picks)) if len(picks) <= most else uniform(len(picks), most)
    assert at_rate(times, duration, fps, most) == [picks[place] for place in kept]
    assert released_rate(total, source_fps, fps, most) == released_rate(total, source_fps, fps)[:most]


def test_rate_takes_the_middle_of_each_second() -> None:
    assert at_rate([index / 25 for index in range(75)], 3.0, 1.0) == [12, 37, 62]


def test_rate_goes_by_time_where_the_frame_rate_varies() -> None:
    # One second at 10 frames a second, then one at 2.
    times = [index / 10 for index in range(10)] + [1.0, 1.5]
    assert at_rate(times, 2.0, 2.0) == [2, 7, 10, 11]


def test_rate_gives_one_frame_of_the_shortest_clip_and_the_released_one_none() -> None:
    assert at_rate([0.0], 0.03, 1.0) == [0]
    assert released_rate(1, 30.0, 1.0) == []


@pytest.mark.parametrize(("seconds", "frames"), [(0.5, 4), (4.9, 4), (5.0, 5), (15.9, 15), (60.0, 16)])
def test_about_one_frame_per_second(seconds: float, frames: int) -> None:
    assert frames_at_about_one_per_second(seconds) == frames


@given(
    total=COUNT,
    fps=FPS,
    bound=st.none() | st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)).map(lambda two: (min(two), max(two))),
    wanted=st.none() | WANTED,
    first=st.integers(0, 1),
)
def test_mvbench_never_leaves_the_clip(
    total: int, fps: float, bound: tuple[float, float] | None, wanted: int | None, first: int
) -> None:
    last = total - 1 + first
    picks = mvbench(last, fps, bound, wanted, first)
    assert picks == sorted(picks)
    assert first <= picks[0] <= picks[-1] <= last


@pytest.mark.parametrize("rule", [uniform, middles_of_rounded_parts, *SAMPLERS.values()])
@pytest.mark.parametrize(("total", "wanted"), [(0, 4), (4, 0), (-1, 4)])
def test_impossible_counts_are_refused(
    rule: Callable[[int, int], list[int]], total: int, wanted: int
) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rule(total, wanted)
