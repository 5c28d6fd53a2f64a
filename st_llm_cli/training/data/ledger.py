"""Clips that could not be read: written down, counted, and too many of them end the run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from st_llm_cli.errors import DataError, StllmError
from st_llm_cli.json_text import parse_json
from st_llm_cli.training.data.record import Record
from st_llm_cli.video.request import Request

log = logging.getLogger(__name__)

LISTED = 10
"""Clips that the error names; the ledger has them all."""


def clip_name(clip: Request | Record) -> str:
    """Name of a clip: its file, and the part of it where one is asked for."""
    if clip.start is None and clip.end is None:
        return str(clip.path)
    end = "" if clip.end is None else f"{clip.end:g}"
    return f"{clip.path}@{clip.start or 0.0:g}-{end}"


class Ledger:
    """What was skipped and why, a line each; processes, stages and resumed runs share the file.

    A clip that is in it is not tried again, so that a file that hangs costs its deadline once, and a run that
    is resumed shows what it would have shown. Of those of other stages, only what this one may show counts.

    Args:
        path: The file; there is none if nothing is skipped. None keeps the list in memory.
        clips: Clips and pictures that the stage may show, by their `clip_name`.
        max_failures: Share of them that may fail.

    Raises:
        DataError: If more than that failed before.
    """

    def __init__(self, path: Path | None, clips: Iterable[str], max_failures: float) -> None:
        own = set(clips)  # not kept: there can be millions
        self.path = path
        self.num_media = len(own)
        self.max_failures = max_failures
        self._reasons = self._read()
        self._of_others = self._reasons.keys() - own
        self._refuse_too_many()
        if failed := len(self._failed()):
            count = "1 clip is" if failed == 1 else f"{failed} clips are"
            log.warning("%s not tried again, see %s", count, path)

    def __contains__(self, clip: object) -> bool:
        return clip in self._reasons

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, clip: str, error: StllmError, seconds: float) -> None:
        """Write a clip down, by its `clip_name`.

        Raises:
            DataError: If that is one too many, or the ledger cannot be written.
        """
        if clip in self:
            return
        log.warning("left out: %s", error)
        row = {"file": clip, "reason": str(error), "kind": type(error).__name__}
        self._write({**row, "seconds": round(seconds, 2)})
        self._reasons = {**self._read(), clip: str(error)}
        self._refuse_too_many()

    def _failed(self) -> list[str]:
        """Reasons of those that the stage may show; what was added since its start is the stage's own."""
        return [reason for clip, reason in self._reasons.items() if clip not in self._of_others]

    def _refuse_too_many(self) -> None:
        failed = self._failed()
        if len(failed) <= self.max_failures * self.num_media:
            return
        share = f"{len(failed)} of {self.num_media} clips and pictures cannot be read"
        listed = [f"\n  {reason}" for reason in failed[:LISTED]]
        more = len(failed) - len(listed)
        rest = f"\n  and {more} more" if more else ""
        fix = "mend or remove them and delete the ledger, or raise max_failures; the run goes on"
        what = f"{share}, more than max_failures {self.max_failures:g} allows{''.join(listed)}{rest}"
        raise DataError(what, where=None if self.path is None else str(self.path), fix=fix)

    def _write(self, row: dict[str, Any]) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            what = f"the ledger cannot be written: {error.strerror}"
            raise DataError(what, where=str(self.path), fix="make room, or check its permissions") from error

    def _read(self) -> dict[str, str]:
        """What other processes and earlier runs have written down as well."""
        if self.path is None:
            return getattr(self, "_reasons", {})
        if not self.path.exists():
            return {}
        reasons = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                row = parse_json(line)
                reasons[str(row["file"])] = str(row["reason"])
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # half a line: another process is writing it, or was killed while it did
        return reasons
