from __future__ import annotations

import pytest

from st_llm_cli.errors import NotAVideoError, VideoError
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.video.stripe import numbers_in, small_copy

pytest.importorskip("decord")  # no wheels for arm64 and macOS


def test_decord_gives_the_same_frames_of_a_plain_mp4() -> None:
    clip = read_clip(small_copy("bframes_neg.mp4"), num_frames=10, reader="decord")
    ours = read_clip(small_copy("bframes_neg.mp4"), num_frames=10)
    assert numbers_in(clip.frames) == list(clip.indices) == list(ours.indices)
    assert clip.times_seconds == pytest.approx(ours.times_seconds)
    assert clip.source.reader == "decord"
    assert clip.source.fallback_reason is None
    assert (clip.source.width, clip.source.height) == (320, 240)


def test_decord_pictures_go_through_the_transform() -> None:
    clip = read_clip(small_copy("gray.mp4"), num_frames=2, reader="decord", transform=ResizeCenterCrop(32))
    assert clip.frames.shape == (2, 32, 32, 3)


def test_what_decord_cannot_open_is_an_error_that_names_it() -> None:
    with pytest.raises(VideoError, match=r"cannot be opened by decord \(") as caught:
        read_clip(small_copy("audio_only.mp4"), reader="decord")
    assert caught.value.where == str(small_copy("audio_only.mp4"))
    assert caught.value.fix == "use the reader 'pyav'"


def test_a_web_page_is_one_for_decord_too() -> None:
    with pytest.raises(NotAVideoError, match="it begins like a web page"):
        read_clip(small_copy("html.mp4"), reader="decord")


def test_an_empty_file_is_one_for_decord_too() -> None:
    with pytest.raises(NotAVideoError, match="the file is empty"):
        read_clip(small_copy("zero.mp4"), reader="decord")
