"""What was asked of a video, checked before any file is opened."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from st_llm_cli.errors import UsageError
from st_llm_cli.video.sampling import BOUNDED_SAMPLERS, SAMPLERS, SEEDED_SAMPLERS
from st_llm_cli.video.transform import Transform

DEFAULT_NUM_FRAMES = 16
MOST_FRAMES = 1_000_000
"""Most frames of one clip, 9 hours at 30 a second: numbers beyond are slips, and would fill the memory."""
HIGHEST_FPS = 1e12
"""Above all rates that mean something, and low enough for its periods to be counted."""
READER_NAMES = ("pyav", "torchcodec", "decord")
SAMPLER_NAMES = (*SAMPLERS, *SEEDED_SAMPLERS, *BOUNDED_SAMPLERS, "released_rate")


@dataclass(frozen=True)
class Request:
    """The frames wanted of one video. `read_clip` explains the fields."""

    path: Path
    sampler: str = "uniform"
    num_frames: int | None = None
    fps: float | None = None
    max_frames: int | None = None
    start: float | None = None
    end: float | None = None
    seed: int = 0
    transform: Transform | None = None
    reader: str = "pyav"
    folder_fps: float = 3.0


def check_request(request: Request) -> None:
    """Refuse what no video could fulfil.

    Raises:
        UsageError: If a name is unknown, a number is out of range, or two wishes exclude each other.
    """
    _check_name("sampler", request.sampler, SAMPLER_NAMES)
    _check_name("reader", request.reader, READER_NAMES)
    _check_kinds(request)
    _check_count(request)
    _check_rate(request)
    _check_window(request.start, request.end)


def path_of(given: object) -> Path:
    """Take a path as it was given.

    Raises:
        UsageError: If it is none, or empty: `Path("")` would be the folder one stands in.
    """
    if not isinstance(given, str | Path):
        raise UsageError(f"{given!r} is not a path", where="path", fix="give a str or a pathlib.Path")
    if not str(given).strip():
        raise UsageError("an empty path", where="path", fix="give a video; '.' is the folder you are in")
    return Path(given)


def _check_kinds(request: Request) -> None:
    """Refuse what is no number where one is needed: the decoding process would die of it."""
    for name in ("num_frames", "max_frames", "seed"):
        value = getattr(request, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise UsageError(f"{value!r} is not a whole number", where=name, fix="give an int")
    for name in ("fps", "start", "end", "folder_fps"):
        value = getattr(request, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise UsageError(f"{value!r} is not a number", where=name, fix="give a float")
    if request.transform is not None and not callable(request.transform):
        what = f"{request.transform!r} cannot be applied to a picture"
        raise UsageError(what, where="transform", fix="give a function of a picture, or None")


def _check_name(what: str, name: str, known: tuple[str, ...]) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(known)}"
    raise UsageError(f"unknown {what} '{name}'", where=what, fix=hint)


def _check_count(request: Request) -> None:
    if request.num_frames is not None and request.fps is not None:
        raise UsageError(
            f"both a number of frames ({request.num_frames}) and a rate ({request.fps} a second) were given",
            where="num_frames, fps",
            fix="give one of the two",
        )
    for name, value in (("num_frames", request.num_frames), ("max_frames", request.max_frames)):
        if value is not None and value < 1:
            raise UsageError(f"{value} frames were asked for", where=name, fix="ask for at least 1")
        if value is not None and value > MOST_FRAMES:
            what = f"{value} frames were asked for"
            raise UsageError(what, where=name, fix=f"ask for at most {MOST_FRAMES}")


def _check_rate(request: Request) -> None:
    for name, value in (("fps", request.fps), ("folder_fps", request.folder_fps)):
        if value is not None and not 0 < value <= HIGHEST_FPS:
            fix = f"give a number above 0, and at most {HIGHEST_FPS:g}"
            raise UsageError(f"a rate of {value} frames per second", where=name, fix=fix)
    if request.fps is not None and request.sampler not in ("uniform", "released_rate"):
        raise UsageError(
            f"the sampler '{request.sampler}' counts frames, it does not go by a rate",
            where="sampler, fps",
            fix="leave out `fps`, or the sampler",
        )
    if request.fps is None and request.sampler == "released_rate":
        raise UsageError("the sampler 'released_rate' needs a rate", where="fps", fix="give `fps`")
    if request.fps is None and request.max_frames is not None:
        raise UsageError(
            "max_frames limits fps, which was not given", where="max_frames", fix="give `num_frames`"
        )


def _check_window(start: float | None, end: float | None) -> None:
    if start is not None and not 0 <= start < float("inf"):
        raise UsageError(f"the clip was to start at {start:g} s", where="start", fix="give 0 or more seconds")
    if end is not None and not end > (start or 0):
        raise UsageError(
            f"the clip was to end at {end:g} s, before or at its start at {start or 0:g} s",
            where="start, end",
            fix="raise `end` or lower `start`",
        )
