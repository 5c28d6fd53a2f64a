"""`stllm eval`: from a benchmark's folder to scores."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.eval_judge import (
    DEFAULT_KEY_ENV,
    JudgeKeyEnvOption,
    JudgeModelOption,
    JudgePriceOption,
    JudgeRateOption,
    JudgeUrlOption,
    have_judged,
    judge_named,
    show_expected,
)
from st_llm_cli.cli.eval_run import answer_questions, draw_with_progress, keep_gain
from st_llm_cli.cli.eval_screen import (
    DEFAULT_PICTURES,
    PicturesOption,
    check_json,
    check_scorer,
    report_on,
    show_gain,
    show_missing,
    show_replies,
    show_report,
    show_unreadable,
)
from st_llm_cli.cli.options import (
    ANSWER,
    CacheOption,
    DebugOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokensOption,
    ModelOption,
    SeedOption,
)
from st_llm_cli.cli.screen import note
from st_llm_cli.cli.token_cache import open_cache
from st_llm_cli.errors import UsageError, nearest

if TYPE_CHECKING:
    from st_llm_cli.bench.benchmark import Benchmark
    from st_llm_cli.bench.gain import Gain
    from st_llm_cli.bench.judged import Judged
    from st_llm_cli.stages.eval import Result
    from st_llm_cli.stages.eval_plan import Plan

WHAT = "What to ask"
SCORE = "How to score"
MANY = "How many at a time; the answers do not depend on it"


def evaluate(
    bench: Annotated[
        str | None, typer.Option("--bench", "-b", metavar="NAME", help="Benchmark; see --list.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The benchmark's folder (or file, see --list).")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of this run; run again to go on."),
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", metavar="", help="Name the benchmarks and what --data holds.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", metavar="", help="Say what is missing, load no model; exit 1 if anything."),
    ] = False,
    world: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Benchmark shapes: draw the rich world (default), in which only time tells what comes when, "
            "or the plain one (docs/shapes.md).",
            rich_help_panel=WHAT,
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these tasks, such as action_count.", rich_help_panel=WHAT),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only so many questions, drawn by --seed.", rich_help_panel=WHAT),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="Multiple choice: `options` scores the letters, `generate` has the answer written.",
            rich_help_panel=ANSWER,
        ),
    ] = None,
    prompt_style: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Multiple choice as put by: released, videochat2, vlmevalkit, lmms-eval.",
            rich_help_panel=ANSWER,
        ),
    ] = "released",
    released: Annotated[
        bool,
        typer.Option(
            "--released",
            metavar="",
            help="As the released scripts: written answers, their frames and beams; for published numbers.",
            rich_help_panel=ANSWER,
        ),
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", help="Frames per clip; default: the model's own.", rich_help_panel=ANSWER),
    ] = None,
    max_new_tokens: MaxNewTokensOption = None,
    batch_size: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Questions answered together; the answers do not depend on it.",
            rich_help_panel=MANY,
        ),
    ] = 1,
    workers: Annotated[
        int,
        typer.Option(metavar="N", help="Processes that answer, each with the model.", rich_help_panel=MANY),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only this share, 1/8 to 8/8, into the same --output; torchrun and SLURM set it.",
            rich_help_panel=MANY,
        ),
    ] = None,
    scorer: Annotated[
        str,
        typer.Option(metavar="NAME", help="The one to put first: strict or released.", rich_help_panel=SCORE),
    ] = "strict",
    control: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Ask again without time: blind, single-frame, shuffle, reverse, freeze, or all.",
            rich_help_panel=SCORE,
        ),
    ] = None,
    pictures: PicturesOption = DEFAULT_PICTURES,
    judge_url: JudgeUrlOption = None,
    judge_model: JudgeModelOption = None,
    judge_key_env: JudgeKeyEnvOption = DEFAULT_KEY_ENV,
    judge_rate: JudgeRateOption = None,
    judge_price: JudgePriceOption = None,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure a model on a benchmark.

    Every answer is on disk before the next question; the same command goes on after an interruption.
    Questions whose clips are missing are named and left out of the numbers, never counted as wrong.
    The run's folder gets predictions.jsonl, the scores as JSON, CSV and LaTeX, and report.html, a page with
    every answer; see docs/evaluation.md.

    Examples:
    - `stllm eval --bench shapes --data shapes/ --control all`
    - `stllm eval --bench mvbench --data MVBench/ --check`
    - `stllm eval --bench mvbench --data MVBench/ --output runs/mvbench --limit 200`
    """
    if list_all:
        _list(as_json)
        return
    from st_llm_cli.stages.eval_job import Job
    from st_llm_cli.stages.eval_plan import Plan, check_batch_size, check_plan
    from st_llm_cli.stages.share import share_of
    from st_llm_cli.stages.workers import check_workers

    name, benchmark = _benchmark(bench)
    check_scorer(scorer)
    if data is None:
        raise UsageError("is needed", where="--data", fix=f"give {benchmark.layout}")
    plan = Plan(
        name,
        data,
        answer=_way(answer, released),
        num_frames=frames,
        released=released,
        tasks=_names(tasks),
        limit=limit,
        seed=seed,
        max_new_tokens=max_new_tokens,
        prompt_style=prompt_style,
        world=world,
    )
    check_plan(plan)
    check_batch_size(batch_size)
    share = share_of(shard)
    check_workers(workers, share)
    controls = _controls(control)
    draw_with_progress(plan)  # takes a while: what is wrong with the command line is said before
    if check:
        _check(plan, as_json)
        return
    judge = judge_named(judge_url, judge_model, judge_key_env, judge_rate, judge_price)
    folder = output or Path("runs") / f"eval-{name}"
    opened = open_cache(cache)
    job = Job(
        plan,
        folder,
        model,
        controls,
        device=device,
        dtype=dtype,
        cache=None if opened is None else opened.root,
        batch_size=batch_size,
    )
    if judge is not None:
        show_expected(job, judge)
    results = answer_questions(job, share, workers)
    if results is None:
        return
    result, controlled = results
    judged = None if judge is None else have_judged(result.predictions, folder, judge, scorer)
    gain = keep_gain(result, controlled, scorer)
    report_on(folder, result.report, result.predictions, scorer, pictures)
    _show(result, judged, gain, scorer, as_json)


