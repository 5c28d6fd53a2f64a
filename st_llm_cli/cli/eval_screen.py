"""What `stllm eval` shows: the table of tasks, what the numbers cover, missing clips, some replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from st_llm_cli.cli.screen import note, progress_of, which_of
from st_llm_cli.errors import UsageError, nearest

if TYPE_CHECKING:
    from st_llm_cli.bench.gain import Gain
    from st_llm_cli.bench.judged import CriterionScore, Judged
    from st_llm_cli.bench.report import Ceiling, Rate, Report
    from st_llm_cli.bench.sample import Media, Prediction, Sample

PicturesOption = Annotated[
    int,
    typer.Option(
        "--pictures",
        metavar="N",
        min=0,
        help="Show frames of so many clips in the report; 0 for a report that may be passed on.",
    ),
]
DEFAULT_PICTURES = 240
SHOWN_MISSING = 20
SHOWN_REPLIES = 5


def check_scorer(name: str) -> None:
    """Refuse a scorer that is not there.

    Raises:
        UsageError: With the name that was probably meant.
    """
    from st_llm_cli.bench.scoring import SCORERS

    if name not in SCORERS:
        raise UsageError(f"unknown scorer '{name}'", where="--scorer", fix=nearest(name, SCORERS))


def report_on(
    run: Path,
    report: Report,
    predictions: Sequence[Prediction],
    scorer: str,
    pictures: int,
    output: Path | None = None,
) -> None:
    """Write the report's files, and show progress while pictures of clips are made."""
    from st_llm_cli.stages.report import write_report
    from st_llm_cli.stages.strips import wanted_strips

    waiting = len(wanted_strips(predictions, run, scorer, pictures))
    with progress_of(waiting, "drawing clips for the report") if waiting else nullcontext() as progress:
        step = progress.step if progress else lambda key: None
        write_report(run, report, predictions, scorer, output=output, pictures=pictures, step=step)


