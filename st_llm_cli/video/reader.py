"""read_clip: from a path and a wish to a Clip; read_clips: the same for many, several at a time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from numbers import Real
from pathlib import Path

from st_llm_cli.errors import DecodeTimeoutError, StllmError, UsageError
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.container import NoDecoderError, UnknownFormatError, check_file
from st_llm_cli.video.decode import decode
from st_llm_cli.video.folder_reader import PICTURE_SUFFIXES, numbered_pictures
from st_llm_cli.video.pool import read_ahead
from st_llm_cli.video.request import Request, check_request, path_of
from st_llm_cli.video.transform import Transform
from st_llm_cli.video.worker import DecodingProcess, idle_process

log = logging.getLogger(__name__)

DEFAULT_DEADLINE_SECONDS = 120.0
FALLBACK_READERS = ("torchcodec", "decord")
# Not where PyAV opened the file and found its frames damaged: other readers would show them all the same.
FALLBACK_ERRORS = (UnknownFormatError, NoDecoderError)


def read_clip(
    path: str | Path,
    *,
    sampler: str = "uniform",
    num_frames: int | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    seed: int = 0,
    transform: Transform | None = None,
    reader: str = "pyav",
    deadline: float | None = DEFAULT_DEADLINE_SECONDS,
    folder_fps: float = 3.0,
) -> Clip:
    """Read frames of a video file, or of a folder of numbered pictures.

    Args:
        path: Video file, gif, or folder of numbered jpg or png files.
        sampler: Rule that chooses the frames, a name of `sampling.py`.
        num_frames: Frames wanted; 16 if neither this nor `fps` is given (MVBench's samplers: about one a
            second). A shorter clip repeats frames by the sampler's rule.
        fps: Frames wanted per second, instead of a number.
        max_frames: With `fps`: at most so many, spread evenly.
        start: Begin of the part to look at, in seconds from the first frame.
        end: End of the part to look at, in seconds from the first frame.
        seed: For samplers that draw.
        transform: Applied to each picture where it is decoded; must be picklable.
        reader: "pyav", "torchcodec" or "decord". Where PyAV cannot open a file, the others are tried too.
        deadline: Seconds after which a reader that has not finished is stopped. None decodes in this process,
            where nothing can stop a reader that hangs or crashes.
        folder_fps: Pictures per second of a folder.

    Returns:
        The clip.

    Raises:
        UsageError: If the wishes cannot be fulfilled by any video.
        VideoError: If this video cannot give the frames; see its family.
    """
    request = Request(
        path_of(path), sampler, num_frames, fps, max_frames, start, end, seed, transform, reader, folder_fps
    )
    check_request(request)
    if deadline is None:
        return read_with_fallback(request, decode)
    _check_deadline(deadline)
    with idle_process() as process:
        return _read_in(process, request, deadline)


def read_clips(
    requests: Iterable[Request],
    *,
    workers: int = 2,
    deadline: float = DEFAULT_DEADLINE_SECONDS,
    in_order: bool = True,
    ahead: int | None = None,
) -> Iterator[tuple[Request, Clip | StllmError]]:
    """Read many clips, several at a time, each in a process of its own.

    Args:
        requests: What is wanted of each video; taken as they are needed.
        workers: Clips decoded at a time.
        deadline: Seconds after which a clip is given up.
        in_order: Whether the clips come in the order of the requests, or each as soon as it is there.
        ahead: Clips that may be in memory before they are taken; `workers` + 1 if None.

    Yields:
        Each request, with its clip or with the error that stands for it.

    Raises:
        UsageError: If there is not at least one worker, or the deadline is not above 0.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers", where="workers", fix="give at least 1")
    _check_deadline(deadline)

    def read(process: DecodingProcess, request: Request) -> Clip | StllmError:
        try:
            check_request(request)
            return _read_in(process, request, deadline)
        except StllmError as error:
            return error

    return read_ahead(requests, read, workers, ahead or workers + 1, in_order)


def check_video(path: Path, reader: str = "pyav", deadline: float = DEFAULT_DEADLINE_SECONDS) -> None:
    """Refuse a file that is no video, without decoding one that is: before something long is begun.

    Args:
        path: Video file, picture or folder. Pictures are not opened.
        reader: Name of the reader that will be used. What can be said without PyAV is, for others.
        deadline: Seconds after which the file is given up.

    Raises:
        VideoError: As `read_clip` would.
    """
    if os.path.isdir(path):
        numbered_pictures(path)
        return
    check_file(path)
    if reader != "pyav" or path.suffix.lower() in PICTURE_SUFFIXES:
        return
    with idle_process() as process:
        try:
            process.open(path, deadline)
        except FALLBACK_ERRORS:
            _read_in(process, Request(path, num_frames=1), deadline)  # another reader may know it


def read_with_fallback(request: Request, read: Callable[[Request], Clip]) -> Clip:
    """Read with the reader asked for, and where PyAV cannot open a file, with the others that are installed.

    Args:
        request: What is wanted, checked.
        read: Reads with exactly the reader a request names.

    Returns:
        The clip. Its source says if another reader delivered, since that one may count frames in another way.

    Raises:
        VideoError: The first reader's, if none can read the file.
    """
    try:
        return read(request)
    except FALLBACK_ERRORS as error:
        if request.reader != "pyav":
            raise
        for reader in FALLBACK_READERS:
            if find_spec(reader) is None:
                continue
            try:
                clip = read(replace(request, reader=reader))
            except StllmError as also:
                log.debug("%s: %s cannot read it either: %s", request.path, reader, also)
                continue
            log.warning("%s: read with %s, because it %s", request.path, reader, error.what)
            return replace(clip, source=replace(clip.source, fallback_reason=error.what))
        raise


def _read_in(process: DecodingProcess, request: Request, deadline: float) -> Clip:
    """Read in a child process, the fallbacks within the same deadline."""
    if not os.path.isdir(request.path):
        check_file(request.path)
    ends = time.monotonic() + deadline

    def read(attempt: Request) -> Clip:
        left = ends - time.monotonic()
        if left <= 0:
            raise DecodeTimeoutError(
                f"no time left of {deadline:g} s", where=str(request.path), fix="raise the deadline"
            )
        return process.read(attempt, left)

    return read_with_fallback(request, read)


def _check_deadline(deadline: float) -> None:
    if isinstance(deadline, bool) or not isinstance(deadline, Real):
        raise UsageError(f"{deadline!r} is not a number", where="deadline", fix="give seconds, or None")
    if not deadline > 0:
        raise UsageError(f"a deadline of {deadline} s", where="deadline", fix="give more than 0 seconds")
