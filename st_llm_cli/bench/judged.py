"""From predictions to cases for a judge, and from what the judge said to numbers with bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from st_llm_cli.bench.judge_reply import (
    BEST,
    Judgement,
    ReleasedCrashError,
    read_judgement,
    released_accepts,
    released_judgement,
    released_totals,
)
from st_llm_cli.bench.judge_text import CRITERIA, CRITERIA_OF_TASKS, Case
from st_llm_cli.bench.sample import Prediction

PAIR = 2
SHORT, LONG = "short answer", "long answer"


@dataclass(frozen=True)
class CriterionScore:
    """What the judge made of all answers by one criterion."""

    score: float | None
    """Mean score of the answers judged, 0 to 5; None if none was."""
    judged: int
    """Answers with a judgement."""
    total: int
    """Answers that should have one."""
    lowest: float
    """Mean score if every answer without a judgement were worth 0."""
    highest: float
    """Mean score if every answer without a judgement were worth 5."""
    accuracy: float | None = None
    """Share of answers that mean the same as the reference; None where that was not asked."""
    lowest_accuracy: float | None = None
    highest_accuracy: float | None = None
    released: Mapping[str, float] | None = None
    """The released scripts' totals of the same replies; None where they would break or go on for ever."""


@dataclass(frozen=True)
class Judged:
    """What a judge made of a run."""

    judge: str
    prompt_version: str
    scorer: str
    criteria: dict[str, CriterionScore]
    mean: float | None
    """Mean of the five dimensions of VideoChatGPT-Bench; None where not all of them were judged."""
    failed: dict[str, str]
    """Cases without a usable reply, and why."""
    calibration: str
    """On how many cases of known verdict the judge agrees, such as `9 of 10`."""

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return asdict(self)


def cases_of(predictions: Sequence[Prediction]) -> list[Case]:
    """Give what a judge is to be asked about a run; questions that were never asked are no cases."""
    cases = []
    pairs: dict[str, list[Prediction]] = {}
    for each in predictions:
        sample = each.sample
        if each.reply is None:
            continue
        if sample.kind == SHORT:
            cases.append(Case(sample.id, "match", (sample.question,), sample.answer, (each.reply,)))
        elif sample.kind == LONG and sample.task == "consistency":
            pairs.setdefault(sample.group or sample.id, []).append(each)
        elif sample.kind == LONG:
            for criterion in CRITERIA_OF_TASKS[sample.task]:
                cases.append(Case(sample.id, criterion, (sample.question,), sample.answer, (each.reply,)))
    for group, pair in pairs.items():
        if len(pair) == PAIR:
            questions = tuple(each.sample.question for each in pair)
            answers = tuple(each.reply or "" for each in pair)
            cases.append(Case(group, "consistency", questions, pair[0].sample.answer, answers))
    return cases


def not_asked_of(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Count, for each criterion, the questions that could not be asked: known to be worth nothing."""
    counts: dict[str, int] = {}
    lost = {(each.sample.group or each.sample.id): each.sample for each in predictions if each.reply is None}
    for sample in lost.values():
        judged_by = {SHORT: ("match",), LONG: CRITERIA_OF_TASKS.get(sample.task, ())}
        for criterion in judged_by.get(sample.kind, ()):
            counts[criterion] = counts.get(criterion, 0) + 1
    return counts


def is_usable(reply: str, case: Case, scorer: str) -> bool:
    """Whether a judge's reply needs no second asking."""
    if scorer == "released":
        return released_accepts(reply)
    return read_judgement(reply, CRITERIA[case.criterion].matches) is not None


def score_criterion(criterion: str, replies: Sequence[str | None], not_asked: int = 0) -> CriterionScore:
    """Score the answers judged by one criterion.

    Args:
        criterion: Key of `CRITERIA`.
        replies: The judge's reply on each answer; None where none could be used.
        not_asked: Further questions that could not be asked; worth nothing.

    Raises:
        ValueError: If there is no answer at all.
    """
    matches = CRITERIA[criterion].matches
    read = [None if reply is None else read_judgement(reply, matches) for reply in replies]
    known = [each for each in read if each is not None] + [Judgement(0.0, False)] * not_asked
    total = len(replies) + not_asked
    if not total:
        raise ValueError(f"no answers to judge by {criterion}")
    open_, points = total - len(known), sum(each.score for each in known)
    right = sum(each.match is True for each in known)
    return CriterionScore(
        points / len(known) if known else None,
        len(known),
        total,
        points / total,
        (points + BEST * open_) / total,
        right / len(known) if known and matches else None,
        right / total if matches else None,
        (right + open_) / total if matches else None,
        _released(replies, matches) if not not_asked else None,
    )


def _released(replies: Sequence[str | None], matches: bool) -> Mapping[str, float] | None:
    if not all(reply is not None and released_accepts(reply) for reply in replies):
        return None
    try:
        judgements = [released_judgement(reply, matches) for reply in replies if reply is not None]
        return released_totals(judgements, matches)
    except ReleasedCrashError:
        return None