def show_report(report: Report, first: str, judged: Judged | None = None) -> None:
    """Show the numbers of a run on standard output.

    Args:
        report: The numbers.
        first: Name of the scorer to put first.
        judged: What a judge made of it, if one was asked.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if report.scorers:
        console.print(_table(report, first))
    if report.ceiling is not None:
        console.print(
            "no order: best possible from the same frames in no order; from the middle frame alone it is "
            f"{100 * report.ceiling.single_frame:.1f} % of all at most"
        )
    for scored in report.scorers.values():
        void = f"; {scored.void_but_right} empty ones counted as right" if scored.void_but_right else ""
        console.print(f"{scored.scorer}: {scored.unparsed} replies not readable, {scored.empty} empty{void}")
    if report.readings:
        shares = "; ".join(f"{name} {100 * share:.1f} %" for name, share in report.readings.items())
        console.print(f"right as other programs read the same replies: {shares}")
    for name, value in report.judge_free.items():
        console.print(f"{name}: {value:.3f}")
        for task, own in report.judge_free_tasks.items():
            console.print(f"  {task}: {own[name]:.3f}")
    if judged is not None:
        for line in _judged_lines(judged):
            console.print(line)
    elif report.needs_judge:
        console.print(f"{report.needs_judge} replies are for a judge to read and have no verdict here")
    console.print(f"covers {report.coverage.label}")


def _judged_lines(judged: Judged) -> list[str]:
    """Say what a judge made of a run: each number with how many it is of, and bounds if not of all."""
    lines = [
        f"judge {judged.judge}, text {judged.prompt_version}, accepted as {judged.scorer}; "
        f"agrees with {judged.calibration} known verdicts"
    ]
    for name, score in judged.criteria.items():
        if score.score is None:
            lines.append(f"{name}: none of {score.total} judged")
            continue
        line = f"{name}: {_judged_value(name, score)}"
        if score.judged < score.total:
            line += f"; {score.judged} of {score.total} judged, {_judged_bounds(name, score)}"
        if score.released is not None:
            totals = ", ".join(f"{key} {value:.3f}" for key, value in score.released.items())
            line += f"; as released {totals}"
        lines.append(line)
        top, unit = (100, " %") if score.accuracy is not None else (1, " of 5")
        lines += [
            f"  {task}: {top * value:.{1 if top > 1 else 2}f}{unit}" for task, value in score.tasks.items()
        ]
    if judged.mean is not None:
        lines.append(f"mean of the five: {judged.mean:.2f}")
    return lines


def _judged_value(name: str, score: CriterionScore) -> str:
    from st_llm_cli.bench.judge_text import CRITERIA

    assert score.score is not None
    if score.accuracy is None:
        return f"{score.score:.2f} of 5"
    if CRITERIA[name].chooses:
        return f"{100 * score.accuracy:.1f} % let the judge find the right option"
    return f"{score.score:.2f} of 5, {100 * score.accuracy:.1f} % the same as the reference"


def _judged_bounds(name: str, score: CriterionScore) -> str:
    """Say what is left open by answers without a judgement: at worst all of them wrong, at best all right."""
    from st_llm_cli.bench.judge_text import CRITERIA

    parts = [] if CRITERIA[name].chooses else [f"{score.lowest:.2f} to {score.highest:.2f} of 5"]
    if score.lowest_accuracy is not None and score.highest_accuracy is not None:
        parts.append(f"{100 * score.lowest_accuracy:.1f} to {100 * score.highest_accuracy:.1f} %")
    return f"between {', '.join(parts)}"


def show_gain(gain: Gain) -> None:
    """Show what is left of a score without time, and what time added to it."""
    from st_llm_cli.bench.compare import in_words

    for name, share in gain.scores.items():
        typer.echo(f"control {name}: {100 * share:.1f} % right")
    against = gain.against_best
    typer.echo(
        f"temporal gain: {100 * against.difference:+.1f} points "
        f"[{100 * against.low:+.1f}, {100 * against.high:+.1f}] over '{gain.best}': {in_words(against)}"
    )


def show_replies(predictions: Sequence[Prediction]) -> None:
    """Show a few replies as they were, with what was made of them: a look at them finds most mistakes."""
    from st_llm_cli.bench.scoring import judge_reply

    note("some replies as they were:")
    for prediction in predictions[:SHOWN_REPLIES]:
        verdict = judge_reply(prediction, "strict")
        read = "no verdict"
        if verdict is not None:
            read = f"{'right' if verdict.correct else 'wrong'} by '{verdict.rule}'"
        said = prediction.error if prediction.reply is None else repr(prediction.reply)
        note(f"  {prediction.sample.id}: {said} is {read}; reference {prediction.sample.answer!r}")


def show_unreadable(predictions: Sequence[Prediction]) -> None:
    """Name clips that could not be read, by what is wrong with them."""
    clips = {prediction.sample.cluster for prediction in predictions}
    found: dict[str, dict[str, None]] = {}
    for prediction in predictions:
        if prediction.error is not None:
            found.setdefault(prediction.error, {})[prediction.sample.cluster] = None
    for error, names in found.items():
        note(f"{which_of(list(names), len(clips), 'clips')}: {error}")


def show_missing(missing: Sequence[Media]) -> None:
    """Name missing clips by where they come from; of each origin a few, and where one was looked for."""
    origins: dict[str, list[Media]] = {}
    for media in missing:
        origins.setdefault(media.origin, []).append(media)
    for origin, clips in origins.items():
        typer.echo(f"{len(clips)} clips missing" + (f", from {origin}" if origin else ""))
        for media in clips[:SHOWN_MISSING]:
            typer.echo(f"  {media.name}")
        if len(clips) > SHOWN_MISSING:
            typer.echo(f"  and {len(clips) - SHOWN_MISSING} more (all with --json)")
        typer.echo(f"  looked for {clips[0].name} at:")
        for path in clips[0].tried:
            typer.echo(f"    {path}")


def check_json(
    selected: Sequence[Sample], askable: int, missing: Sequence[Media], absent: Sequence[str]
) -> dict[str, Any]:
    """Give what `--check` found, as JSON can hold it."""
    rows = [
        {"name": media.name, "tried": [str(path) for path in media.tried], "origin": media.origin}
        for media in missing
    ]
    problems = {sample.id: sample.problem for sample in selected if sample.problem}
    return {
        "questions": len(selected),
        "askable": askable,
        "missing": rows,
        "problems": problems,
        "absent": list(absent),
    }


def _table(report: Report, first: str) -> Any:
    """Build the table of tasks: questions, and the share each scorer finds right."""
    from rich.table import Table

    order = sorted(report.scorers.values(), key=lambda scored: scored.scorer != first)
    table = Table(title=f"{report.benchmark}, % right with 95 % interval")
    table.add_column("task")
    table.add_column("n", justify="right")
    for scored in order:
        table.add_column(scored.scorer, justify="right")
    if report.ceilings:
        table.add_column("no order", justify="right")
    main = order[0]

    def row(name: str, rates: Sequence[Mapping[str, Rate]], key: str, ceiling: Ceiling | None = None) -> None:
        cells = [_percent(own[key]) if key in own else "" for own in rates]
        if ceiling is not None:
            cells.append(f"{100 * ceiling.order_blind:.1f}")
        table.add_row(name, str(rates[0][key].n), *cells)

    for task in main.tasks:
        row(task, [scored.tasks for scored in order], task, report.ceilings.get(task))
    table.add_section()
    row("all questions (micro)", [{"micro": scored.micro} for scored in order], "micro", report.ceiling)
    if len(main.tasks) > 1:
        row("mean of tasks (macro)", [{"macro": scored.macro} for scored in order], "macro")
    for name in main.groups:
        row(f"pairs: {name}", [scored.groups for scored in order], name)
    return table


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"
