from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from st_llm_cli.errors import DecodeTimeoutError, NotAVideoError, UsageError
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from tests.video.bad_transforms import SleepForever, Slow
from tests.video.stripe import numbers_in, small_copy

GOOD = Request(small_copy("gray.mp4"), num_frames=3)


def test_clips_come_in_order_with_errors_in_their_place() -> None:
    requests = [
        Request(GOOD.path, num_frames=1, transform=Slow(0.5)),
        GOOD,
        Request(small_copy("html.mp4")),
        Request(GOOD.path, sampler="unifrom"),
        Request(small_copy("bframes_neg.mp4"), num_frames=2),
    ]
    outcomes = list(read_clips(requests, workers=2))
    assert [request for request, _ in outcomes] == requests
    first, second, third, fourth, fifth = (result for _, result in outcomes)
    assert isinstance(first, Clip)
    assert isinstance(second, Clip)
    assert numbers_in(second.frames) == [10, 30, 50]
    assert isinstance(third, NotAVideoError)
    assert isinstance(fourth, UsageError)
    assert isinstance(fifth, Clip)
    assert numbers_in(fifth.frames) == [25, 75]


def test_as_completed_a_slow_clip_does_not_hold_up_the_others() -> None:
    slow = Request(GOOD.path, num_frames=1, transform=Slow(1.5))
    outcomes = list(read_clips([slow, GOOD, GOOD, GOOD], workers=2, in_order=False))
    assert [request for request, _ in outcomes] == [GOOD, GOOD, GOOD, slow]


def test_a_clip_that_hangs_is_given_up_and_the_rest_is_read() -> None:
    stuck = Request(GOOD.path, transform=SleepForever())
    outcomes = list(read_clips([GOOD, stuck, GOOD], workers=2, deadline=1.0))
    assert isinstance(outcomes[1][1], DecodeTimeoutError)
    assert isinstance(outcomes[0][1], Clip)
    assert isinstance(outcomes[2][1], Clip)


def test_no_more_clips_are_read_ahead_than_workers_and_one() -> None:
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for _ in range(20):
            taken += 1
            yield GOOD

    outcomes = read_clips(requests(), workers=2)
    next(outcomes)
    assert taken == 3
    outcomes.close()  # type: ignore[attr-defined]


def test_stopping_early_does_not_wait_for_clips_under_way(tmp_path: Path) -> None:
    stuck = Request(GOOD.path, transform=SleepForever())
    outcomes = read_clips([GOOD, stuck, stuck, stuck], workers=2)
    next(outcomes)
    started = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=f"{workers} workers"):
        read_clips([GOOD], workers=workers)


def test_a_deadline_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="a deadline of 0"):
        read_clips([GOOD], deadline=0)
