"""What a score owes to time: a run against the same questions asked with time taken away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from st_llm_cli.bench.compare import RunComparison, compare_runs
from st_llm_cli.bench.sample import Prediction


@dataclass(frozen=True)
class Gain:
    """What a score owes to time."""

    scores: Mapping[str, float]
    """Share of right answers under each control."""
    against: Mapping[str, RunComparison]
    """The run against each control."""
    best: str
    """The control under which most is left."""
    against_best: RunComparison
    """The run against that control: its difference is the temporal gain."""


def gain_of(
    full: Sequence[Prediction], controls: Mapping[str, Sequence[Prediction]], scorer: str = "strict"
) -> Gain:
    """Compare a run with the best of its controls.

    Args:
        full: Predictions of the run.
        controls: Predictions of each control, at least one.
        scorer: Key of `SCORERS`.

    Raises:
        DataError: If there is nothing the scorer can score.
    """
    compared = {name: compare_runs(own, full, scorer) for name, own in controls.items()}
    best = max(compared, key=lambda name: compared[name].first)
    return Gain({name: each.first for name, each in compared.items()}, compared, best, compared[best])
