"""Predictions on disk: one line each, written before the next question is asked, sorted at the end.

`predictions.jsonl` stands alone: each line holds the question with its options and answer as well as the
reply, so that it can be scored again without data or model. It holds no times: the same run gives the same
bytes. Several processes write a part each, `predictions.part-2-of-4.jsonl`; once all questions have an
answer, the parts become the file. A part left behind counts as well, however many processes there are now.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from st_llm_cli.bench.files import has_half_character
from st_llm_cli.bench.sample import Media, Prediction, Sample
from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.json_text import parse_json
from st_llm_cli.stages.file_lock import lock
from st_llm_cli.stages.run_folder import cannot_write, write_run_file
from st_llm_cli.stages.share import Share

NAME = "predictions.jsonl"
SETTINGS_NAME = "settings.json"
SYNCHRONISE_SECONDS = 1.0
ANOTHER = "choose another --output, or move this folder away"
"""What helps where a folder cannot be used; an evaluation within a run of `stllm run` has no --output."""
PATIENCE_SECONDS = 5.0
"""How long another process may take to let go of a file: one that was killed is gone by then."""


class PredictionFile:
    """The predictions of a run, taken up where an earlier run stopped. Use it in a `with` block.

    Args:
        folder: The run's folder; made where missing.
        settings: Everything that decides what a prediction says; a folder of other settings is refused.
        share: The share of the questions that this process answers; None for all of them.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], share: Share | None = None) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self.path = folder / NAME if share is None else folder / part_name(share)
        self._file: BinaryIO | None = None
        self._synchronised = time.monotonic()
        self._rows: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        """Open the file, keep what an earlier run wrote whole, remove a line it left half-written.

        Raises:
            UsageError: If the folder holds a run of other settings or no run at all, or another process
                writes the same file.
            DataError: If the folder cannot be written, or a line of the earlier run is damaged.
        """
        refuse_foreign(self.folder)
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim()
            self._file = _open_alone(self.path)
            try:
                own, size = _whole_rows(self.path)
                self._rows = {**_rows_in(self.folder, besides=self.path), **own}
                self._file.truncate(size)
                self._file.seek(size)
            except BaseException:
                self._file.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._file is not None:
            with _writing(self.path):  # what found no room is tried once more, and refused again
                self._synchronise()
                self._file.close()

    def has(self, sample: Sample) -> bool:
        """Whether there is a prediction for this very question."""
        row = self._rows.get(sample.id)
        if row is None:
            return False
        if _question_of(row) != _question_of(row_of(Prediction(sample, None))):
            what = f"holds another question under the id '{sample.id}': the benchmark's files have changed"
            raise UsageError(what, where=str(self.path), fix=ANOTHER)
        return True

    def add(self, prediction: Prediction) -> None:
        """Write one prediction: no killed process takes it along, no power cut more than a second's.

        Raises:
            DataError: If it cannot be written.
        """
        assert self._file is not None, "use the file in a with block"
        row = row_of(prediction)
        self._rows[prediction.sample.id] = row
        with _writing(self.path):
            self._file.write(_line(row))
            self._file.flush()
            if time.monotonic() - self._synchronised > SYNCHRONISE_SECONDS:
                self._synchronise()

    def _synchronise(self) -> None:
        """Wait until the disk has it all; that can take longer than answering a question."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._synchronised = time.monotonic()

    def _claim(self) -> None:
        path = self.folder / SETTINGS_NAME
        if not path.exists():
            write_run_file(path, json.dumps(self.settings, indent=1) + "\n")
        try:
            earlier = parse_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError("is damaged", where=str(path), fix=ANOTHER) from error
        if not isinstance(earlier, dict):
            raise DataError("is damaged", where=str(path), fix=ANOTHER)
        now = json.loads(json.dumps(self.settings))
        if earlier != now:
            keys = [key for key in {**earlier, **now} if earlier.get(key) != now.get(key)]
            changes = ", ".join(f"{key} was {earlier.get(key)!r}, is {now.get(key)!r}" for key in keys)
            fix = f"repeat those settings, {ANOTHER}"
            raise UsageError(f"holds a run of other settings: {changes}", where=str(self.folder), fix=fix)


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something and is no run's, before anything is written to it.

    Raises:
        UsageError: If so.
        DataError: If it cannot be looked into.
    """
    try:
        held = [path.name for path in folder.iterdir() if not path.match(f".{SETTINGS_NAME}.*.part")]
        # Looked for last: a process that began the run meanwhile has written its settings first.
        if not held or (folder / SETTINGS_NAME).exists():
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(folder, error) from error
    if NAME in held:
        what = "holds predictions, and nothing that says how they were made"
        raise UsageError(what, where=str(folder), fix=ANOTHER)
    what = "exists, and is not a run folder"
    raise UsageError(what, where=str(folder), fix=ANOTHER)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def part_name(share: Share) -> str:
    """Name the file of one of several processes."""
    return f"predictions.part-{share.index + 1}-of-{share.count}.jsonl"


