"""Sizes as people write and read them."""

from __future__ import annotations

import re

from st_llm_cli.errors import UsageError

UNITS = ("B", "KB", "MB", "GB", "TB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KIB|MIB|GIB|TIB)?", re.IGNORECASE)


def bytes_of(text: str, option: str) -> int:
    """Read `200GB`, `1.5 TB`, `512MiB` or `1000` as bytes; KB is 1000 bytes, KiB 1024.

    Raises:
        UsageError: If it is none of these.
    """
    matched = _SIZE.fullmatch(text.strip())
    if matched is None:
        raise UsageError(f"'{text}' is not a size", where=option, fix="write 200GB, 1.5TB or 500MB")
    unit = (matched[2] or "B").upper()
    base = 1024 if "I" in unit else 1000
    return int(float(matched[1]) * base ** UNITS.index(unit.replace("I", "")))


def size_text(count: int) -> str:
    """Write bytes as people read them: `0 B`, `12.3 MB`, `200 GB`."""
    number, unit = float(count), 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    digits = 0 if unit == 0 or number >= 99.95 else 1
    return f"{number:.{digits}f} {UNITS[unit]}"
