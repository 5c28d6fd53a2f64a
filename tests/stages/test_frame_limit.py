from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.stages.frame_limit import limited, within_limit
from st_llm_cli.video.request import Request

AT_RATE = Request(Path("a.mp4"), fps=2.0)


def clip_of(num_frames: int) -> Any:
    return SimpleNamespace(indices=range(num_frames))


def test_rate_is_asked_for_one_frame_more_than_the_model_reads() -> None:
    assert limited(AT_RATE, 6) == replace(AT_RATE, max_frames=7)


def test_number_of_frames_is_asked_for_as_it_is() -> None:
    request = Request(Path("a.mp4"), num_frames=9)
    assert limited(request, 6) == request


@pytest.mark.parametrize("clip", [clip_of(6), StllmError("cannot be read")])
def test_clip_within_the_limit_and_an_error_stay(clip: Any) -> None:
    assert within_limit(limited(AT_RATE, 6), clip) is clip


def test_clip_without_a_limit_stays() -> None:
    clip = clip_of(100)
    assert within_limit(AT_RATE, clip) is clip


def test_clip_with_more_frames_is_an_error() -> None:
    error = within_limit(limited(AT_RATE, 6), clip_of(7))
    assert isinstance(error, UsageError)
    what = "a.mp4 gives more than the 6 frames that this model reads"
    assert str(error) == f"fps: {what} (lower it, or look at a shorter part of the video)"
