"""Have a judge read the written answers of a run; every reply is kept, so that none is paid for twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from st_llm_cli.bench.judge import ATTEMPTS, Judge, NoReplyError, ask_until
from st_llm_cli.bench.judge_reply import read_judgement
from st_llm_cli.bench.judge_text import CALIBRATION, CRITERIA, VERSION, Case, messages_of
from st_llm_cli.bench.judged import (
    Judged,
    cases_of,
    is_usable,
    not_asked_of,
    score_criterion,
)
from st_llm_cli.bench.sample import Prediction
from st_llm_cli.errors import DataError, UsageError

NAME = "judgements.jsonl"
VCG_CRITERIA = ("correctness", "detail", "context", "temporal", "consistency")
CHARACTERS_PER_TOKEN = 4
"""About; only for the estimate."""


@dataclass(frozen=True)
class Estimate:
    """What judging a run will take."""

    calls: int
    """Questions to the judge that are not answered yet, the calibration among them."""
    tokens: int
    """About how many tokens they are."""


def greet(judge: Judge) -> str:
    """Ask a judge one question of known answer, and give its reply.

    Raises:
        UsageError: If it does not reply.
    """
    try:
        return ask_until(judge, messages_of(CALIBRATION[0][0]), lambda reply: True, attempts=2)
    except NoReplyError as error:
        what, fix = f"does not reply: {error.why}", "check that it runs, and the address"
        raise UsageError(what, where="--judge-url", fix=fix) from error


def estimate(predictions: Sequence[Prediction], judge: Judge, folder: Path, scorer: str) -> Estimate:
    """Say what judging will take before it begins."""
    known = ReplyFile(folder / NAME).replies
    waiting = [case for case in _all_cases(predictions) if key_of(judge, case, scorer) not in known]
    characters = sum(len(message["content"]) for case in waiting for message in messages_of(case))
    return Estimate(len(waiting), characters // CHARACTERS_PER_TOKEN)


def judge_run(
    predictions: Sequence[Prediction],
    judge: Judge,
    folder: Path,
    *,
    scorer: str = "strict",
    attempts: int = ATTEMPTS,
    workers: int = 4,
    sleep: Callable[[float], None] | None = None,
    step: Callable[[str], None] = lambda id: None,
) -> Judged | None:
    """Have all written answers of a run judged.

    Args:
        predictions: Of the run.
        judge: Who judges.
        folder: Where its replies are kept.
        scorer: Which rule decides that a reply can be used: `strict` reads tolerantly, `released` takes what
            the released scripts take.
        attempts: Times a question is asked at most.
        workers: Questions asked at a time.
        sleep: Waits some seconds between attempts; the real thing if None.
        step: Called with the id of each case that is through.

    Returns:
        The numbers; None where there is nothing for a judge to read.

    Raises:
        UsageError: If the judge will never reply.
        DataError: If the kept replies are damaged.
    """
    cases = cases_of(predictions)
    not_asked = not_asked_of(predictions)
    if not cases and not not_asked:
        return None
    options: dict[str, Any] = {"attempts": attempts, **({} if sleep is None else {"sleep": sleep})}
    replies: dict[tuple[str, str], str | None] = {}
    failed: dict[str, str] = {}
    for case, outcome in _ask(_all_cases(predictions), judge, folder, scorer, workers, options):
        failure = outcome.why if isinstance(outcome, NoReplyError) else None
        replies[case.criterion, case.id] = None if isinstance(outcome, NoReplyError) else outcome
        if failure is not None:
            failed[f"{case.criterion} of {case.id}"] = failure
        step(case.id)
    criteria = {}
    for name in CRITERIA:
        own = [replies[name, case.id] for case in cases if case.criterion == name]
        if own or name in not_asked:
            criteria[name] = score_criterion(name, own, not_asked.get(name, 0))
    scores = [criteria[name].score for name in VCG_CRITERIA if name in criteria]
    whole = len(scores) == len(VCG_CRITERIA) and all(score is not None for score in scores)
    mean = sum(score for score in scores if score is not None) / len(scores) if whole else None
    agreed = sum(_agrees(replies[case.criterion, case.id], verdict) for case, verdict in _calibration())
    return Judged(judge.name, VERSION, scorer, criteria, mean, failed, f"{agreed} of {len(CALIBRATION)}")


class ReplyFile:
    """Replies of judges on disk, by what was asked of whom.

    Args:
        path: The file; made with the first reply.

    Raises:
        DataError: If a line of it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, str] = {}
        content = path.read_bytes() if path.exists() else b""
        self._size = content.rfind(b"\n") + 1  # what a kill cut short is written anew
        for number, line in enumerate(content[: self._size].splitlines(), start=1):
            try:
                row = json.loads(line)
                self.replies[row["key"]] = row["reply"]
            except (ValueError, KeyError, TypeError) as error:
                fix = "remove the line; its question is asked again"
                raise DataError(f"line {number} is damaged", where=str(path), fix=fix) from error

    def add(self, key: str, case: Case, judge: Judge, reply: str) -> None:
        """Keep a reply, on disk before this returns."""
        row = {"key": key, "id": case.id, "criterion": case.criterion, "judge": judge.name, "reply": reply}
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(self._size)
            file.seek(self._size)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(line)
        self.replies[key] = reply


def key_of(judge: Judge, case: Case, scorer: str) -> str:
    """Name a question to a judge by all that its reply may depend on."""
    asked = [judge.name, VERSION, scorer, [dict(message) for message in messages_of(case)]]
    return hashlib.sha256(json.dumps(asked).encode("utf-8")).hexdigest()


def _all_cases(predictions: Sequence[Prediction]) -> list[Case]:
    return [*(case for case, _ in _calibration()), *cases_of(predictions)]


def _calibration() -> list[tuple[Case, bool]]:
    """Give the cases of known verdict, under ids that no question of a benchmark has."""
    return [(replace(case, id=f"calibration: {case.id}"), verdict) for case, verdict in CALIBRATION]


def _ask(
    cases: Iterable[Case],
    judge: Judge,
    folder: Path,
    scorer: str,
    workers: int,
    options: dict[str, Any],
) -> Iterator[tuple[Case, str | NoReplyError]]:
    """Ask about each case, several at a time; replies that are kept already are not asked for."""
    file = ReplyFile(folder / NAME)

    def reply_to(case: Case) -> str | NoReplyError:
        known = file.replies.get(key_of(judge, case, scorer))
        if known is not None:
            return known

        def accept(reply: str) -> bool:
            return is_usable(reply, case, scorer)

        try:
            return ask_until(judge, messages_of(case), accept, **options)
        except NoReplyError as error:
            return error

    whole = list(cases)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(reply_to, case) for case in whole]
        try:
            for case, future in zip(whole, futures, strict=True):
                outcome = future.result()
                key = key_of(judge, case, scorer)
                if isinstance(outcome, str) and key not in file.replies:
                    file.add(key, case, judge, outcome)
                yield case, outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _agrees(reply: str | None, verdict: bool) -> bool:
    judgement = None if reply is None else read_judgement(reply, matches=True)
    return judgement is not None and judgement.match is verdict
