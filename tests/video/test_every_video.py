"""Every video of the collection: exactly the right frames, or exactly one clear error of the right kind.

Frame i of each synthetic video carries i in its picture, so that a wrong frame cannot pass for a right one.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from st_llm_cli.errors import DamagedVideoError, NotAVideoError, NoVideoStreamError, VideoError
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clip
from tests.video.stripe import manifest, numbers_in, videos_folder

ERRORS: dict[str, tuple[type[VideoError], str]] = {
    "audio_only.mp4": (NoVideoStreamError, "holds no video stream, only audio"),
    "cover_art.mp4": (NoVideoStreamError, "only audio and a cover picture"),
    "zero.mp4": (NotAVideoError, "the file is empty"),
    "garbage.mp4": (NotAVideoError, "is not a video that FFmpeg knows"),
    "html.mp4": (NotAVideoError, "begins like a web page"),
    "trunc95_moovend.mp4": (DamagedVideoError, "without its index"),
}
# The pictures of these begin with another number than 0: the frames before are hidden, or cannot be decoded.
FIRST_NUMBER = {"editlist.mp4": 25, "midgop.ts": 50}
# Frames were dropped when these were made: the number painted is the time, at 25 a second.
NUMBERED_BY_TIME = {"vfr.mp4", "vfr.mkv", "two_streams.mkv"}
# Too small for the stripe, or a photograph.
WITHOUT_NUMBERS = {"tiny_16x16.mp4", "jpeg.mp4"}
# 0 … 53 in one size, then another video in another size, which does not carry numbers in this stripe.
NUMBERED_UP_TO = {"size_change.ts": 51}
# Frames not to be had, beside what the manifest counts: the last packet is cut, or frames build on damaged
# ones.
FRAMES_LOST = {
    "trunc30_faststart.mp4": 1,
    "trunc60_faststart.mp4": 1,
    "trunc95_faststart.mp4": 1,
    "corrupt_middle.mp4": 57,
    "zeros_middle.mp4": 100,
    "size_change.ts": 1,
}
DAMAGED = {*FRAMES_LOST, "trunc60.mkv", "wrong_count.avi", "wrong_stsz.mp4"}

VIDEOS = [pytest.param(video, id=video["name"]) for video in manifest()]
REAL = sorted((videos_folder() / "real").glob("*")) if (videos_folder() / "real").is_dir() else []


@pytest.mark.parametrize("video", VIDEOS)
def test_right_frames_or_one_clear_error(video: dict[str, Any]) -> None:
    name = video["name"]
    path = videos_folder() / name
    if name in ERRORS:
        kind, words = ERRORS[name]
        with pytest.raises(kind, match=words) as caught:
            read_clip(path)
        assert caught.value.where == str(path)
        assert caught.value.fix
        return
    uniform = read_clip(path, num_frames=32)
    check_frames(uniform, video)
    check_source(uniform, video)
    check_frames(read_clip(path, num_frames=12, sampler="random", seed=5), video)
    check_frames(read_clip(path, fps=4.0), video)


def check_frames(clip: Clip, video: dict[str, Any]) -> None:
    name = video["name"]
    assert list(clip.indices) == sorted(clip.indices)
    assert clip.indices[-1] < max(video["true_frames"], video["header_frames"] or 0)
    assert clip.times_seconds[0] >= 0
    if name in WITHOUT_NUMBERS:
        return
    painted = numbers_in(clip.frames, clip.source.rotation)
    if name in NUMBERED_BY_TIME:
        assert painted == [round(seconds * 25) for seconds in clip.times_seconds]
        return
    known = NUMBERED_UP_TO.get(name, 10**6)
    first = FIRST_NUMBER.get(name, 0)
    expected = [index + first for index in clip.indices if index < known]
    assert painted[: len(expected)] == expected
    fps = float(Fraction(str(video["fps"])))
    expected_seconds = [index / fps for index in clip.indices if index < known]
    assert list(clip.times_seconds[: len(expected)]) == pytest.approx(expected_seconds, abs=0.002)


def check_source(clip: Clip, video: dict[str, Any]) -> None:
    name, source = video["name"], clip.source
    assert source.reader == "pyav"
    assert source.fallback_reason is None
    assert source.delivered_frames == video["true_frames"] - FRAMES_LOST.get(name, 0)
    assert source.is_damaged == (name in DAMAGED)
    assert (source.width, source.height) == (clip.frames.shape[2], clip.frames.shape[1])
    assert source.rotation == {"rot90.mp4": 90, "rot180.mp4": 180}.get(name, 0)
    if name == "rot90.mp4":
        assert (source.width, source.height) == (240, 320)


@pytest.mark.parametrize("path", REAL, ids=[path.name for path in REAL])
def test_real_footage_gives_the_frames_of_a_plain_decode(path: Path) -> None:
    clip = read_clip(path, num_frames=24)
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    assert clip.source.delivered_frames == len(decoded)
    assert not clip.source.is_damaged
    for frame, index in zip(clip.frames, clip.indices, strict=True):
        np.testing.assert_array_equal(frame, decoded[index].to_ndarray(format="rgb24"))
