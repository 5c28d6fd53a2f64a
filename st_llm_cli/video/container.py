"""Opening a media file with PyAV: one video stream to read from, or one clear error."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.logging
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from st_llm_cli.errors import (
    DamagedVideoError,
    NotAVideoError,
    NoVideoStreamError,
    VideoError,
    VideoNotFoundError,
)
from st_llm_cli.video.folder_reader import PICTURE_SUFFIXES

# FFmpeg would draw the letters of a text file as a video, or follow a playlist to other files.
NOT_VIDEO_FORMATS = frozenset(
    "tty bin xbin adf idf concat hls dash lavfi sdp rawvideo webvtt srt ass".split()  # noqa: SIM905  shorter so
)


TEXT_HEADED = (b"YUV4MPEG2", b"P5", b"P6")
"""What video files of raw pictures begin with: their pixels may all look like letters."""


class UnknownFormatError(NotAVideoError):
    """PyAV does not know what the file is: another reader may."""


class NoDecoderError(DamagedVideoError):
    """The file is a video, but PyAV was built without the decoder for it: another reader may have one."""


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a media file and find the first video stream that is not a cover picture.

    Args:
        path: An existing file.

    Yields:
        The open container and the stream; both are closed on leaving.

    Raises:
        VideoNotFoundError: If there is no such file.
        NotAVideoError: If the file is empty or no media file.
        NoVideoStreamError: If it holds no video.
        DamagedVideoError: If it is a video without the index needed to read it.
    """
    check_file(path)
    # FFmpeg's own messages go to standard error, over the progress bar; what matters becomes an exception.
    av.logging.set_level(None)
    try:
        # "file:" keeps FFmpeg from taking a name with a colon for an address; the white list, from the web.
        # Titles in another code than UTF-8 are no reason to refuse the pictures.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise _cannot_open(path, error) from error
    try:
        if NOT_VIDEO_FORMATS & set(container.format.name.split(",")):
            raise NotAVideoError(
                f"is not a video, FFmpeg takes it for '{container.format.name}'",
                where=str(path),
                fix="give a video file",
            )
        yield container, _first_video_stream(container, path)
    finally:
        container.close()


def check_file(path: Path) -> None:
    """Refuse what needs no decoder to be refused.

    Raises:
        VideoNotFoundError: If there is no such file.
        NotAVideoError: If the file is empty, or a text.
        VideoError: If it may not be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise NotAVideoError("is neither a file nor a folder", where=str(path), fix="give a video file")
        if found.st_size == 0:
            fix = "download or copy it again"
            raise NotAVideoError("the file is empty (0 bytes)", where=str(path), fix=fix)
        head = _head(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # or a name with a zero in it
        what = "no such file or folder"
        raise VideoNotFoundError(what, where=str(path), fix="check the path") from error
    except OSError as error:
        raise VideoError.of_system(error, path) from error
    if _is_text(head) and not head.startswith(TEXT_HEADED):
        raise _a_text(path, head)


def _first_video_stream(container: InputContainer, path: Path) -> VideoStream:
    pictures = container.streams.video
    videos = [stream for stream in pictures if not stream.disposition & Disposition.attached_pic]
    if videos:
        if videos[0].codec_context is None:
            raise NoDecoderError("PyAV has no decoder for it", where=str(path), fix="convert it to H.264")
        return videos[0]
    kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
    found = " and ".join(kinds) if kinds else "nothing"
    what = f"holds no video stream, only {found}" + (" and a cover picture" if pictures else "")
    raise NoVideoStreamError(what, where=str(path), fix="give a file with pictures that move")


def _cannot_open(path: Path, error: Exception) -> VideoError:
    """Say why FFmpeg refused a file, as far as its first bytes tell."""
    head = _head(path)
    if b"ftyp" in head[:64] or b"moov" in head[:64]:
        return DamagedVideoError(
            "is an MP4 or MOV file without its index ('moov'): its end is missing",
            where=str(path),
            fix="download or record it again; tools such as untrunc can sometimes save it",
        )
    if _is_text(head):
        return _a_text(path, head)
    return UnknownFormatError(
        f"is not a video that FFmpeg knows ({getattr(error, 'strerror', error)})",
        where=str(path),
        fix="check it with ffprobe, or download it again",
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _a_text(path: Path, head: bytes) -> NotAVideoError:
    kind = "a web page" if head.lstrip().startswith(b"<") else "a text"
    meant = "picture" if path.suffix.lower() in PICTURE_SUFFIXES else "video"
    what = f"is not a {meant}, it begins like {kind}"
    return NotAVideoError(what, where=str(path), fix=f"download the {meant} itself")


def _is_text(head: bytes) -> bool:
    # Not only for the words of the error: a playlist must not reach other readers, which would follow it.
    return not any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head)
