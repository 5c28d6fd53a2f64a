"""Contenders that take turns, so that whatever else the machine does meets them alike: only ratios count."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median


def take_turns(
    rounds: int, contenders: dict[str, Callable[[int], object]], *, unit: str = "ms"
) -> dict[str, float]:
    """Print the median times of contenders, and their ratios to the first.

    Args:
        rounds: How often each is timed, after one round that warms up.
        contenders: Each called with the number of its round.
        unit: `ms` or `s`.

    Returns:
        Median seconds of each.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            work(number)
            times[name].append(time.perf_counter() - started)
    medians = {name: median(taken[1:]) for name, taken in times.items()}
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        sys.stdout.write(f"{name:44} {seconds * UNITS[unit]:8.3f} {unit:2}  {seconds / first:5.2f}\n")
        sys.stdout.flush()
    return medians


UNITS = {"ms": 1000.0, "s": 1.0}