def collect(folder: Path, samples: Sequence[Sample]) -> list[Prediction] | None:
    """Make one sorted file of all parts once no answer is missing, so that it does not tell who wrote what.

    Args:
        folder: The run's.
        samples: The questions that were asked.

    Returns:
        The predictions in the order of the questions; None while one is missing.

    Raises:
        UsageError: If another process still writes a part.
        DataError: If a line is damaged, or the file cannot be written.
    """
    with (folder / SETTINGS_NAME).open("r+b") as settings:  # two processes may be through at the same time
        lock(settings, folder, PATIENCE_SECONDS)
        rows = _rows_in(folder)
        if any(sample.id not in rows for sample in samples):
            return None
        write_run_file(folder / NAME, b"".join(_line(rows[id]) for id in sorted(rows)).decode())
        for part in _parts(folder):
            _open_alone(part).close()
            part.unlink()
    found = ((sample, rows[sample.id]) for sample in samples)
    return [Prediction(sample, row["reply"], row["option"], row["error"]) for sample, row in found]


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("predictions.part-*-of-*.jsonl"))


def _rows_in(folder: Path, besides: Path | None = None) -> dict[str, dict[str, Any]]:
    """Give the rows of the file and of all parts, by id; a half line at an end may still be growing."""
    rows: dict[str, dict[str, Any]] = {}
    for path in (*_parts(folder), folder / NAME):  # in this order: a part that goes has become the file
        if path != besides:
            rows.update(_whole_rows(path)[0])
    return rows


def _open_alone(path: Path) -> BinaryIO:
    """Open a file that nobody else is writing, without emptying it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        try:
            lock(file, path, PATIENCE_SECONDS)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
            # Its holder has put another file in its place meanwhile.
        except BaseException:
            file.close()
            raise
        file.close()


def row_of(prediction: Prediction) -> dict[str, Any]:
    """Give a prediction as its line holds it."""
    sample = prediction.sample
    return {
        "id": sample.id,
        "task": sample.task,
        "kind": sample.kind,
        "clips": [
            {"name": clip.name, "start_seconds": clip.start_seconds, "end_seconds": clip.end_seconds}
            for clip in sample.clips
        ],
        "question": sample.question,
        "prompt": sample.prompt,
        "candidates": list(sample.candidates),
        "answer": sample.answer,
        "group": sample.group,
        "part": sample.part,
        **({} if sample.check is None else {"check": sample.check}),
        "reply": prediction.reply,
        "option": prediction.option,
        "error": prediction.error,
    }


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions, to score it again.

    Raises:
        DataError: If it cannot be read, is something else, or a line is damaged.
    """
    fix = f"give a run's folder or its {NAME}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error
    if not _looks_like_predictions(content):
        raise DataError(f"is not a {NAME}", where=str(path), fix=fix)
    rows, _ = _rows_of(content, path, fix="remove the line, which leaves its question out")
    return [_prediction_in(row, path, number) for number, row in enumerate(rows.values(), start=1)]


def _prediction_in(row: dict[str, Any], path: Path, number: int) -> Prediction:
    try:
        return _prediction_of(row)
    except (KeyError, TypeError) as error:
        lacks = f"lacks {error}" if isinstance(error, KeyError) else f"holds something else: {error}"
        fix = f"give a file in which each line is as in a run's {NAME}"
        raise DataError(f"line {number} is no prediction, it {lacks}", where=str(path), fix=fix) from error


def _text(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or has_half_character(value):
        raise TypeError(f"'{key}' is {value!a}")
    return value


def _prediction_of(row: dict[str, Any]) -> Prediction:
    candidates = row["candidates"]
    if not isinstance(candidates, list) or not all(isinstance(text, str) for text in candidates):
        raise TypeError(f"'candidates' is {candidates!a}")
    clips = tuple(
        Media(clip["name"], None, start_seconds=clip["start_seconds"], end_seconds=clip["end_seconds"])
        for clip in row["clips"]
    )
    sample = Sample(
        _text(row, "id"),
        _text(row, "task"),
        _text(row, "kind"),
        clips,
        _text(row, "question"),
        _text(row, "prompt"),
        _text(row, "answer"),
        tuple(candidates),
        row["group"],
        row["part"],
        check=row.get("check"),
    )
    reply = None if row["reply"] is None else _text(row, "reply")
    return Prediction(sample, reply, row["option"], row["error"])


def _question_of(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("reply", "option", "error")}


def _looks_like_predictions(content: bytes) -> bool:
    """Whether a line holds a row; a first one that a kill cut short need only begin like one."""
    if b"\n" not in content:
        return content[:1] in (b"", b"{")
    return any(_row_in(line) is not None for line in content.splitlines())


def _whole_rows(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Give the rows of a run's own file, which need not be there yet, as `_rows_of` does."""
    if not path.exists():
        return {}, 0
    return _rows_of(path.read_bytes(), path, fix=f"remove the line, {ANOTHER}")


def _rows_of(content: bytes, path: Path, fix: str) -> tuple[dict[str, dict[str, Any]], int]:
    """Give rows by id, and the length of them all, without a last line that a kill cut short."""
    size = content.rfind(b"\n") + 1
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(content[:size].splitlines(), start=1):
        row = _row_in(line)
        if row is None or row["id"] in rows:
            raise DataError(f"line {number} is damaged", where=str(path), fix=fix)
        rows[row["id"]] = row
    return rows, size


def _row_in(line: bytes) -> dict[str, Any] | None:
    """Read a line; None if it holds no object with an id."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("id"), str | int) else None


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8")
