from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from st_llm_cli.errors import UsageError, VideoError
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.video.stripe import numbers_in, small_copy


def is_usable() -> bool:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return False
    return True


needs_torchcodec = pytest.mark.skipif(
    not is_usable(), reason="torchcodec, an optional reader, is not installed"
)


def test_without_torchcodec_its_name_leads_to_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(UsageError, match="reader: torchcodec cannot be used") as caught:
        read_clip(small_copy("gray.mp4"), reader="torchcodec", deadline=None)
    assert caught.value.fix == "pip install 'stllm[torchcodec]', and install FFmpeg's libraries"


@needs_torchcodec
@pytest.mark.parametrize("name", ["bframes_neg.mp4", "alpha.webm", "gray.mp4", "rot90.mp4"])
def test_torchcodec_gives_the_same_frames(name: str) -> None:
    clip = read_clip(small_copy(name), num_frames=10, reader="torchcodec")
    ours = read_clip(small_copy(name), num_frames=10)
    assert clip.indices == ours.indices
    assert clip.times_seconds == pytest.approx(ours.times_seconds)
    assert clip.source.reader == "torchcodec"
    assert (clip.source.width, clip.source.height) == (ours.source.width, ours.source.height)
    assert clip.frames.shape == ours.frames.shape
    assert abs(clip.frames.astype(int) - ours.frames.astype(int)).mean() < 2


@needs_torchcodec
def test_torchcodec_goes_by_an_edit_list() -> None:
    clip = read_clip(small_copy("editlist.mp4"), num_frames=10, reader="torchcodec")
    assert numbers_in(clip.frames) == [index + 25 for index in clip.indices]


@needs_torchcodec
def test_torchcodec_pictures_go_through_the_transform() -> None:
    clip = read_clip(
        small_copy("gray.mp4"), num_frames=2, reader="torchcodec", transform=ResizeCenterCrop(32)
    )
    assert clip.frames.shape == (2, 32, 32, 3)


@needs_torchcodec
@pytest.mark.parametrize("name", ["html.mp4", "audio_only.mp4"])
def test_what_torchcodec_cannot_open_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(VideoError, match=r"cannot be opened by torchcodec \("):
        read_clip(small_copy(name), reader="torchcodec")


def test_hint_names_an_extra_that_exists() -> None:
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    hints = (root / "st_llm_cli" / "video" / "torchcodec_reader.py").read_text(encoding="utf-8")
    assert "stllm[torchcodec]" in hints
    assert extras["optional-dependencies"]["torchcodec"] == ["torchcodec>=0.13"]
