from __future__ import annotations

from pathlib import Path

import pytest

from st_llm_cli.errors import DamagedVideoError, PartOutsideError, VideoError
from st_llm_cli.video.choose import Track, choose_frames, frames_between
from st_llm_cli.video.request import Request

PATH = Path("dog.mp4")
TEN_SECONDS = Track([index / 10 for index in range(100)], fps=10.0)


def test_sixteen_frames_unless_something_else_is_asked_for() -> None:
    assert len(choose_frames(TEN_SECONDS, Request(PATH))) == 16


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, range(0, 100)),
        (2.0, None, range(20, 100)),
        (None, 2.0, range(0, 20)),
        (2.0, 3.0, range(20, 30)),
        (2.05, 2.06, range(20, 21)),
        (9.95, None, range(99, 100)),
        (5.0, 99.0, range(50, 100)),
    ],
)
def test_frames_on_screen_in_a_part(start: float | None, end: float | None, expected: range) -> None:
    assert frames_between(TEN_SECONDS, Request(PATH, start=start, end=end)) == expected


def test_times_rounded_to_milliseconds_do_not_shift_a_part() -> None:
    track = Track([round(index / 30, 3) for index in range(300)], fps=30.0)
    assert frames_between(track, Request(PATH, start=30 / 30, end=50 / 30)) == range(30, 50)


@pytest.mark.parametrize("start", [10.0, 50.0])
def test_a_start_after_the_end_of_the_clip_is_an_error(start: float) -> None:
    with pytest.raises(VideoError) as caught:
        choose_frames(TEN_SECONDS, Request(PATH, start=start))
    assert str(caught.value) == (
        f"dog.mp4: ends after 10.0 s, the clip was to start at {start:.1f} s (lower `start`)"
    )


def test_a_rate_counts_from_the_start_of_the_part() -> None:
    assert choose_frames(TEN_SECONDS, Request(PATH, fps=1.0, start=2.0, end=5.0)) == (25, 35, 45)


def test_a_rate_does_not_go_on_after_the_end_of_the_clip() -> None:
    assert choose_frames(TEN_SECONDS, Request(PATH, fps=1.0, start=8.0, end=20.0)) == (85, 95)


def test_max_frames_are_spread_over_the_whole_part() -> None:
    assert choose_frames(TEN_SECONDS, Request(PATH, fps=1.0, max_frames=2)) == (25, 75)


@pytest.mark.parametrize("sampler", ["uniform", "released_rate"])
def test_a_rate_of_more_frames_than_anyone_looks_at_is_an_error(sampler: str) -> None:
    with pytest.raises(VideoError) as caught:
        choose_frames(TEN_SECONDS, Request(PATH, fps=1e9, sampler=sampler))
    what = "1e+09 frames a second of 10.0 s are more than 1000000 frames"
    assert str(caught.value) == f"dog.mp4: {what} (lower `fps`, or limit it with `max_frames`)"


@pytest.mark.parametrize(("sampler", "picks"), [("uniform", (25, 75)), ("released_rate", (0, 0))])
def test_a_rate_of_any_height_can_be_limited(sampler: str, picks: tuple[int, ...]) -> None:
    assert choose_frames(TEN_SECONDS, Request(PATH, fps=1e12, max_frames=2, sampler=sampler)) == picks


def test_the_released_rate_cuts_the_rest_off() -> None:
    request = Request(PATH, fps=1.0, max_frames=2, sampler="released_rate")
    assert choose_frames(TEN_SECONDS, request) == (5, 15)


def test_a_sampler_that_finds_no_frame_is_an_error() -> None:
    blink = Track([0.0], fps=10.0)
    with pytest.raises(VideoError, match="the sampler 'released_rate' asks for no frame at all"):
        choose_frames(blink, Request(PATH, fps=1.0, sampler="released_rate"))


@pytest.mark.parametrize("sampler", ["mvbench", "released_mvbench"])
def test_mvbench_reads_a_part_that_ends_after_the_clip_and_none_that_begins_after_it(sampler: str) -> None:
    request = Request(PATH, sampler=sampler, start=8.0, end=14.0, num_frames=2)
    assert choose_frames(TEN_SECONDS, request) == (84, 94)
    with pytest.raises(PartOutsideError, match=r"ends after 10\.0 s, the clip was to start at 12\.0 s"):
        choose_frames(TEN_SECONDS, Request(PATH, sampler=sampler, start=12.0, end=14.0))


@pytest.mark.parametrize("sampler", ["mvbench", "released_mvbench"])
def test_mvbench_reads_a_part_that_begins_a_frame_too_late_as_the_last_frame(sampler: str) -> None:
    folder = Track([index / 3 for index in range(9)], fps=3.0, kind="folder")
    assert choose_frames(folder, Request(PATH, sampler=sampler, start=3.2, end=4.0))[0] == 8


def test_released_mvbench_may_leave_a_gif_by_its_own_rate() -> None:
    gif = Track([index / 10 for index in range(100)], fps=10.0, kind="gif")
    with pytest.raises(VideoError, match=r"asks for frame 121 of 100 \(use the sampler 'mvbench'\)"):
        choose_frames(gif, Request(PATH, sampler="released_mvbench", start=5.0, end=6.0))


def test_mvbench_takes_about_one_frame_a_second() -> None:
    assert choose_frames(TEN_SECONDS, Request(PATH, sampler="mvbench", start=2.0, end=8.0)) == (
        (25, 35, 45, 55, 65, 75)
    )


def test_mvbench_counts_the_frames_of_a_folder_from_one() -> None:
    folder = Track([index / 3 for index in range(45)], fps=3.0, kind="folder")
    # The released script names files 2, 5, 8 …, counted from 1.
    expected = [2, 5, 8, 11, 14, 17, 20, 23, 25, 28, 31, 34, 37, 40, 43]
    assert choose_frames(folder, Request(PATH, sampler="released_mvbench")) == tuple(
        name - 1 for name in expected
    )


def test_released_mvbench_takes_a_gif_to_run_at_25_frames_a_second() -> None:
    gif = Track([index / 10 for index in range(200)], fps=10.0, kind="gif")
    request = Request(PATH, sampler="released_mvbench", num_frames=2, start=1.0, end=3.0)
    assert choose_frames(gif, request) == (37, 62)
    assert choose_frames(gif, Request(PATH, sampler="mvbench", num_frames=2, start=1.0, end=3.0)) == (15, 25)


def test_frames_of_a_damaged_clip_are_chosen_among_the_sound_ones() -> None:
    sound = [*range(10), *range(90, 100)]
    assert choose_frames(TEN_SECONDS, Request(PATH, num_frames=4), sound) == (2, 7, 92, 97)


def test_mvbench_takes_the_nearest_sound_frame() -> None:
    request = Request(PATH, sampler="mvbench", num_frames=2)
    assert choose_frames(TEN_SECONDS, request) == (24, 74)
    assert choose_frames(TEN_SECONDS, request, sound=[0, 20, 30, 90]) == (20, 90)


def test_a_part_without_sound_frames_is_an_error() -> None:
    with pytest.raises(DamagedVideoError, match=r"none of its frames from 4\.0 to 4\.9 s can be decoded"):
        choose_frames(TEN_SECONDS, Request(PATH, start=4.0, end=5.0), sound=[*range(10), *range(90, 100)])
