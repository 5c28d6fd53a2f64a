"""Replies of judges on disk: what was paid for is kept, whoever asks next."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from st_llm_cli.bench.judge_text import VERSION, Case
from st_llm_cli.bench.judged import is_usable
from st_llm_cli.errors import DataError
from st_llm_cli.json_text import parse_json
from st_llm_cli.stages.run_folder import cannot_write

NAME = "judgements.jsonl"


class ReplyFile:
    """Replies of judges, by what was asked of whom.

    Args:
        folder: The run's; the file is made with the first reply.

    Raises:
        DataError: If a line of it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._replies: dict[str, list[str]] = {}
        content = self.path.read_bytes() if self.path.exists() else b""
        self._size = content.rfind(b"\n") + 1  # what a kill cut short is written anew
        for number, line in enumerate(content[: self._size].splitlines(), start=1):
            try:
                row = parse_json(line)
                self._replies.setdefault(row["key"], []).append(row["reply"])
            except (ValueError, KeyError, TypeError) as error:
                fix = "remove the line; its question is asked again"
                raise DataError(f"line {number} is damaged", where=str(self.path), fix=fix) from error

    def first(self, judge: str, case: Case, scorer: str) -> str | None:
        """Give the oldest reply of a judge about a case that a scorer can use; None if there is none."""
        return next(iter(self._usable(judge, case, scorer)), None)

    def last(self, judge: str, case: Case, scorer: str) -> str | None:
        """Give the newest such reply."""
        return next(reversed(self._usable(judge, case, scorer)), None)

    def _usable(self, judge: str, case: Case, scorer: str) -> list[str]:
        known = self._replies.get(key_of(judge, case), [])
        return [reply for reply in known if is_usable(reply, case, scorer)]

    def add(self, judge: str, case: Case, reply: str) -> None:
        """Keep a reply, on disk before this returns.

        Raises:
            DataError: If it cannot be written.
        """
        key = key_of(judge, case)
        row = {"key": key, "id": case.id, "criterion": case.criterion, "judge": judge, "reply": reply}
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.truncate(self._size)
                file.seek(self._size)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._size += len(line)
        self._replies.setdefault(key, []).append(reply)


def key_of(judge: str, case: Case) -> str:
    """Name a question to a judge: by the judge, the version of the text, question, reference and answer.

    Not by an address: the same model behind another one is the same judge.
    """
    asked = [judge, VERSION, case.criterion, case.questions, case.reference, case.answers]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
