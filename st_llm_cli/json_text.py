"""JSON that somebody else wrote: all that cannot be read is the same error, and says where."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
"""A whole text, or the beginning or end of a list or an object."""


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
    with _one_error(text, 0):
        return json.loads(text)


def parse_json_at(text: str, place: int) -> tuple[Any, int]:
    """Read the JSON value that begins at a place of a text.

    Returns:
        The value, and the place behind it.

    Raises:
        json.JSONDecodeError: As `parse_json`.
    """
    with _one_error(text, place):
        return _decode(text, place)


@contextmanager
def _one_error(text: str, place: int) -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", text, _deepest(text, place)) from error
    except ValueError as error:  # Python refuses long numbers, which take it long
        most = sys.get_int_max_str_digits()
        found = re.compile(rf"\d{{{most + 1},}}").search(text, place)
        what = f"a number of more than {most} digits"
        raise json.JSONDecodeError(what, text, found.start() if found else place) from error


def _deepest(text: str, place: int) -> int:
    """Where the innermost of the lists and objects from a place on begins."""
    depth, deepest = 0, 0
    for mark in MARK.finditer(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if depth > deepest:
            deepest, place = depth, mark.start()
    return place


_decode = json.JSONDecoder().raw_decode
