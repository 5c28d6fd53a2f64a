"""Write what a run came to in the forms people need: a page, a table for spreadsheets, one for papers."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from st_llm_cli import __version__
from st_llm_cli.bench.compare import RunComparison
from st_llm_cli.bench.gain import gain_of
from st_llm_cli.bench.judged import CriterionScore, Judged
from st_llm_cli.bench.page.compare_page import compare_page
from st_llm_cli.bench.page.run_page import run_page
from st_llm_cli.bench.record import RunRecord, Strip
from st_llm_cli.bench.report import Report
from st_llm_cli.bench.sample import Prediction
from st_llm_cli.bench.tables import csv_of, latex_of
from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.json_text import parse_json
from st_llm_cli.stages.judge import opinions_of
from st_llm_cli.stages.prediction_file import NAME, SETTINGS_NAME, read_predictions
from st_llm_cli.stages.run_folder import cannot_write, write_run_file
from st_llm_cli.stages.strips import MOST_CLIPS, read_strips, strips_of
from st_llm_cli.stages.strips import NAME as STRIPS_NAME

PAGE_NAME = "report.html"
FILES = ("scores.json", "scores.csv", "scores.tex", PAGE_NAME)
ENVIRONMENT_NAME = "environment.json"
PACKAGES = ("torch", "transformers", "numpy", "av", "decord")
CONTROL_PREFIX = "control-"


def write_report(
    run: Path,
    report: Report,
    predictions: Sequence[Prediction],
    scorer: str = "strict",
    *,
    output: Path | None = None,
    pictures: int = MOST_CLIPS,
    step: Callable[[str], None] = lambda key: None,
) -> list[Path]:
    """Write `scores.json`, `scores.csv`, `scores.tex` and `report.html` of a run.

    Args:
        run: Its folder: settings, controls, a judge's numbers and pictures are taken from there.
        report: Its numbers.
        predictions: Its answers, in the order to show them.
        scorer: The one to put first.
        output: Where the files go; the run's folder if None.
        pictures: Clips to show frames of, at most.
        step: Called with each clip whose picture is made.

    Returns:
        The files.

    Raises:
        DataError: If a file of the run is damaged, or one cannot be written.
    """
    record = record_of(run, report, predictions, scorer, pictures=pictures, step=step)
    scores = json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
    contents = (scores, csv_of(record), latex_of(record), run_page(record))
    paths = [(output or run) / name for name in FILES]
    for path, content in zip(paths, contents, strict=True):
        write_run_file(path, content)
    return paths


def refuse_other_files(output: Path) -> None:
    """Refuse a folder that holds more than a report, before anything is written to it.

    Raises:
        UsageError: If so.
        DataError: If it cannot be looked into.
    """
    try:
        held = [path.name for path in output.iterdir() if not path.match(".*.part")]
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(output, error) from error
    if not set(held) <= set(FILES):
        what = "holds a run" if SETTINGS_NAME in held else "exists, and holds other files than a report's"
        raise UsageError(what, where=str(output), fix="give a new folder as --output")


def write_comparison(
    path: Path,
    compared: RunComparison,
    runs: tuple[Path, Path],
    predictions: tuple[Sequence[Prediction], Sequence[Prediction]],
) -> None:
    """Write the comparison of two runs as a page, with the pictures kept in either folder.

    Raises:
        DataError: If kept pictures are damaged.
        UsageError: If it cannot be written.
    """
    strips: dict[str, Strip] = {}
    for run in runs:
        if run.is_dir():
            strips |= read_strips(run / STRIPS_NAME)
    page = compare_page(compared, _names(runs), *predictions, strips)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise UsageError(what, where=str(path), fix="choose another file with --html") from error


def _names(runs: tuple[Path, Path]) -> tuple[str, str]:
    """Give the runs short names, as long as they differ."""
    first, second = runs
    return (first.name, second.name) if first.name != second.name else (str(first), str(second))


def record_of(
    run: Path,
    report: Report,
    predictions: Sequence[Prediction],
    scorer: str = "strict",
    *,
    pictures: int = MOST_CLIPS,
    step: Callable[[str], None] = lambda key: None,
) -> RunRecord:
    """Gather what a run's folder tells about it; what is not there is left out of the report."""
    settings = _json(run / SETTINGS_NAME)
    controls = _controls(run, predictions)
    scored = scorer in report.scorers and controls
    kept = _json(run / "judged.json")
    judged = _judged(kept, run / "judged.json") if kept else None
    return RunRecord(
        report,
        predictions,
        scorer,
        settings,
        {str(key): str(value) for key, value in _json(run / ENVIRONMENT_NAME).items()},
        gain_of(predictions, controls, scorer) if scored else None,
        {name: {each.sample.id: each for each in own} for name, own in controls.items()},
        judged,
        str(kept.get("date", "")),
        {} if judged is None else opinions_of(predictions, run, judged.judge, judged.scorer),
        strips_of(predictions, settings, run, scorer=scorer, most_clips=pictures, step=step),
    )


def write_environment(folder: Path, command: str, device: str) -> None:
    """Keep what decides nothing but may explain a difference: the command, versions, the machine."""
    versions = {"stllm": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    facts = {
        "command": command,
        "date": date.today().isoformat(),
        "device": device,
        **versions,
        "machine": platform.machine(),
        "system": platform.platform(),
    }
    write_run_file(folder / ENVIRONMENT_NAME, json.dumps(facts, indent=1) + "\n")


def _controls(run: Path, predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Read the answers under controls; one that is not through with all questions is left out."""
    found = {}
    ids = {each.sample.id for each in predictions}
    for path in sorted(run.glob(f"{CONTROL_PREFIX}*/{NAME}")):
        own = [each for each in read_predictions(path) if each.sample.id in ids]
        if len(own) == len(ids):
            found[path.parent.name.removeprefix(CONTROL_PREFIX)] = own
    return found


def _judged(kept: dict[str, Any], path: Path) -> Judged:
    try:
        own = {key: value for key, value in kept.items() if key != "date"}
        criteria = {name: CriterionScore(**score) for name, score in own["criteria"].items()}
        return Judged(**{**own, "criteria": criteria})
    except (KeyError, TypeError, AttributeError) as error:
        fix = "have the run judged again with stllm rescore"
        raise DataError(f"cannot be used: {error!r}", where=str(path), fix=fix) from error


def _json(path: Path) -> dict[str, Any]:
    """Read a file of the run; empty where there is none."""
    if not path.exists():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), fix="remove it") from error
    if not isinstance(found, dict):
        raise DataError("does not hold an object", where=str(path), fix="remove it")
    return found
