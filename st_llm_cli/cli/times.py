"""Times as people type and read them."""

from __future__ import annotations

import re

from st_llm_cli.errors import UsageError

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)s?")
_WORDS = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+(?:\.\d*)?)s)?")


def seconds_of(text: str, option: str) -> float:
    """Read `12.5`, `12.5s`, `1:30`, `1:02:03.5` or `1m30s` as seconds.

    Raises:
        UsageError: If it is none of these.
    """
    matched = _CLOCK.fullmatch(text.strip()) or _WORDS.fullmatch(text.strip())
    if matched is None or not any(matched.groups()):
        raise UsageError(f"'{text}' is not a time", where=option, fix="write 12.5, 1:30 or 1:02:03")
    hours, minutes, seconds = matched.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def window_of(text: str, option: str) -> tuple[float | None, float | None]:
    """Read `0:10-0:25`, `0:10-` or `-0:25` as begin and end in seconds; None where it is open.

    Raises:
        UsageError: If it is none of these, or ends before it begins.
    """
    begin, dash, finish = text.strip().partition("-")
    if not dash or not (begin or finish):
        raise UsageError(f"'{text}' is not a stretch of time", where=option, fix="write 0:10-0:25 or 0:10-")
    start = seconds_of(begin, option) if begin else None
    end = seconds_of(finish, option) if finish else None
    if end is not None and end <= (start or 0.0):
        raise UsageError(f"'{text}' ends before it begins", where=option, fix="write the begin first")
    return start, end


def duration(seconds: float) -> str:
    """Write how long something takes: `9 s`, `1 min 30 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def clock(seconds: float) -> str:
    """Write seconds as `0:04`, `1:02:03`, or `0:04.2` where they are not whole."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    whole, tenth = divmod(rest, 10)
    fraction = f".{tenth}" if tenth else ""
    return f"{hours}:{minutes:02d}:{whole:02d}{fraction}" if hours else f"{minutes}:{whole:02d}{fraction}"
