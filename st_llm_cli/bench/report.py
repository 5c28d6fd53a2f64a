"""From predictions to numbers: per task, micro and macro, with intervals, and what they cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.other_readers import readings_of
from st_llm_cli.bench.parsing import DEGENERATE, EMPTY, SEVERAL, UNPARSED, void_reason
from st_llm_cli.bench.sample import Prediction, Sample, Verdict
from st_llm_cli.bench.scoring import SCORERS, answer_words, judge_reply, token_f1
from st_llm_cli.bench.statistics import Interval, clustered_bootstrap, wilson
from st_llm_cli.errors import PartOutsideError

Judged = tuple[Prediction, Verdict]
WRITTEN_KINDS = ("short answer", "long answer")
NAMED_AT_MOST = 5
OUTSIDE = f"{PartOutsideError.__name__}: "
"""How the error of a question begins whose clip ends before the part that it is about."""


@dataclass(frozen=True)
class Rate:
    """A share of questions, with how far it can be trusted."""

    value: float
    """0 to 1."""
    n: int
    """Questions (of a macro average: tasks) it is a share of."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    interval: str
    """Name of the rule the interval comes from."""


@dataclass(frozen=True)
class Scored:
    """What one scorer makes of a run."""

    scorer: str
    micro: Rate
    """Right answers of all questions asked."""
    macro: Rate
    """Mean of the tasks' shares."""
    tasks: dict[str, Rate]
    """Share of right answers in each task."""
    groups: dict[str, Rate]
    """Share of pairs answered correctly as a whole, by the way of asking; empty without pairs."""
    rules: dict[str, int]
    """How many replies each rule decided."""
    unparsed: int
    """Replies that name no option, or several; wrong."""
    empty: int
    """Replies without any text, or without a letter or digit."""
    void_but_right: int
    """Verdicts `right` on such replies: a defect of the released rule."""


@dataclass(frozen=True)
class Coverage:
    """Which questions the numbers are about."""

    size: int | None
    """Questions of the whole benchmark; None where it has no fixed number."""
    found: int
    """Questions in its files."""
    selected: int
    """Questions chosen to be asked, all of them unless the run was limited."""
    scored: int
    """Questions with a verdict; those whose clip could not be shown are among them, as wrong."""
    not_decoded: dict[str, str]
    """Questions whose clip, or the part they are about, could not be shown, and why."""
    missing: dict[str, int]
    """Questions without their clips, by task; not asked and not scored."""
    problems: dict[str, str]
    """Questions that cannot be scored as they stand in the file, and why."""
    absent: tuple[str, ...]
    """Tasks whose questions are not there."""
    label: str
    """All of this in one line."""


@dataclass(frozen=True)
class Ceiling:
    """Best shares of right answers that are possible without knowing the order of frames, 0 to 1."""

    order_blind: float
    """From all frames, in no order."""
    single_frame: float
    """From the middle frame alone, at most."""


@dataclass(frozen=True)
class Report:
    """The numbers of one run."""

    benchmark: str
    coverage: Coverage
    scorers: dict[str, Scored]
    """By name of the scorer; only those that can read this benchmark's replies."""
    judge_free: dict[str, float]
    """Of written answers: mean F1 of words, share that is the reference, share that holds it; 0 to 1."""
    judge_free_tasks: dict[str, dict[str, float]]
    """The same for each type of question, where there are several."""
    readings: dict[str, float]
    """Share of written multiple-choice replies that other programs' rules would call right."""
    needs_judge: int
    """Predictions that only a judge can score."""
    ceilings: dict[str, Ceiling] = field(default_factory=dict)
    """Of each task, where the data tell it; of others empty."""

    @property
    def ceiling(self) -> Ceiling | None:
        """Over all questions; None where it is not known of every task."""
        tasks = next((own.tasks for own in self.scorers.values()), {})
        if not tasks or any(task not in self.ceilings for task in tasks):
            return None
        total = sum(rate.n for rate in tasks.values())
        known = [(self.ceilings[task], rate.n / total) for task, rate in tasks.items()]
        return Ceiling(
            sum(own.order_blind * share for own, share in known),
            sum(own.single_frame * share for own, share in known),
        )

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return asdict(self)


