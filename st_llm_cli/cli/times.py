"""Times as people type them."""

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
