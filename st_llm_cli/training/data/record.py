"""Annotation files → records: what is shown, and the questions that can be asked about it."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from st_llm_cli.errors import DataError
from st_llm_cli.json_text import parse_json, parse_json_at
from st_llm_cli.recipe.sources import Annotations
from st_llm_cli.training.data.conversations import tasks_of_conversation
from st_llm_cli.training.data.example import Task
from st_llm_cli.training.data.fields import MistakeError, only_text
from st_llm_cli.training.data.json_lines import tasks_of_line
from st_llm_cli.training.data.place import find_annotations
from st_llm_cli.training.data.videochat2 import tasks_of_videochat2

MEDIA = ("video", "image")
LARGEST_NUMBER = sys.float_info.max


class Record(NamedTuple):
    """One entry of an annotation file."""

    line: int
    """Where it begins in the file, from 1."""
    path: Path
    """The clip or picture."""
    is_picture: bool
    tasks: tuple[Task, ...]
    """Questions about it; one of them is drawn each time."""
    start: float | None
    """Begin of the part to look at, seconds."""
    end: float | None
    """End of the part to look at, seconds."""


class Mistake(NamedTuple):
    """Something in an annotation file that is not as its format says."""

    line: int
    what: str


class Records(NamedTuple):
    """What an annotation file holds."""

    file: Path
    digest: str
    """Of the file's content."""
    records: tuple[Record, ...]
    mistakes: tuple[Mistake, ...]
    text_only: int = 0
    """Entries that show nothing, as LLaVA's mixtures have them; they are not among the records."""
    unread: tuple[tuple[str, int], ...] = ()
    """Keys that say nothing to a format whose keys are all known, each with the line it is in first."""


def read_records(name: str, source: Annotations) -> Records:
    """Read an annotation file; entries that are not as they should be are listed, not used.

    Args:
        name: Key of `FORMATS`.
        source: The file, and the folder its paths start from.

    Raises:
        DataError: If the file cannot be read, or the folder does not exist.
    """
    file, media = find_annotations(source)
    try:
        content = file.read_bytes()  # once, so that the digest is of what is trained on
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text", where=str(file), fix="give the annotation file") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(file), fix="check the path") from error
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    del content
    records, mistakes, text_only = [], [], 0
    unread: dict[str, int] = {}
    tasks_of = FORMATS[name]
    try:
        for line, item in ENTRIES[name](text):
            if name == "conversations" and _shows_nothing(item):
                text_only += 1
                continue
            if name in KEYS and isinstance(item, dict):
                for key in (key for key in item if key not in KEYS[name]):
                    unread.setdefault(key, line)
            try:
                records.append(_record(line, item, media, tasks_of))
            except MistakeError as error:
                mistakes.append(Mistake(line, str(error)))
    except MistakeError as error:
        mistakes.append(Mistake(error.line, str(error)))
    return Records(file, digest, tuple(records), tuple(mistakes), text_only, tuple(unread.items()))


def _shows_nothing(item: Any) -> bool:
    return isinstance(item, dict) and all(item.get(key) is None for key in MEDIA)


def _record(
    line: int, item: Any, media: Path, tasks_of: Callable[[dict[str, Any]], tuple[Task, ...]]
) -> Record:
    if isinstance(item, json.JSONDecodeError):
        raise MistakeError(f"is not JSON: {item.msg}")
    if not isinstance(item, dict):
        raise MistakeError("is not a block of keys and values")
    named = [key for key in MEDIA if item.get(key) is not None]
    if len(named) != 1:
        raise MistakeError(
            f"names {' and '.join(named) or 'neither video nor image'}; one of the two it must be"
        )
    (key,) = named
    path = media / only_text(item, key)
    start, end = _seconds(item, "start"), _seconds(item, "end")
    if end is not None and end <= (start or 0.0):
        raise MistakeError(f"ends at {end:g} s, not after its start at {start or 0.0:g} s")
    return Record(line, path, key == "image", tasks_of(item), start, end)


def _seconds(item: dict[str, Any], key: str) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_NUMBER:
        shown = json.dumps(value)
        if len(shown) > 40:
            shown = (
                f"a number of {len(str(abs(value)))} digits" if isinstance(value, int) else f"{shown[:40]}…"
            )
        raise MistakeError(f"'{key}' is {shown}, not a number of seconds")
    return float(value)


def _entries_of_list(text: str) -> Iterator[tuple[int, Any]]:
    """Entries of a JSON list, each with the line it begins in."""
    place = _after_blanks(text, 0)
    if text[place : place + 1] != "[":
        raise MistakeError("is not a JSON list", line=_line(text, place))
    place = _after_blanks(text, place + 1)
    line, counted = 1, 0
    while text[place : place + 1] != "]":
        line, counted = line + text.count("\n", counted, place), place
        try:
            item, place = parse_json_at(text, place)
        except json.JSONDecodeError as error:
            raise MistakeError(f"is not JSON: {error.msg}", line=error.lineno) from error
        yield line, item
        place = _after_blanks(text, place)
        if text[place : place + 1] == ",":
            place = _after_blanks(text, place + 1)
        elif text[place : place + 1] != "]":
            raise MistakeError("is not JSON: ',' or ']' is missing", line=_line(text, place))
    rest = _after_blanks(text, place + 1)
    if rest < len(text):
        raise MistakeError("goes on after the ']' of its list; a file holds one list", line=_line(text, rest))


def _entries_of_lines(text: str) -> Iterator[tuple[int, Any]]:
    """Entries of a JSON Lines file."""
    for number, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            item = parse_json(row)
        except json.JSONDecodeError as error:
            item = error  # the next line can still be read
        yield number, item


def _after_blanks(text: str, place: int) -> int:
    while text[place : place + 1] in (" ", "\n", "\r", "\t"):
        place += 1
    return place


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


FORMATS: dict[str, Callable[[dict[str, Any]], tuple[Task, ...]]] = {
    "videochat2": tasks_of_videochat2,
    "conversations": tasks_of_conversation,
    "jsonl": tasks_of_line,
}
"""From an entry to the questions it holds, by the keys of a recipe's source."""
ENTRIES = {"videochat2": _entries_of_list, "conversations": _entries_of_list, "jsonl": _entries_of_lines}
KEYS = {"jsonl": {*MEDIA, "question", "answer", "start", "end"}}
"""All keys of a format that is ours; entries of the others come with many that mean nothing here."""
