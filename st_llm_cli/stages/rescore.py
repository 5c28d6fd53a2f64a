"""Score the predictions of a run again, without its data and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from st_llm_cli.bench.report import Ceiling, Coverage, Report, score_again
from st_llm_cli.bench.sample import Prediction
from st_llm_cli.errors import DataError
from st_llm_cli.json_text import parse_json
from st_llm_cli.stages.prediction_file import NAME, read_predictions

SCORES_NAME = "scores.json"


@dataclass(frozen=True)
class Rescored:
    """A run that was scored again."""

    report: Report
    predictions: list[Prediction]
    """In the order of the file."""
    folder: Path


def rescore(run: Path) -> Rescored:
    """Score a run again.

    Args:
        run: A run's folder, or a file of predictions. What the numbers cover is in the folder's own scores;
            of a lone file only the number of its questions is known, and the label says so.

    Raises:
        DataError: If there are no predictions, or a file of the run is damaged.
    """
    folder, path = (run, run / NAME) if run.is_dir() else (run.parent, run)
    predictions = read_predictions(path)
    if not predictions:
        raise DataError("holds no predictions", where=str(path), fix="give a run that has begun")
    tasks = tuple(dict.fromkeys(each.sample.task for each in predictions))
    if not run.is_dir() or not (run / SCORES_NAME).exists():
        return Rescored(
            score_again(path.stem, predictions, _unknown(predictions), tasks), predictions, folder
        )
    name, coverage, order, ceilings = _earlier(run / SCORES_NAME)
    report = score_again(name, predictions, coverage, order or tasks)
    return Rescored(replace(report, ceilings=ceilings), predictions, folder)


def _unknown(predictions: Sequence[Prediction]) -> Coverage:
    """Say of a lone file what is known: how many questions it is about."""
    n = len(predictions)
    not_decoded = {each.sample.id: each.error for each in predictions if each.error}
    label = f"{n} questions; how many there should be is not known"
    return Coverage(None, n, n, n, not_decoded, {}, {}, (), label)


def _earlier(path: Path) -> tuple[str, Coverage, tuple[str, ...], dict[str, Ceiling]]:
    """Read from the scores of a run its benchmark, what they cover, the tasks in order, their ceilings."""
    try:
        scores: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        known = scores["coverage"]
        coverage = Coverage(**{**known, "absent": tuple(known["absent"])})
        order = next((tuple(own["tasks"]) for own in scores["scorers"].values()), ())
        ceilings = {task: Ceiling(**own) for task, own in scores.get("ceilings", {}).items()}
        return str(scores["benchmark"]), coverage, order, ceilings
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "run the same stllm eval again, which writes it anew"
        raise DataError(f"cannot be used: {error!r}", where=str(path), fix=fix) from error
