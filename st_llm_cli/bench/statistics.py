"""How far a score can be trusted, and whether two differ. Questions about the same footage stay together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 2000
EXACT_UP_TO = 12
"""Clusters up to which all sign flips are tried, 4096 of them, instead of a sample."""
FLIPS = 10_000
_BLOCK = 200


@dataclass(frozen=True)
class Interval:
    """Where the true value lies, at 95 % unless asked otherwise."""

    low: float
    high: float
    method: str
    """Name of the rule it comes from."""


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same questions."""

    difference: float
    """Second minus first."""
    error: float
    """Standard error of the difference, clustered."""
    p_value: float
    """Chance of a difference at least this large if the two were equally good."""


def wilson(correct: int, n: int, level: float = 0.95) -> Interval:
    """Interval of a plain rate.

    Args:
        correct: Questions answered correctly.
        n: Questions, at least 1.
        level: Share of such intervals that hold the true rate.
    """
    z = _normal_quantile(0.5 + level / 2)
    rate, spread = correct / n, z * z / n
    middle = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / n + spread / (4 * n))
    # Rounding may leave the end a hair inside of a rate of 0 or 1.
    low, high = max(0.0, min(rate, middle - half)), min(1.0, max(rate, middle + half))
    return Interval(low, high, "Wilson")


def clustered_bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    tasks: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval | None:
    """Interval of a mean, from drawing whole clusters again and again.

    Args:
        values: One per question.
        clusters: Which footage each is about.
        tasks: If given, the mean is that of the tasks' means (macro), else of all values (micro).
        level: Share of such intervals that hold the true value.
        draws: Number of drawings.
        seed: Seed of the drawings.

    Returns:
        The interval; None where there are fewer than two clusters, from which nothing can be learnt.
    """
    import numpy as np

    cluster_of = _places(clusters)
    task_of = _places(tasks if tasks is not None else [0] * len(values))
    num_clusters = max(cluster_of, default=-1) + 1
    if num_clusters < 2:
        return None
    sums = np.zeros((num_clusters, max(task_of) + 1))
    counts = np.zeros_like(sums)
    np.add.at(sums, (cluster_of, task_of), values)
    np.add.at(counts, (cluster_of, task_of), 1.0)
    rng = np.random.default_rng(seed)
    means: list[float] = []
    while len(means) < draws:
        size = min(_BLOCK, draws - len(means))
        weights = rng.multinomial(num_clusters, [1 / num_clusters] * num_clusters, size=size)
        totals, drawn = weights @ counts, weights @ sums  # [size, tasks]
        with np.errstate(invalid="ignore"):
            # A task none of whose clusters was drawn says nothing in that drawing.
            means += np.nanmean(drawn / np.where(totals > 0, totals, np.nan), axis=1).tolist()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), "clustered bootstrap")


def clustered_error(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Standard error of a mean of values that come in clusters; nan for fewer than two values.

    Source: "Adding Error Bars to Evals" (arXiv 2411.00640), equation 4, which lmms-eval follows too.
    """
    import numpy as np

    n = len(values)
    if n < 2:
        return math.nan
    array = np.asarray(values, dtype=np.float64)
    deviations = array - array.mean()
    totals = _sums(deviations, clusters)
    squares = float((deviations**2).sum())
    variance = squares / (n - 1) / n + (float((totals**2).sum()) - squares) / n**2
    return math.sqrt(max(variance, 0.0))


def paired_permutation(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0
) -> Comparison:
    """Compare two runs question by question, by exchanging them cluster by cluster.

    Args:
        first: Values of the first run, one per question.
        second: Values of the second run on the same questions.
        clusters: Which footage each question is about.
        seed: Seed of the exchanges, where there are too many to try all.

    Raises:
        ValueError: If the runs are not over the same questions, or there are none.
    """
    import numpy as np

    if not len(first) == len(second) == len(clusters) or not len(first):
        raise ValueError("a paired test needs two values for each question")
    gains = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    totals = _sums(gains, clusters)
    signs = _all_signs(len(totals)) if len(totals) <= EXACT_UP_TO else None
    seen = abs(totals.sum()) - 1e-9  # sums of the same numbers in another order differ in the last digit
    if signs is not None:
        p_value = float((np.abs(signs @ totals) >= seen).mean())
    else:
        rng = np.random.default_rng(seed)
        hits = 0
        for _ in range(FLIPS // _BLOCK):
            drawn = rng.choice((-1.0, 1.0), size=(_BLOCK, len(totals)))
            hits += int((np.abs(drawn @ totals) >= seen).sum())
        p_value = (hits + 1) / (FLIPS + 1)  # the runs as they are count as one exchange: never exactly 0
    difference = float(gains.mean())
    return Comparison(difference, clustered_error(gains.tolist(), clusters), p_value)


def paired_t(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two runs by Student's paired t-test, every question taken as independent of the others.

    What lmms-eval reports, to hold numbers side by side. It knows nothing of clips: where several questions
    are about one, its p-values are too small.

    Args:
        first: Values of the first run, one per question.
        second: Values of the second run on the same questions.

    Raises:
        ValueError: If there are not two values for each of at least two questions.
    """
    n = len(first)
    if n != len(second) or n < 2:
        raise ValueError("a paired t-test needs two values for each of two questions")
    gains = [b - a for a, b in zip(first, second, strict=True)]
    difference = sum(gains) / n
    error = math.sqrt(sum((gain - difference) ** 2 for gain in gains) / (n - 1) / n)
    if error == 0:
        return Comparison(difference, error, float(difference == 0))
    return Comparison(difference, error, _t_tails(abs(difference) / error, n - 1))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Exact two-sided p-value from the questions on which two runs differ; 1 where they differ on none."""
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differ = only_first + only_second
    tail: int = sum(math.comb(differ, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**differ)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests (Holm), in the order they were given."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _places(labels: Sequence[Hashable]) -> list[int]:
    """Number labels in the order they first occur."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


def _sums(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.bincount(_places(clusters), weights=values), dtype=np.float64)


def _all_signs(count: int) -> NDArray[np.float64]:
    import numpy as np

    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1  # [2**count, count]
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


def _t_tails(t: float, freedom: int) -> float:
    """Chance that Student's t lies outside of -t … t.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 (odd) and 26.7.4 (even), which
    are exact finite sums.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    square, term, total = math.cos(angle) ** 2, 1.0, 0.0
    if freedom % 2 == 0:
        for k in range(1, freedom // 2 + 1):
            total += term
            term *= square * (2 * k - 1) / (2 * k)
        return max(0.0, 1 - math.sin(angle) * total)
    for k in range(1, (freedom - 1) // 2 + 1):
        total += term
        term *= square * (2 * k) / (2 * k + 1)
    inside = 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)
    return max(0.0, 1 - inside)


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
