"""Which clips an extraction skipped, on disk: an earlier ledger stands until the new one takes its place."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.stages.extract_features import Outcome
from st_llm_cli.stages.file_names import as_text
from st_llm_cli.stages.share import Share

AUTHOR = {"by": "stllm extract-features"}
"""What each line begins with: a training run keeps a ledger of the same name, which is not replaced."""
BEGINNING = json.dumps(AUTHOR).removesuffix("}").encode()


class Ledger:
    """Names what was skipped and why, a line each; there is no file if nothing was. Use it in a `with` block.

    The lines are written to `PATH.part`. When the block is left, that takes the place of an earlier run's
    ledger; where nothing was skipped, an earlier one is removed, unless an error ended the block.

    Args:
        path: The file.
        share: Which share of the clips this process has, if it has not all: its ledger is named after it.
    """

    def __init__(self, path: Path, share: Share | None = None) -> None:
        self._named = path
        own = "" if share is None or share.count == 1 else f"-{share.index + 1}of{share.count}"
        self.path = path.parent / f"{path.stem}{own}{path.suffix}"
        self._file: TextIO | None = None

    def check(self, inputs: Iterable[Path]) -> None:
        """Refuse a path that cannot be written or that holds anything but an earlier ledger; touch nothing.

        Args:
            inputs: What is to be read.

        Raises:
            UsageError: Saying what is wrong.
        """
        try:
            self._check(inputs)
        except OSError as error:
            raise self._refused(f"cannot be written: {error.strerror}") from error

    def _check(self, inputs: Iterable[Path]) -> None:
        if self._named == Path("-"):
            raise self._refused("is not a file", "name one: standard output holds the result")
        if self._named.is_dir():
            raise self._refused("is a folder", f"name a file in it, such as {self._named / 'skipped.jsonl'}")
        folder = self.path.parent
        if not os.access(folder, os.W_OK):
            reason = errno.EACCES if folder.exists() else errno.ENOENT
            raise self._refused(f"cannot be written: {os.strerror(reason)}")
        read = [given for given in inputs if given.exists()]
        for path in (self.path, self._part):
            if path.exists():
                self._check_replaceable(path, read)

    def _check_replaceable(self, path: Path, inputs: Iterable[Path]) -> None:
        if not path.is_file():
            raise self._refused("is not a file")
        for given in inputs:
            if given.samefile(path):
                raise self._refused(f"is among the inputs: {given}")
        if not _is_ledger(path):
            what = "exists, and does not say that it is a ledger of `stllm extract-features`"
            raise self._refused(what, "choose another --skipped, or move this file away", path)

    def _refused(
        self, what: str, fix: str = "choose another --skipped", path: Path | None = None
    ) -> UsageError:
        return UsageError(what, where=f"--skipped {path or self.path}", fix=fix)

    def __enter__(self) -> Self:
        """Begin; a file is opened for the first clip that is skipped."""
        return self

    def add(self, outcome: Outcome) -> None:
        """Write down a clip that was skipped.

        Raises:
            DataError: If the ledger cannot be written.
        """
        assert outcome.error is not None
        row = {
            **AUTHOR,
            "file": as_text(str(outcome.video)),
            "reason": as_text(str(outcome.error)),
            "kind": type(outcome.error).__name__,
            "seconds": round(outcome.seconds, 2),
        }
        try:
            if self._file is None:
                self._file = self._part.open("w", encoding="utf-8")
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the ledger in its place.

        Raises:
            DataError: If that fails.
        """
        try:
            if self._file is not None:
                self._file.close()
                self._part.replace(self.path)
            elif kind is None:
                for left in (self.path, self._part):
                    left.unlink(missing_ok=True)
        except OSError as problem:
            raise self._cannot_be_written(problem) from problem

    @property
    def _part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    def _cannot_be_written(self, error: OSError) -> DataError:
        what = f"the ledger cannot be written: {error.strerror}"
        return DataError(what, where=str(self.path), fix="name another file with --skipped")


def _is_ledger(path: Path) -> bool:
    """Whether each line of a file is an extraction's; so is a file without a line."""
    with path.open("rb") as file:
        return all(line.startswith(BEGINNING) for line in file)
