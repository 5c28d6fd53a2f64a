from __future__ import annotations

import logging
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from st_llm_cli.errors import (
    DamagedVideoError,
    DecodeTimeoutError,
    NotAVideoError,
    NoVideoStreamError,
    UsageError,
    VideoError,
    VideoNotFoundError,
)
from st_llm_cli.video import reader as reader_module
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.container import NoDecoderError, UnknownFormatError
from st_llm_cli.video.decode import decode
from st_llm_cli.video.reader import check_video, read_clip, read_with_fallback
from st_llm_cli.video.request import Request
from st_llm_cli.video.worker import DecodingProcess
from tests.video.stripe import numbers_in, small_copy

CLIP = small_copy("bframes_neg.mp4")  # 100 frames, 4 seconds


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFoundError) as caught:
        read_clip(tmp_path / "dog.mp4")
    assert str(caught.value) == f"{tmp_path / 'dog.mp4'}: no such file or folder (check the path)"


def test_a_title_in_another_code_than_utf8_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "titled.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Caf# in Zuerich"
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert b"Caf# in" in content
    path.write_bytes(content.replace(b"Caf# in", b"Caf\xe9 in"))
    assert read_clip(path, num_frames=5).source.delivered_frames == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    shutil.copyfile(CLIP, path)
    path.chmod(0)
    with pytest.raises(VideoError, match=r"cannot be used: Permission denied"):
        read_clip(path)


@pytest.mark.parametrize("name", ["words.txt", "words.mp4", "words.srt"])
def test_a_text_is_not_drawn_as_a_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n" * 20)
    with pytest.raises(NotAVideoError, match="is not a video"):
        read_clip(path)


def test_a_text_for_a_picture_is_called_no_picture(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("not a picture")
    with pytest.raises(NotAVideoError, match=r"is not a picture, .* \(download the picture itself\)"):
        read_clip(tmp_path / "bad.jpg")


@pytest.mark.parametrize("entry", [f"file:{CLIP}", CLIP.name, "http://localhost:9/clip.ts"])
def test_a_playlist_does_not_lead_to_another_file(tmp_path: Path, entry: str) -> None:
    shutil.copyfile(CLIP, tmp_path / CLIP.name)
    path = tmp_path / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{entry}\n#EXT-X-ENDLIST\n")
    with pytest.raises(NotAVideoError, match="is not a video"):
        read_clip(path)


@pytest.mark.parametrize("name", ["http:clip.mp4", "-i.mp4", "clip with spaces %d.mp4", "Überfahrt 東京.mp4"])
def test_odd_file_names_are_just_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copyfile(CLIP, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert numbers_in(read_clip(Path(name), num_frames=1).frames) == [50]


def test_usage_is_checked_before_the_file_is_looked_for() -> None:
    with pytest.raises(UsageError, match="did you mean 'uniform'"):
        read_clip("missing.mp4", sampler="unifrom")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "path: an empty path (give a video; '.' is the folder you are in)"),
        (123, "path: 123 is not a path (give a str or a pathlib.Path)"),
        (None, "path: None is not a path (give a str or a pathlib.Path)"),
    ],
)
def test_what_is_no_path_is_refused(path: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_clip(path)
    assert str(caught.value) == words


def test_numbers_of_numpy_are_numbers() -> None:
    assert read_clip(CLIP, num_frames=np.int64(2), start=np.float32(1)).indices == (43, 81)  # type: ignore[arg-type]


def test_grey_pictures_are_not_taken_for_a_text(tmp_path: Path) -> None:
    frame = b"FRAME\n" + b"d" * (16 * 16 * 3)
    (tmp_path / "grey.y4m").write_bytes(b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C444\n" + frame * 8)
    assert read_clip(tmp_path / "grey.y4m", num_frames=2).frames.shape == (2, 16, 16, 3)


def test_a_part_of_a_clip() -> None:
    clip = read_clip(CLIP, num_frames=5, start=1.0, end=2.0)
    assert numbers_in(clip.frames) == list(clip.indices) == [27, 32, 37, 42, 47]
    assert clip.times_seconds == pytest.approx([index / 25 for index in clip.indices])


def test_a_start_after_the_end_of_the_clip_is_an_error() -> None:
    with pytest.raises(VideoError) as caught:
        read_clip(CLIP, start=5.0)
    assert str(caught.value) == f"{CLIP}: ends after 4.0 s, the clip was to start at 5.0 s (lower `start`)"


def test_a_short_clip_repeats_its_frames() -> None:
    clip = read_clip(small_copy("one_frame.mp4"), num_frames=4)
    assert clip.indices == (0, 0, 0, 0)
    assert len(clip.frames) == 4
    assert (clip.frames == clip.frames[0]).all()


def test_every_frame_can_be_asked_for() -> None:
    assert numbers_in(read_clip(CLIP, num_frames=100).frames) == list(range(100))


def test_a_part_that_is_damaged_is_an_error_and_the_rest_can_be_had() -> None:
    path = small_copy("corrupt_middle.mp4")
    with pytest.raises(DamagedVideoError, match=r"none of its frames from 6\.\d to 7\.\d s can be decoded"):
        read_clip(path, start=6.0, end=7.8)
    clip = read_clip(path, start=9.0, num_frames=4)
    assert numbers_in(clip.frames) == list(clip.indices)


def test_decoding_here_gives_the_same_clip_as_in_a_child() -> None:
    here, there = read_clip(CLIP, deadline=None), read_clip(CLIP)
    np.testing.assert_array_equal(here.frames, there.frames)
    assert (here.indices, here.times_seconds, here.source) == (
        there.indices,
        there.times_seconds,
        there.source,
    )


def test_frames_can_be_written_to() -> None:
    clip = read_clip(CLIP, num_frames=2)
    clip.frames[0] = 0
    assert clip.frames.flags.writeable


def test_a_deadline_is_a_number() -> None:
    with pytest.raises(UsageError, match="deadline: 'soon' is not a number"):
        read_clip(CLIP, deadline="soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan")])