def report_of(
    benchmark: str, loaded: Loaded, selected: Sequence[Sample], predictions: Sequence[Prediction]
) -> Report:
    """Score the predictions of one run.

    Args:
        benchmark: Its name.
        loaded: All of its questions that were found.
        selected: Those that the run is about.
        predictions: One for each of them that could be asked; more must not be there.
    """
    order = loaded.tasks or tuple(dict.fromkeys(sample.task for sample in loaded.samples))
    coverage = coverage_of(loaded, selected, predictions)
    return score_again(benchmark, predictions, coverage, order)


def score_again(
    benchmark: str, predictions: Sequence[Prediction], coverage: Coverage, order: Sequence[str]
) -> Report:
    """Score predictions of which it is known what they cover.

    Args:
        benchmark: Its name.
        predictions: In any order; the numbers do not depend on it.
        coverage: What they cover.
        order: Names of the tasks, in the order to show them.
    """
    rows = sorted(predictions, key=lambda each: each.sample.id)
    scorers = {}
    for name in SCORERS:
        judged = [(each, verdict) for each in rows if (verdict := judge_reply(each, name)) is not None]
        if judged:
            scorers[name] = _scored(name, judged, order)
    written = [each for each in rows if each.sample.kind in WRITTEN_KINDS]
    by_task = {task: [each for each in written if each.sample.task == task] for task in order}
    several = {task: _judge_free(own) for task, own in by_task.items() if own}
    tasks = several if len(several) > 1 else {}
    return Report(
        benchmark, coverage, scorers, _judge_free(written), tasks, readings_of(rows), _unscored(rows)
    )


def _unscored(predictions: Sequence[Prediction]) -> int:
    readable = {kind for rules in SCORERS.values() for kind in rules}
    return sum(each.sample.kind not in readable for each in predictions)


