"""Benchmark files: read with errors that name the file and the row, and media found where people put them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from st_llm_cli.bench.sample import Media
from st_llm_cli.errors import DataError
from st_llm_cli.json_text import HALF_CHARACTER, parse_json

Row = dict[str, Any]
LONGEST_NAME = 255
"""Bytes."""
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: If it is missing, not UTF-8, or not JSON.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        fix = "download the file again"
        raise DataError(f"is not JSON: {error}", where=str(path), fix=fix) from error


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: If it is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        fix = "give the benchmark's folder as `data`"
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path), fix=fix) from error
    except UnicodeDecodeError as error:
        fix = "convert it to UTF-8, or download it again"
        raise DataError(f"is not UTF-8: {error.reason}", where=str(path), fix=fix) from error


def read_rows(path: Path) -> list[Row]:
    """Read a JSON file that holds a list of objects.

    Raises:
        DataError: If it holds something else.
    """
    return rows_of(read_json(path), path)


def rows_of(table: Any, path: Path) -> list[Row]:
    """Take a parsed value for a list of objects.

    Raises:
        DataError: If it is something else.
    """
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        what = "does not hold a list of questions"
        raise DataError(what, where=str(path), fix="download the benchmark's own file")
    return table


def text_in(row: Row, key: str, where: str) -> str:
    """Take a text out of a row; whole numbers count as texts, since ids and answers are written both ways.

    Raises:
        DataError: If it is not there, or something else.
    """
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        found = f"is {value!r}" if key in row else "is missing"
        have = ", ".join(row) or "nothing"
        raise DataError(f"'{key}' {found}", where=where, fix=f"the row has {have}; a text is needed")
    if has_half_character(value):
        raise DataError(f"'{key}' holds half a character: {value!a}", where=where, fix="write it in full")
    return value


def has_half_character(text: str) -> bool:
    """Whether a text holds one half of a surrogate pair, which JSON may spell and no file can keep."""
    return HALF_CHARACTER.search(text) is not None


def seconds_in(row: Row, key: str, where: str) -> float | None:
    """Take a time out of a row, None where it has none.

    Raises:
        DataError: If it is no number.
    """
    return _number_in(row, key, where, "a number of seconds is needed")


def rate_in(row: Row, key: str, where: str) -> float | None:
    """Take a number of pictures per second out of a row, None where it has none.

    Raises:
        DataError: If it is no number above 0.
    """
    needed = "a number of pictures per second above 0 is needed"
    rate = _number_in(row, key, where, needed)
    if rate is not None and not 0 < rate < math.inf:
        raise DataError(f"'{key}' is {row[key]!r}", where=where, fix=needed)
    return rate


def _number_in(row: Row, key: str, where: str, needed: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"'{key}' is {value!r}", where=where, fix=needed)
    try:
        return float(value)
    except OverflowError as error:
        what = f"'{key}' is a number of {len(str(abs(value)))} digits"
        raise DataError(what, where=where, fix=needed) from error


def name_problem(name: str) -> str | None:
    """Say what is wrong with the name of a clip (empty, or outside of the data folder); None if nothing."""
    if not name.strip():
        return "names no clip"
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in windows.parts:
        return f"its clip '{name}' lies outside of the data folder"
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in posix.parts):
        return f"its clip '{name[:40]}…' has a longer name than a file can have"
    return None


def part_problem(start: float | None, end: float | None) -> str | None:
    """Say what is wrong with the seconds of the part that a question is about; None if nothing."""
    begin = start or 0.0
    if not 0 <= begin < math.inf:
        return f"its part starts at {begin:g} s"
    if end is not None and not begin < end < math.inf:
        return f"its part goes from {begin:g} s to {end:g} s"
    return None


def find_media(
    name: str,
    places: Iterable[Path],
    *,
    origin: str = "",
    start: float | None = None,
    end: float | None = None,
    folder_fps: float | None = None,
) -> Media:
    """Look for a clip in several places.

    Args:
        name: As the benchmark writes it.
        places: Full paths to look at, in order.
        origin: Where the clip comes from.
        start: Begin of the part the question is about, seconds.
        end: End of that part, seconds.
        folder_fps: Pictures per second if it is a folder of pictures; a video file otherwise.
    """
    tried: list[Path] = []
    for place in dict.fromkeys(places):
        tried.append(place)
        if place.is_dir() if folder_fps else place.is_file():
            return Media(name, place, tuple(tried), origin, start, end, folder_fps)
    return Media(name, None, tuple(tried), origin, start, end, folder_fps)


def with_suffixes(folders: Iterable[Path], names: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """Give the paths of names in folders: as they are, where they end like a video, and with each suffix."""
    paths = []
    for folder in folders:
        for name in names:
            given = PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
            paths += [folder / name] if given else [folder / f"{name}{suffix}" for suffix in suffixes]
    return paths
