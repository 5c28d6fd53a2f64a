"""`stllm compare`: which of some runs is better, and whether that can be told."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.eval_screen import check_scorer
from st_llm_cli.cli.options import DebugOption, JsonOption
from st_llm_cli.errors import UsageError

if TYPE_CHECKING:
    from st_llm_cli.bench.compare import RunComparison

SHOWN_FLIPS = 10


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of `stllm eval`; the first is the base.")
    ],
    scorer: Annotated[str, typer.Option(metavar="NAME", help="strict or released.")] = "strict",
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the comparison of two runs as a page, with every answer."),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare runs question by question, on those that both were asked.

    The p-value comes from exchanging the runs clip by clip; those of the tasks are corrected for their
    number. Questions only one of the runs got right are listed, and those the runs answered differently: so
    two ways of answering (`--answer options` and `generate`) are held against each other.
    """
    from st_llm_cli.bench.compare import compare_runs
    from st_llm_cli.stages.prediction_file import NAME, read_predictions

    if len(runs) < 2:
        raise UsageError("one run cannot be compared", where="RUN", fix="give two or more")
    if html is not None and len(runs) > 2:
        raise UsageError("a page is about two runs", where="--html", fix="give two, or leave out --html")
    check_scorer(scorer)
    base, *others = [read_predictions(run / NAME if run.is_dir() else run) for run in runs]
    compared = {run: compare_runs(base, other, scorer) for run, other in zip(runs[1:], others, strict=True)}
    if html is not None:
        from st_llm_cli.stages.report import write_comparison

        write_comparison(html, compared[runs[1]], (runs[0], runs[1]), (base, others[0]))
    if as_json:
        rows = [{"run": str(run), "base": str(runs[0]), **asdict(each)} for run, each in compared.items()]
        typer.echo(json.dumps(rows))
        return
    for run, each in compared.items():
        _show(run, runs[0], each)


def _show(run: Path, base: Path, compared: RunComparison) -> None:
    from st_llm_cli.bench.compare import in_words

    typer.echo(f"{run} against {base}: {in_words(compared)}")
    t_test = "" if compared.t_p_value is None else f", paired t-test p = {compared.t_p_value:.3g}"
    typer.echo(
        f"  {100 * compared.first:.1f} % and {100 * compared.second:.1f} % of {compared.n} questions "
        f"({compared.scorer}); 95 % interval of the difference "
        f"{100 * compared.low:+.1f} to {100 * compared.high:+.1f}"
    )
    typer.echo(
        f"  if every question were a clip of its own: McNemar p = {compared.mcnemar_p_value:.3g}{t_test}"
    )
    if compared.only_first or compared.only_second:
        typer.echo(f"  left out: {compared.only_first} only in the base, {compared.only_second} only here")
    if len(compared.tasks) > 1:
        for task, each in compared.tasks.items():
            typer.echo(
                f"  {task}: {100 * each.difference:+.1f} points of {each.n}, corrected p = {each.p_value:.3g}"
            )
    same = compared.n - len(compared.disagreed)
    typer.echo(f"  the same answer to {same} of {compared.n} questions ({100 * compared.agreement:.1f} %)")
    for id, (first, second) in list(compared.disagreed.items())[:SHOWN_FLIPS]:
        typer.echo(f"    {id}: {first or 'nothing readable'} and {second or 'nothing readable'}")
    if len(compared.disagreed) > SHOWN_FLIPS:
        typer.echo(f"    and {len(compared.disagreed) - SHOWN_FLIPS} more (all with --json)")
    for what, ids in (("won", compared.won), ("lost", compared.lost)):
        more = f" and {len(ids) - SHOWN_FLIPS} more (all with --json)" if len(ids) > SHOWN_FLIPS else ""
        typer.echo(f"  {len(ids)} {what}" + (": " + ", ".join(ids[:SHOWN_FLIPS]) + more if ids else ""))
