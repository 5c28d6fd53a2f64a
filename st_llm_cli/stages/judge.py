"""Have a judge read the written answers of a run; every reply is kept, so that none is paid for twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from st_llm_cli.bench.judge import ATTEMPTS, Judge, NoReplyError, ask_until
from st_llm_cli.bench.judge_text import CALIBRATION, CRITERIA, VERSION, Case, messages_of
from st_llm_cli.bench.judged import (
    Judged,
    Opinion,
    case_id,
    cases_of,
    is_usable,
    judgement_of,
    not_asked_of,
    score_criterion,
)
from st_llm_cli.bench.sample import Prediction, Sample
from st_llm_cli.errors import UsageError
from st_llm_cli.stages.judge_replies import ReplyFile, key_of

VCG_CRITERIA = ("correctness", "detail", "context", "temporal", "consistency")
CHARACTERS_PER_TOKEN = 4
"""About; only for the estimate."""
TOKENS_OF_A_REPLY = 20
"""About what the form asked for takes; only for the estimate."""
EXPECTED_CHARACTERS = {"short answer": 30, "long answer": 400, "description": 400}
"""About how long answers are that are not written yet; only for the estimate."""


@dataclass(frozen=True)
class Price:
    """What a judge costs, in any currency."""

    per_million_read: float
    per_million_written: float


@dataclass(frozen=True)
class Estimate:
    """What judging a run will take, about."""

    calls: int
    """Questions to the judge that are not answered yet, the calibration among them."""
    read_tokens: int
    """Tokens the judge is given."""
    written_tokens: int
    """Tokens it writes."""

    def cost(self, price: Price) -> float:
        """Give the price of it, in the price's currency."""
        read = self.read_tokens * price.per_million_read
        return (read + self.written_tokens * price.per_million_written) / 1e6


def greet(judge: Judge) -> str:
    """Ask a judge one question of known answer, and give its reply.

    Raises:
        UsageError: If it does not reply.
    """
    try:
        return ask_until(judge, messages_of(CALIBRATION[0][0]), lambda reply: True, attempts=2)
    except NoReplyError as error:
        what, fix = f"does not reply: {error.why}", "check that it runs, and the address"
        raise UsageError(what, where="judge_url", fix=fix) from error


def estimate(predictions: Sequence[Prediction], judge: str, folder: Path, scorer: str) -> Estimate:
    """Say what judging will take before it begins."""
    file = ReplyFile(folder)
    return _estimate(_unanswered(cases_of(predictions), file, judge, scorer))


def expect(samples: Sequence[Sample]) -> Estimate:
    """Say what judging will take before the answers are written, from how long such answers usually are."""
    written = [sample for sample in samples if sample.kind in EXPECTED_CHARACTERS]
    return _estimate(cases_of([Prediction(own, "x" * EXPECTED_CHARACTERS[own.kind]) for own in written]))


def _estimate(cases: Sequence[Case]) -> Estimate:
    asked = [*(case for case, _ in _calibration()), *cases] if cases else []
    characters = sum(len(message["content"]) for case in asked for message in messages_of(case))
    return Estimate(len(asked), characters // CHARACTERS_PER_TOKEN, len(asked) * TOKENS_OF_A_REPLY)


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

    Replies that are kept are not asked for again. Whenever the judge is asked anything, it is also asked the
    cases of known verdict, so that a judge that has changed since is seen.

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
    cases, not_asked = cases_of(predictions), not_asked_of(predictions)
    if not cases and not not_asked:
        return None
    file = ReplyFile(folder)
    known = [case for case, _ in _calibration()]
    waiting = _unanswered(cases, file, judge.name, scorer)
    asked = [*known, *waiting] if waiting or _unanswered(known, file, judge.name, scorer) else []
    options: dict[str, Any] = {"attempts": attempts, **({} if sleep is None else {"sleep": sleep})}
    failures: dict[str, str] = {}
    for case, outcome in _ask(asked, judge, scorer, workers, options):
        if isinstance(outcome, NoReplyError):
            failures[key_of(judge.name, case)] = outcome.why
        else:
            file.add(judge.name, case, outcome)
        step(case.id)
    failed = {
        f"{case.criterion} of {case.id}": failures[key]
        for case in (*known, *cases)
        if (key := key_of(judge.name, case)) in failures
    }
    criteria = {}
    for name in CRITERIA:
        own = [(case, file.first(judge.name, case, scorer)) for case in cases if case.criterion == name]
        if own or name in not_asked:
            criteria[name] = score_criterion(name, own, not_asked.get(name, ()))
    now, first = (_agreement(judge.name, get, scorer) for get in (file.last, file.first))
    return Judged(
        judge.name, VERSION, scorer, criteria, _mean(criteria), failed, now, first if first != now else None
    )


def opinions_of(
    predictions: Sequence[Prediction], folder: Path, judge: str, scorer: str
) -> dict[str, list[Opinion]]:
    """Give what a judge said of each answer, by the id of its question, from the replies that are kept.

    Raises:
        DataError: If the kept replies are damaged.
    """
    file = ReplyFile(folder)
    by_case: dict[str, list[Opinion]] = {}
    for case in cases_of(predictions):
        reply = file.first(judge, case, scorer)
        judgement = None if reply is None else judgement_of(reply, case)
        if reply is not None and judgement is not None:
            by_case.setdefault(case.id, []).append(Opinion(case.criterion, reply, judgement))
    ids = {each.sample.id: case_id(each.sample) for each in predictions}
    return {id: by_case[own] for id, own in ids.items() if own in by_case}


def _unanswered(cases: Sequence[Case], file: ReplyFile, judge: str, scorer: str) -> list[Case]:
    """Give the cases that no kept reply serves, those that say the same once."""
    waiting = {key_of(judge, case): case for case in cases if file.first(judge, case, scorer) is None}
    return list(waiting.values())


def _mean(criteria: dict[str, Any]) -> float | None:
    """Give the mean of the five dimensions of VideoChatGPT-Bench; None where one is not judged."""
    scores = [criteria[name].score for name in VCG_CRITERIA if name in criteria]
    whole = len(scores) == len(VCG_CRITERIA) and None not in scores
    return sum(scores) / len(scores) if whole else None


def _calibration() -> list[tuple[Case, bool]]:
    """Give the cases of known verdict, under ids that no question of a benchmark has."""
    return [(replace(case, id=f"calibration: {case.id}"), verdict) for case, verdict in CALIBRATION]


def _agreement(judge: str, get: Callable[[str, Case, str], str | None], scorer: str) -> str:
    """Say on how many cases of known verdict a judge agrees, by replies that are kept."""
    agreed = 0
    for case, verdict in _calibration():
        reply = get(judge, case, scorer)
        judgement = None if reply is None else judgement_of(reply, case)
        agreed += judgement is not None and judgement.match is verdict
    return f"{agreed} of {len(CALIBRATION)}"


def _ask(
    cases: Sequence[Case], judge: Judge, scorer: str, workers: int, options: dict[str, Any]
) -> Iterator[tuple[Case, str | NoReplyError]]:
    """Ask about each case, several at a time."""

    def reply_to(case: Case) -> str | NoReplyError:
        def accept(reply: str) -> bool:
            return is_usable(reply, case, scorer)

        try:
            return ask_until(judge, messages_of(case), accept, **options)
        except NoReplyError as error:
            return error

    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(reply_to, case) for case in cases]
        try:
            for case, future in zip(cases, futures, strict=True):
                yield case, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
