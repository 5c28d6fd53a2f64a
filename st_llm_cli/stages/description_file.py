"""Descriptions on disk: written piece by piece, safe to interrupt, continued where they stopped.

Beside the output lies a small ledger, `OUTPUT.ledger`: its first line holds the settings, each further
line says which part is in the output and where it ends there, in bytes. The output is written and
synchronised before the ledger, so what the ledger does not know about was cut short and is removed
when the work goes on.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from st_llm_cli.errors import DataError, StllmError, UsageError
from st_llm_cli.json_text import parse_json
from st_llm_cli.stages.describe import Description, Part
from st_llm_cli.stages.file_lock import lock
from st_llm_cli.stages.file_names import as_text

_READ_WRITE = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
LEDGER_FIX = "add --overwrite to begin anew, or choose another --output"


@dataclass(frozen=True)
class Format:
    """How descriptions are written."""

    row: Callable[[Description, int], str]
    """Text of one description; the number counts from 1."""
    head: str = ""
    """What the file begins with."""
    one_video: bool = False
    """Whether the format has no place for more than one video (subtitles)."""


def seconds_as_clock(seconds: float, decimal_mark: str = ".") -> str:
    """Time as subtitles write it: `01:02:03.450`."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, rest = divmod(rest, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{decimal_mark}{rest:03d}"


def short_clock(seconds: float) -> str:
    """Time as people read it: `1:02:03`, `2:03`, `0:03.5`."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def _text(description: Description, number: int) -> str:
    begin, end = short_clock(description.start_seconds), short_clock(description.end_seconds)
    return f"{as_text(str(description.video))} [{begin}-{end}]\n{description.text}\n\n"


def _values(description: Description) -> dict[str, Any]:
    return {
        "video": as_text(str(description.video)),
        "start_seconds": round(description.start_seconds, 3),
        "end_seconds": round(description.end_seconds, 3),
        "num_frames": description.num_frames,
        "text": description.text,
        "damage": description.damage,
    }


def _json_line(description: Description, number: int) -> str:
    return json.dumps(_values(description), ensure_ascii=False) + "\n"


def _table_row(description: Description, number: int) -> str:
    return _csv_line(list(_values(description).values()))


def _csv_line(values: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _cue_text(text: str) -> str:
    """Text fit for a cue, which an empty line would end and `-->` would confuse."""
    lines = [line.strip() for line in text.replace("-->", "→").splitlines()]
    return "\n".join(line for line in lines if line)


def _srt(description: Description, number: int) -> str:
    begin, end = (seconds_as_clock(t, ",") for t in (description.start_seconds, description.end_seconds))
    return f"{number}\n{begin} --> {end}\n{_cue_text(description.text)}\n\n"


def _vtt(description: Description, number: int) -> str:
    begin, end = (seconds_as_clock(t) for t in (description.start_seconds, description.end_seconds))
    escaped = _cue_text(description.text).replace("&", "&amp;").replace("<", "&lt;")
    return f"{begin} --> {end}\n{escaped}\n\n"


@dataclass
class DescriptionFile:
    """An output file that is being written. Use it in a `with` block.

    Args:
        path: Where the descriptions go.
        format: How they are written.
        settings: Everything that decides what a description says; a file of other settings is refused.
        overwrite: Begin anew, whatever the file holds. It is emptied on entering the block, not before.
    """

    path: Path
    format: Format
    settings: Mapping[str, Any]
    overwrite: bool = False
    _done: set[tuple[str, float]] = field(default_factory=set)
    _output: BinaryIO | None = None
    _ledger: BinaryIO | None = None

    @property
    def ledger_path(self) -> Path:
        """Where the ledger lies."""
        return self.path.with_name(self.path.name + ".ledger")

    def check(self) -> None:
        """Refuse an output that this run cannot or must not write, and leave everything as it is.

        Raises:
            UsageError: If the path cannot be written, or holds something this run must not touch.
            DataError: If the ledger is damaged.
        """
        if self.path.is_dir():
            fix = f"name a file in it, such as {self.path / 'descriptions.jsonl'}"
            raise UsageError("is a folder", where=f"--output {self.path}", fix=fix)
        if self.path.exists() and not self.path.is_file():
            fix = "choose another --output, or leave it out and redirect standard output"
            raise UsageError("is not a file", where=f"--output {self.path}", fix=fix)
        if not self.path.parent.is_dir():
            raise self._cannot_be_written(os.strerror(errno.ENOENT))
        try:
            self._earlier()
        except OSError as error:
            raise self._cannot_be_written(error.strerror) from error

    def __enter__(self) -> Self:
        """Open the output, take up an earlier run's work, remove what it left half-written.

        Raises:
            UsageError: If the path cannot be written, holds something this run must not touch, or is being
                written by another process.
            DataError: If the ledger is damaged.
        """
        self.check()
        try:
            # Opened without emptying it: only the holder of the lock may touch what is there.
            self._output = os.fdopen(os.open(self.path, _READ_WRITE, 0o666), "r+b")
            lock(self._output, self.path)
            self._begin(self._earlier())
        except OSError as error:
            self._close()
            raise self._cannot_be_written(error.strerror) from error
        except StllmError:
            self._close()
            raise
        return self

    def _begin(self, entries: list[dict[str, Any]]) -> None:
        """Go on behind the entries of an earlier run."""
        assert self._output is not None
        size = entries[-1]["bytes"] if entries else 0
        self._done = {(entry["video"], entry["start_seconds"]) for entry in entries if "video" in entry}
        self._output.truncate(size)
        self._output.seek(size)
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
        _replace(self.ledger_path, "".join(lines))
        self._ledger = self.ledger_path.open("ab")
        if not entries:
            _write(self._output, self.format.head)
            self._note({"settings": dict(self.settings)})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both files."""
        self._close()

    def _close(self) -> None:
        for file in (self._output, self._ledger):
            if file is not None:
                # All that counts was synchronised when it was written, or its loss was said then.
                with suppress(OSError):
                    file.close()

    @property
    def count(self) -> int:
        """Descriptions in the file."""
        return len(self._done)

    def has(self, part: Part) -> bool:
        """Whether a part is described already."""
        return (str(part.video), round(part.start_seconds, 3)) in self._done

    def add(self, description: Description) -> None:
        """Write one description and make sure it is on disk.

        Raises:
            DataError: If the disk does not take it, for instance because it is full.
        """
        assert self._output is not None, "use the file in a with block"
        key = (str(description.video), round(description.start_seconds, 3))
        try:
            _write(self._output, self.format.row(description, len(self._done) + 1))
            self._note({"video": key[0], "start_seconds": key[1]})
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            fix = "make room; the same command goes on where it stopped"
            raise DataError(what, where=str(self.path), fix=fix) from error
        self._done.add(key)

    def _note(self, entry: dict[str, Any]) -> None:
        assert self._output is not None and self._ledger is not None
        _write(self._ledger, json.dumps({**entry, "bytes": self._output.tell()}, ensure_ascii=False) + "\n")

    def _cannot_be_written(self, reason: str | None) -> UsageError:
        what = f"cannot be written: {reason}"
        return UsageError(what, where=str(self.path), fix="choose another --output")

    def _earlier(self) -> list[dict[str, Any]]:
        """Entries of the ledger that can be relied on; [] where there is nothing to go on with."""
        if self.overwrite:
            return []
        if not self.ledger_path.exists():
            if self.path.exists() and self.path.stat().st_size:
                what = "exists, and is not the work of an earlier `stllm describe`"
                raise UsageError(
                    what, where=str(self.path), fix="choose another --output, or add --overwrite"
                )
            return []
        entries = _whole_lines(self.ledger_path)
        size = self.path.stat().st_size if self.path.exists() else 0
        if not entries and size > len(self.format.head.encode()):
            what = "does not say what is in the output"
            raise DataError(what, where=str(self.ledger_path), fix=LEDGER_FIX)
        if len(entries) == 1:
            return []  # begun, and nothing described: there is nothing that other settings could spoil
        while entries and entries[-1]["bytes"] > size:
            # The disk kept the ledger's line and lost the output's: only after a power cut.
            entries.pop()
        if entries and entries[0].get("settings") != dict(self.settings):
            what = f"was begun with other settings: {_difference(entries[0]['settings'], self.settings)}"
            fix = "choose another --output, repeat those settings, or add --overwrite"
            raise UsageError(what, where=str(self.path), fix=fix)
        return entries