def test_a_deadline_must_leave_some_time(deadline: float) -> None:
    with pytest.raises(UsageError, match="a deadline of"):
        read_clip(CLIP, deadline=deadline)


class Readers:
    """Stands for reading: PyAV fails with an error, the others give a clip or fail too."""

    def __init__(self, error: VideoError, working: tuple[str, ...]) -> None:
        self.error = error
        self.working = working
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Clip:
        self.asked.append(request.reader)
        if request.reader == "pyav":
            raise self.error
        if request.reader not in self.working:
            raise NotAVideoError(f"{request.reader} does not know it")
        clip = decode(replace(request, reader="pyav"))
        return replace(clip, source=replace(clip.source, reader=request.reader))


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "find_spec", lambda name: name)


@pytest.mark.usefixtures("all_installed")
@pytest.mark.parametrize("kind", [UnknownFormatError, NoDecoderError])
def test_a_fallback_is_logged_and_recorded(kind: type[VideoError], caplog: pytest.LogCaptureFixture) -> None:
    readers = Readers(kind("cannot be opened"), working=("decord",))
    with caplog.at_level(logging.WARNING):
        clip = read_with_fallback(Request(CLIP), readers)
    assert readers.asked == ["pyav", "torchcodec", "decord"]
    assert clip.source.reader == "decord"
    assert clip.source.fallback_reason == "cannot be opened"
    assert caplog.messages == [f"{CLIP}: read with decord, because it cannot be opened"]


@pytest.mark.usefixtures("all_installed")
def test_torchcodec_comes_before_decord() -> None:
    readers = Readers(UnknownFormatError("cannot be opened"), working=("torchcodec", "decord"))
    assert read_with_fallback(Request(CLIP), readers).source.reader == "torchcodec"


@pytest.mark.usefixtures("all_installed")
def test_if_no_reader_can_the_first_error_stands() -> None:
    with pytest.raises(NotAVideoError, match="cannot be opened"):
        read_with_fallback(Request(CLIP), Readers(UnknownFormatError("cannot be opened"), working=()))


@pytest.mark.usefixtures("all_installed")
@pytest.mark.parametrize(
    "error", [NotAVideoError("a text"), DamagedVideoError("no sound frame"), DecodeTimeoutError("too late")]
)
def test_texts_damaged_frames_and_deadlines_are_no_reason_for_another_reader(error: VideoError) -> None:
    readers = Readers(error, working=("torchcodec", "decord"))
    with pytest.raises(type(error)):
        read_with_fallback(Request(CLIP), readers)
    assert readers.asked == ["pyav"]


def test_a_reader_that_is_not_installed_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "find_spec", lambda name: None)
    readers = Readers(UnknownFormatError("cannot be opened"), working=("torchcodec", "decord"))
    with pytest.raises(NotAVideoError):
        read_with_fallback(Request(CLIP), readers)
    assert readers.asked == ["pyav"]


def test_a_file_is_checked_without_being_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    videos = Path(__file__).parents[1] / "data" / "videos"
    reads: list[object] = []
    monkeypatch.setattr(DecodingProcess, "read", lambda self, request, deadline: reads.append(request))
    check_video(videos / "rot90.mp4")
    check_video(videos / "midgop.ts")
    with pytest.raises(NoVideoStreamError, match="only audio"):
        check_video(videos / "audio_only.mp4")
    with pytest.raises(NotAVideoError, match="folder without pictures"):
        check_video(tmp_path)
    assert not reads


def test_what_pyav_does_not_know_is_refused_when_no_reader_knows_it(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(random.Random(0).randbytes(10_000))
    with pytest.raises(NotAVideoError, match="is not a video that FFmpeg knows"):
        check_video(tmp_path / "noise.mp4")
