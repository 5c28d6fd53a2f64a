"""Two runs over the same questions: which is better, by how much, and whether that can be told at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from st_llm_cli.bench.sample import Prediction, Verdict
from st_llm_cli.bench.scoring import judge_reply
from st_llm_cli.bench.statistics import (
    clustered_bootstrap,
    holm,
    mcnemar,
    paired_permutation,
    paired_t,
    wilson,
)
from st_llm_cli.errors import DataError

TOLD_APART = 0.05
"""Largest p-value at which two runs are said to differ."""


@dataclass(frozen=True)
class TaskDifference:
    """How two runs differ on one task."""

    n: int
    difference: float
    """Second minus first, in shares."""
    p_value: float
    """Corrected for the number of tasks (Holm)."""


@dataclass(frozen=True)
class RunComparison:
    """How a second run differs from a first one."""

    scorer: str
    n: int
    """Questions both were asked."""
    only_first: int
    """Questions only the first was asked; left out."""
    only_second: int
    first: float
    """Share the first answered correctly."""
    second: float
    difference: float
    """Second minus first."""
    error: float
    """Standard error of the difference, clustered by clip."""
    low: float
    """Lower end of the difference's 95 % interval."""
    high: float
    p_value: float
    """From exchanging the runs clip by clip."""
    mcnemar_p_value: float
    """From the questions they differ on, each taken as independent of the others."""
    t_p_value: float | None
    """Of Student's paired t-test, as lmms-eval reports it; independent too. None for a single question."""
    tasks: Mapping[str, TaskDifference]
    won: tuple[str, ...]
    """Ids only the second answered correctly."""
    lost: tuple[str, ...]
    """Ids only the first answered correctly."""
    disagreed: Mapping[str, tuple[str | None, str | None]]
    """Answers as the scorer read them, by id, where the two differ; right or wrong plays no part."""

    @property
    def agreement(self) -> float:
        """Share of questions to which both gave the same answer; two that cannot be read are the same."""
        return 1 - len(self.disagreed) / self.n

    @property
    def differs(self) -> bool:
        """Whether the runs can be told apart."""
        return self.p_value <= TOLD_APART


def compare_runs(
    first: Sequence[Prediction], second: Sequence[Prediction], scorer: str = "strict"
) -> RunComparison:
    """Compare two runs on the questions both were asked.

    Raises:
        DataError: If they have none in common, or the same id stands for different questions.
    """
    earlier, later = _verdicts(first, scorer), _verdicts(second, scorer)
    shared = [id for id in earlier if id in later]
    if not shared:
        what = f"the runs have no question in common that '{scorer}' can score"
        raise DataError(what, fix="compare runs of the same benchmark")
    samples = {each.sample.id: each.sample for each in first}
    others = {each.sample.id: each.sample for each in second}
    for id in shared:
        if (samples[id].prompt, samples[id].answer) != (others[id].prompt, others[id].answer):
            raise DataError(f"'{id}' is another question in each run", fix="compare runs of the same files")
    a, b = [earlier[id].correct for id in shared], [later[id].correct for id in shared]
    clusters, tasks = [samples[id].cluster for id in shared], [samples[id].task for id in shared]
    gains = [float(y) - float(x) for x, y in zip(a, b, strict=True)]
    tested = paired_permutation(list(map(float, a)), list(map(float, b)), clusters)
    low, high = _interval(gains, clusters)
    return RunComparison(
        scorer,
        len(shared),
        len(earlier) - len(shared),
        len(later) - len(shared),
        sum(a) / len(a),
        sum(b) / len(b),
        tested.difference,
        tested.error,
        low,
        high,
        tested.p_value,
        mcnemar(a, b),
        paired_t(list(map(float, a)), list(map(float, b))).p_value if len(a) > 1 else None,
        _by_task(a, b, clusters, tasks),
        tuple(id for id, x, y in zip(shared, a, b, strict=True) if y and not x),
        tuple(id for id, x, y in zip(shared, a, b, strict=True) if x and not y),
        {
            id: (earlier[id].answer, later[id].answer)
            for id in shared
            if earlier[id].answer != later[id].answer
        },
    )


def _interval(gains: Sequence[float], clusters: Sequence[str]) -> tuple[float, float]:
    """Where the true difference lies: by drawing clips; where all are alike, as far as their number says.

    Of n clips none departed from the others, so up to Wilson's upper end for 0 of n may in truth.
    """
    drawn = clustered_bootstrap(gains, clusters)
    if drawn is None:
        return -1.0, 1.0
    if drawn.low < drawn.high:
        return drawn.low, drawn.high
    unseen = wilson(0, len(set(clusters))).high
    return max(-1.0, drawn.low - unseen), min(1.0, drawn.high + unseen)


def in_words(compared: RunComparison) -> str:
    """Say which is better, as far as that can be told."""
    points = f"{100 * abs(compared.difference):.1f} ± {100 * compared.error:.1f} points"
    if not compared.differs:
        return f"not distinguishable ({points}, p = {compared.p_value:.3g})"
    return f"{'better' if compared.difference > 0 else 'worse'} by {points}, p = {compared.p_value:.3g}"


def _verdicts(predictions: Sequence[Prediction], scorer: str) -> dict[str, Verdict]:
    judged = ((each.sample.id, judge_reply(each, scorer)) for each in predictions)
    return {id: verdict for id, verdict in judged if verdict is not None}


def _by_task(
    first: Sequence[bool], second: Sequence[bool], clusters: Sequence[str], tasks: Sequence[str]
) -> dict[str, TaskDifference]:
    tested = {}
    for task in dict.fromkeys(tasks):
        rows = [place for place, own in enumerate(tasks) if own == task]
        before, after = ([float(run[place]) for place in rows] for run in (first, second))
        tested[task] = (len(rows), paired_permutation(before, after, [clusters[place] for place in rows]))
    corrected = holm([each.p_value for _, each in tested.values()])
    return {
        task: TaskDifference(n, each.difference, p_value)
        for (task, (n, each)), p_value in zip(tested.items(), corrected, strict=True)
    }