def _show(result: Result, judged: Judged | None, gain: Gain | None, scorer: str, as_json: bool) -> None:
    """Show what came of a run, its judge and its controls."""
    if as_json:
        more = {
            **({} if judged is None else {"judged": judged.as_json()}),
            **({} if gain is None else {"controls": asdict(gain)}),
        }
        typer.echo(json.dumps({**result.report.as_json(), **more}))
        return
    show_report(result.report, scorer, judged)
    if gain is not None:
        show_gain(gain)
    show_replies(result.predictions)
    show_unreadable(result.predictions)
    note(f"the whole report, with every answer: {result.folder / 'report.html'}")


def _benchmark(name: str | None) -> tuple[str, Benchmark]:
    from st_llm_cli.stages.eval_plan import benchmark_named

    if name is None:
        raise UsageError("no benchmark was named", where="--bench", fix="choose one of `stllm eval --list`")
    return name, benchmark_named(name)


def _way(given: str | None, released: bool) -> str:
    if released and given == "options":
        what = "the released scripts have answers written"
        raise UsageError(what, where="--answer", fix="leave out --answer, or --released")
    return given or ("generate" if released else "options")


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in given.split(",") if name.strip()) if given else ()


def _list(as_json: bool) -> None:
    from st_llm_cli.bench.benchmarks import BENCHMARKS

    if as_json:
        rows = [
            {"name": name, "about": benchmark.about, "data": benchmark.layout, "judged": benchmark.judged}
            for name, benchmark in BENCHMARKS.items()
        ]
        typer.echo(json.dumps(rows))
        return
    for name, benchmark in BENCHMARKS.items():
        typer.echo(f"{name:<12} {benchmark.about}")
        typer.echo(f"{'':<12} --data: {benchmark.layout}")


def _check(plan: Plan, as_json: bool) -> None:
    """Say which questions can be asked, and what the others lack."""
    from st_llm_cli.stages.eval_plan import askable, load, missing_media

    loaded, selected = load(plan)
    count, missing = len(askable(selected)), missing_media(selected)
    if as_json:
        typer.echo(json.dumps(check_json(selected, count, missing, loaded.absent)))
    else:
        typer.echo(f"{count} of {len(selected)} questions can be asked")
        for absent in loaded.absent:
            typer.echo(f"no questions of {absent}")
        for sample in selected:
            if sample.problem:
                typer.echo(f"{sample.id}: {sample.problem}")
        show_missing(missing)
    if count < len(selected) or loaded.absent:
        raise typer.Exit(1)


def _controls(given: str | None) -> tuple[str, ...]:
    """Take the names of controls apart.

    Raises:
        UsageError: If there is none of a name.
    """
    if given is None:
        return ()
    from st_llm_cli.stages.controls import CONTROLS

    names = tuple(CONTROLS) if given == "all" else _names(given)
    for name in names:
        if name not in CONTROLS:
            raise UsageError(f"unknown control '{name}'", where="--control", fix=nearest(name, CONTROLS))
    return names
