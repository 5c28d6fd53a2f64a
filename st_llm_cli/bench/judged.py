"""From predictions to cases for a judge, and from what the judge said to numbers with bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from st_llm_cli.bench.judge_reply import (
    BEST,
    Judgement,
    ReleasedCrashError,
    read_judgement,
    read_option,
    released_accepts,
    released_judgement,
    released_totals,
)
from st_llm_cli.bench.judge_text import CRITERIA, CRITERIA_OF_TASKS, Case
from st_llm_cli.bench.sample import Prediction, Sample
from st_llm_cli.bench.tempcompass import lettered_lines

PAIR = 2
SHORT, LONG, DESCRIPTION = "short answer", "long answer", "description"


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
    tasks: Mapping[str, float] = field(default_factory=dict)
    """Of each task the accuracy, or the mean score where there is none; of those judged."""


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
    calibration_first: str | None = None
    """On how many it agreed when this run was first judged; None where that is the same."""

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Opinion:
    """What a judge said of one answer, by one criterion."""

    criterion: str
    reply: str
    """As it came."""
    judgement: Judgement
    """What it was taken to say."""


def cases_of(predictions: Sequence[Prediction]) -> list[Case]:
    """Give what a judge is to be asked about a run; questions that were never asked are no cases."""
    cases = []
    pairs: dict[str, list[Prediction]] = {}
    for each in predictions:
        sample = each.sample
        if each.reply is None:
            continue
        if sample.kind == LONG and sample.task == "consistency":
            pairs.setdefault(sample.group or sample.id, []).append(each)
            continue
        question = sample.check or sample.question
        for criterion in criteria_of(sample):
            case = Case(sample.id, criterion, (question,), sample.answer, (each.reply,), sample.task)
            cases.append(case)
    for group, pair in pairs.items():
        if len(pair) == PAIR:
            questions = tuple(each.sample.question for each in pair)
            answers = tuple(each.reply or "" for each in pair)
            first = pair[0].sample
            cases.append(Case(group, "consistency", questions, first.answer, answers, first.task))
    return cases


def criteria_of(sample: Sample) -> tuple[str, ...]:
    """Name what the answer to a question is judged by; nothing where no judge is needed."""
    if sample.kind == SHORT:
        return ("match",)
    if sample.kind == DESCRIPTION and sample.check is not None:
        return ("caption",)
    return CRITERIA_OF_TASKS.get(sample.task, ()) if sample.kind == LONG else ()


def case_id(sample: Sample) -> str:
    """Name the case an answer belongs to: its own, or that of its pair."""
    return (sample.group or sample.id) if sample.kind == LONG and sample.task == "consistency" else sample.id


def not_asked_of(predictions: Sequence[Prediction]) -> dict[str, list[str]]:
    """Give, for each criterion, the tasks of questions that could not be asked: known to be worth nothing."""
    tasks: dict[str, list[str]] = {}
    lost = {case_id(each.sample): each.sample for each in predictions if each.reply is None}
    for sample in lost.values():
        for criterion in criteria_of(sample):
            tasks.setdefault(criterion, []).append(sample.task)
    return tasks


def judgement_of(reply: str, case: Case) -> Judgement | None:
    """Read a judge's reply about a case; None if it does not say enough."""
    criterion = CRITERIA[case.criterion]
    if not criterion.chooses:
        return read_judgement(reply, criterion.matches)
    letters = "".join(line[0] for line in lettered_lines(case.questions[0]))
    chosen = read_option(reply, letters)
    right = chosen == case.reference[:1]
    return None if chosen is None else Judgement(BEST * right, right)


def is_usable(reply: str, case: Case, scorer: str) -> bool:
    """Whether a judge's reply needs no second asking."""
    if scorer == "released" and not CRITERIA[case.criterion].chooses:
        return released_accepts(reply)
    return judgement_of(reply, case) is not None


def score_criterion(
    criterion: str, judged: Sequence[tuple[Case, str | None]], not_asked: Sequence[str] = ()
) -> CriterionScore:
    """Score the answers judged by one criterion.

    Args:
        criterion: Key of `CRITERIA`.
        judged: The judge's reply on each answer; None where none could be used.
        not_asked: Tasks of further questions, which could not be asked; worth nothing.

    Raises:
        ValueError: If there is no answer at all.
    """
    total = len(judged) + len(not_asked)
    if not total:
        raise ValueError(f"no answers to judge by {criterion}")
    known = [(task, Judgement(0.0, False)) for task in not_asked]
    for case, reply in judged:
        judgement = None if reply is None else judgement_of(reply, case)
        if judgement is not None:
            known.append((case.task, judgement))
    matches = CRITERIA[criterion].matches or CRITERIA[criterion].chooses
    open_, points = total - len(known), sum(each.score for _, each in known)
    right = sum(each.match is True for _, each in known)
    replies = [reply for _, reply in judged]
    released = None if not_asked or CRITERIA[criterion].chooses else _released(replies, matches)
    return CriterionScore(
        points / len(known) if known else None,
        len(known),
        total,
        points / total,
        (points + BEST * open_) / total,
        right / len(known) if known and matches else None,
        right / total if matches else None,
        (right + open_) / total if matches else None,
        released,
        _by_task(known, matches),
    )


def _by_task(known: Sequence[tuple[str, Judgement]], matches: bool) -> dict[str, float]:
    """Give the accuracy or the mean score of each task, where there are several."""
    values: dict[str, list[float]] = {}
    for task, judgement in known:
        values.setdefault(task, []).append(float(judgement.match is True) if matches else judgement.score)
    return {task: sum(own) / len(own) for task, own in values.items()} if len(values) > 1 else {}


def _released(replies: Sequence[str | None], matches: bool) -> Mapping[str, float] | None:
    if not all(reply is not None and released_accepts(reply) for reply in replies):
        return None
    try:
        judgements = [released_judgement(reply, matches) for reply in replies if reply is not None]
        return released_totals(judgements, matches)
    except ReleasedCrashError:
        return None
