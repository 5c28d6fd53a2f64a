"""JSON that somebody else wrote: all that cannot be read is the same error, and says where."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
"""One half of a surrogate pair, which JSON may spell and no file can keep."""
TEXT = r'"(?:[^"\\]++|\\.)*+"?'  # taken in one go even if it never ends, or a long file would take hours
BRACKET = re.compile(rf"{TEXT}|[\[{{]|[\]}}]")
"""A whole text, or the beginning or end of a list or an object."""
NUMBER = re.compile(rf"{TEXT}|-?\d[\d.eE+-]*+")
"""A whole text, or a whole number with its fraction and exponent."""


def parse_json(text: str | bytes) -> Any:
    """Read a JSON value.

    Args:
        text: It and nothing else; bytes are UTF-8, UTF-16 or UTF-32.

    Raises:
        json.JSONDecodeError: If it is not JSON, or more than Python reads: a number of thousands of digits,
            or lists in lists a thousand deep.
        UnicodeDecodeError: If bytes are no text.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        raise _said(error, text, 0) from error


def parse_json_at(text: str, place: int) -> tuple[Any, int]:
    """Read the JSON value that begins at a place of a text.

    Returns:
        The value, and the place behind it.

    Raises:
        json.JSONDecodeError: As `parse_json`.
    """
    try:
        return _decode(text, place)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        raise _said(error, text, place) from error


def _said(error: RecursionError | ValueError, text: str, place: int) -> json.JSONDecodeError:
    """Say what of the value at a place Python does not read, and where it is."""
    if isinstance(error, RecursionError):
        return json.JSONDecodeError("nested too deeply", text, _deepest(text, place))
    most = sys.get_int_max_str_digits()  # longer whole numbers take Python long, and it refuses them
    return json.JSONDecodeError(f"a number of more than {most} digits", text, _longer(most, text, place))


def _deepest(text: str, place: int) -> int:
    """Where the innermost of the lists and objects in the one at a place begins."""
    depth, deepest = 0, 0
    for mark in BRACKET.finditer(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if depth > deepest:
            deepest, place = depth, mark.start()
        elif depth == 0:
            break
    return place


def _longer(most: int, text: str, place: int) -> int:
    """Where the first whole number of too many digits begins, from a place on."""
    for mark in NUMBER.finditer(text, place):
        digits = mark[0].removeprefix("-")
        if len(digits) > most and digits.isdecimal():
            return mark.start()
    return place


_decode = json.JSONDecoder().raw_decode