def coverage_of(loaded: Loaded, selected: Sequence[Sample], predictions: Sequence[Prediction]) -> Coverage:
    """Say which questions the numbers are about."""
    problems = {sample.id: sample.problem for sample in selected if sample.problem}
    missing = Counter(sample.task for sample in selected if sample.missing and not sample.problem)
    not_decoded = {each.sample.id: each.error for each in predictions if each.error}
    whole = loaded.size if loaded.size is not None else len(loaded.samples)
    parts = [f"{len(predictions)} of {whole} questions"]
    if len(selected) < len(loaded.samples):
        parts.append(f"limited to {len(selected)}")
    parts += [f"{task}: {count} without clip" for task, count in missing.items()][:NAMED_AT_MOST]
    if len(missing) > NAMED_AT_MOST:
        parts.append(f"{len(missing) - NAMED_AT_MOST} more tasks with missing clips")
    if problems:
        parts.append(f"{len(problems)} unusable")
    outside = sum(error.startswith(OUTSIDE) for error in not_decoded.values())
    if outside:
        parts.append(f"{outside} about a part after the end of the clip, counted as wrong")
    if len(not_decoded) > outside:
        parts.append(f"{len(not_decoded) - outside} not decodable, counted as wrong")
    if loaded.absent:
        more = len(loaded.absent) - NAMED_AT_MOST
        named = ", ".join(loaded.absent[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        parts.append(f"no questions of {named}")
    return Coverage(
        loaded.size,
        len(loaded.samples),
        len(selected),
        len(predictions) - _unscored(predictions),
        not_decoded,
        dict(missing),
        problems,
        loaded.absent,
        "; ".join(parts),
    )


def _scored(scorer: str, judged: Sequence[Judged], order: Sequence[str]) -> Scored:
    values = [float(verdict.correct) for _, verdict in judged]
    clusters = [each.sample.cluster for each, _ in judged]
    tasks = [each.sample.task for each, _ in judged]
    rates = {task: _task_rate(judged, task) for task in _in_order(tasks, order)}
    macro = sum(rate.value for rate in rates.values()) / len(rates)
    void = [(each, verdict) for each, verdict in judged if each.reply is not None and void_reason(each.reply)]
    rules = Counter(verdict.rule for _, verdict in judged)
    micro_interval = clustered_bootstrap(values, clusters)
    macro_interval = clustered_bootstrap(values, clusters, tasks)
    return Scored(
        scorer,
        _rate(values, micro_interval),
        _with_interval(macro, len(rates), _interval(macro_interval, macro, len(values))),
        rates,
        _group_rates(judged),
        dict(rules.most_common()),
        sum(rules[name] for name in (UNPARSED, SEVERAL, EMPTY, DEGENERATE)),
        len(void),
        sum(verdict.correct for _, verdict in void),
    )


def rate_of(predictions: Sequence[Prediction], scorer: str) -> Rate:
    """Give the share of right answers, its interval clustered by clip.

    Raises:
        ValueError: If there is nothing the scorer can score.
    """
    verdicts = [(each, judge_reply(each, scorer)) for each in predictions]
    judged = [(each, verdict) for each, verdict in verdicts if verdict is not None]
    if not judged:
        raise ValueError(f"'{scorer}' can score none of {len(predictions)} predictions")
    values = [float(verdict.correct) for _, verdict in judged]
    return _rate(values, clustered_bootstrap(values, [each.sample.cluster for each, _ in judged]))


def _task_rate(judged: Sequence[Judged], task: str) -> Rate:
    return _rate([float(verdict.correct) for each, verdict in judged if each.sample.task == task])


def _rate(values: Sequence[float], interval: Interval | None = None) -> Rate:
    share = sum(values) / len(values)
    return _with_interval(share, len(values), _interval(interval, share, len(values)))


def _interval(drawn: Interval | None, share: float, n: int) -> Interval:
    """Give Wilson's interval instead of one from drawing values all alike, which would know no doubt."""
    return wilson(round(share * n), n) if drawn is None or drawn.low == drawn.high else drawn


def _with_interval(value: float, n: int, interval: Interval) -> Rate:
    return Rate(value, n, interval.low, interval.high, interval.method)


def _in_order(tasks: Iterable[str], order: Sequence[str]) -> list[str]:
    """Give the tasks in the order of the published tables, others behind them as they come."""
    present = list(dict.fromkeys(tasks))
    return [task for task in order if task in present] + [task for task in present if task not in order]


def _group_rates(judged: Sequence[Judged]) -> dict[str, Rate]:
    """Score pairs of questions, right only together: each way of asking, and all ways at once."""
    pairs: dict[str, dict[str, list[bool]]] = {}
    for each, verdict in judged:
        if each.sample.kind == "pair" and each.sample.group is not None:
            sides = pairs.setdefault(each.sample.task, {})
            sides.setdefault(each.sample.group, []).append(verdict.correct)
    rates = {}
    for task, groups in pairs.items():
        whole = [float(all(answers)) for answers in groups.values() if len(answers) == PAIR_SIZE]
        if whole:
            rates[task] = _rate(whole)
    shared = set.intersection(*(set(groups) for groups in pairs.values())) if len(pairs) > 1 else set()
    if shared:
        together = [[answer for groups in pairs.values() for answer in groups[group]] for group in shared]
        whole = [float(all(answers)) for answers in together if len(answers) == PAIR_SIZE * len(pairs)]
        if whole:
            rates["group"] = _rate(whole)
    return rates


def _judge_free(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Compare written answers with their references word by word."""
    if not predictions:
        return {}
    pairs = [(each.reply or "", each.sample.answer) for each in predictions]
    same = [answer_words(said) == answer_words(right) for said, right in pairs]
    holds = [f" {answer_words(right)} " in f" {answer_words(said)} " for said, right in pairs]
    return {
        "token F1": sum(token_f1(said, right) for said, right in pairs) / len(pairs),
        "same words": sum(same) / len(pairs),
        "holds the reference": sum(holds) / len(pairs),
    }


PAIR_SIZE = 2
"""Questions of a pair asked in one way: one for each of its two clips or captions."""
