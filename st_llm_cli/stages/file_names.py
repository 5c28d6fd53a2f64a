"""Names of files, which are bytes, in results, which are text."""

from __future__ import annotations

import re

UNDECODABLE = re.compile("[\udc80-\udcff]")
"""What Python makes of a byte that is no text."""


def as_text(name: str) -> str:
    r"""Write a name so that UTF-8 can hold it: a byte that is no text as `\xff`.

    Args:
        name: A file's name, or words that hold one.
    """
    escaped = UNDECODABLE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", name)
    return escaped.encode("utf-8", "backslashreplace").decode()