def _whole_lines(ledger: Path) -> list[dict[str, Any]]:
    """Entries of a ledger; its last line is left out if a kill cut it short."""
    *lines, _cut_short = ledger.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_json(line.decode("utf-8", "surrogateescape"))
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "bytes" not in entry or ("settings" in entry) != (number == 1):
            what = f"line {number} is damaged"
            raise DataError(what, where=str(ledger), fix=LEDGER_FIX)
        entries.append(entry)
    return entries


def _write(file: BinaryIO, text: str) -> None:
    # In the ledger, which finds them again, file names of any bytes stay what they are.
    file.write(text.encode("utf-8", "surrogateescape"))
    file.flush()
    os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        _write(file, text)
    temporary.replace(path)


def _difference(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in {**earlier, **now} if earlier.get(key) != now.get(key)]
    return ", ".join(f"{key} was {earlier.get(key)!r}, is {now.get(key)!r}" for key in keys)


FORMATS = {
    "text": Format(_text),
    "jsonl": Format(_json_line),
    "csv": Format(
        _table_row, head=_csv_line(["video", "start_seconds", "end_seconds", "num_frames", "text", "damage"])
    ),
    "srt": Format(_srt, one_video=True),
    "vtt": Format(_vtt, head="WEBVTT\n\n", one_video=True),
}
"""Output formats of `stllm describe`."""
