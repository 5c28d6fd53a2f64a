"""`stllm extract-features`: fill the token cache."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.feature_sources import benchmark_in, jobs_of, model_for, own_of, recipe_in, requests_of
from st_llm_cli.cli.options import (
    MODEL,
    CacheOption,
    DebugOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
)
from st_llm_cli.cli.screen import note, progress_of
from st_llm_cli.cli.sizes import size_text
from st_llm_cli.cli.times import duration
from st_llm_cli.cli.token_cache import open_cache
from st_llm_cli.errors import StllmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st_llm_cli.stages.extract_features import Outcome, Tally, Wish
    from st_llm_cli.stages.feature_jobs import Job
    from st_llm_cli.stages.plan_features import Plan
    from st_llm_cli.stages.share import Share
    from st_llm_cli.stages.skipped_clips import Ledger
    from st_llm_cli.stages.video_model import VideoModel
    from st_llm_cli.tokens.store import TokenCache
    from st_llm_cli.video.request import Request

READING = "How to read"
FAILURES = "What to do when a clip fails"
AHEAD = "Before you start"
SKIPPED = Path("skipped.jsonl")


def extract_features(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Files, folders, patterns, lists (.txt, .json, .jsonl, .csv, -), a recipe, a benchmark.",
        ),
    ],
    bench: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="SOURCE is the folder of this benchmark, where its layout does not tell."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Default: tiny, or what the recipe starts from.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    cache: CacheOption = None,
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", help="Frames per clip; default: the model's own.", rich_help_panel=READING),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="F", help="Frames per second instead.", rich_help_panel=READING)
    ] = None,
    reader: Annotated[
        str, typer.Option(metavar="NAME", help="pyav, torchcodec or decord.", rich_help_panel=READING)
    ] = "pyav",
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Clips decoded (on a CPU, also encoded) at a time.",
            rich_help_panel=READING,
        ),
    ] = 2,
    batch_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames encoded at once; default: 16 on a CPU, else 64.",
            rich_help_panel=READING,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only this share of the list, 1/8 to 8/8; torchrun and SLURM set it.",
            rich_help_panel=READING,
        ),
    ] = None,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", help="Give a clip up after this.", rich_help_panel=FAILURES)
    ] = 120.0,
    on_error: Annotated[
        str, typer.Option(metavar="skip|fail", help="Skip it, or end here.", rich_help_panel=FAILURES)
    ] = "skip",
    max_failures: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="End when more have failed.", rich_help_panel=FAILURES),
    ] = None,
    skipped: Annotated[
        Path, typer.Option(metavar="FILE", help="Which were skipped, and why.", rich_help_panel=FAILURES)
    ] = SKIPPED,
    check: Annotated[
        bool,
        typer.Option("--check", metavar="", help="Only read, and name the bad ones.", rich_help_panel=AHEAD),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", metavar="", help="Try ten, and say what all take.", rich_help_panel=AHEAD),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Encode clips once and keep their tokens, for every later command and every question.

    What is kept already is not done again: interrupted at any moment, the same command goes on. Clips
    that cannot be read are named in skipped.jsonl with the reason, and the exit code is 0 all the same
    unless all of them failed.

    Examples:
    - `stllm extract-features videos/ --dry-run`
    - `stllm extract-features train.jsonl --model DIR --frames 16 --max-failures 100`
    - `stllm extract-features recipe.yaml`
    - `stllm extract-features MVBench/`
    - `torchrun --nproc-per-node 8 -m st_llm_cli extract-features videos/`
    """
    from st_llm_cli.stages.extract_features import Wish
    from st_llm_cli.stages.feature_jobs import Job
    from st_llm_cli.stages.share import share_of
    from st_llm_cli.stages.skipped_clips import Ledger

    if on_error not in ("skip", "fail"):
        raise UsageError(f"unknown choice '{on_error}'", where="--on-error", fix="skip or fail")
    wish = Wish(frames, fps, reader, workers, deadline, batch_frames, on_error == "fail", max_failures)
    bench = benchmark_in(sources, bench)
    recipe = recipe_in(sources, bench, wish)
    share = share_of(shard)
    if check:
        _check(own_of(requests_of(sources, recipe, bench, wish), share), wish, as_json)
        return
    opened = open_cache(cache)
    if opened is None:
        what = "the cache is turned off, and filling it is all this command does"
        raise UsageError(what, where="--cache", fix="name a folder")
    ledger = Ledger(skipped, share)
    if not dry_run:
        ledger.check(map(Path, sources))  # before the long wait
    loaded = _load(model_for(model, recipe), device, dtype, opened, share)
    jobs = jobs_of(sources, recipe, bench, wish, loaded, opened, is_result=model is not None)
    jobs = [Job(job.tokens, own_of(job.requests, share)) for job in jobs]
    if dry_run:
        _show_plans(jobs, wish, as_json)
    else:
        _extract(jobs, opened, wish, ledger, as_json)


def _load(model: str, device: str, dtype: str, cache: TokenCache, share: Share | None) -> VideoModel:
    from st_llm_cli.stages.share import device_of
    from st_llm_cli.stages.video_model import load_model

    return load_model(model, device=device_of(share, device), dtype=dtype, cache=cache)


def _extract(jobs: list[Job], cache: TokenCache, wish: Wish, ledger: Ledger, as_json: bool) -> None:
    from st_llm_cli.stages.feature_jobs import run_jobs

    began = time.monotonic()
    count = sum(len(job.requests) for job in jobs)
    try:
        with (
            ledger,
            progress_of(count, "extracting", beside=lambda: size_text(cache.use.bytes_written)) as progress,
        ):

            def report(outcome: Outcome) -> None:
                progress.step(str(outcome.video))
                if outcome.error is not None:
                    ledger.add(outcome)

            tally = run_jobs(jobs, wish, report)
    except KeyboardInterrupt:
        note("interrupted; what is finished is kept, the same command goes on")
        raise
    _show_tally(tally, cache, time.monotonic() - began, ledger.path, as_json)
    if tally.skipped and tally.skipped == count:
        raise typer.Exit(1)


def _show_tally(tally: Tally, cache: TokenCache, seconds: float, skipped: Path, as_json: bool) -> None:
    if as_json:
        numbers = {"bytes_written": cache.use.bytes_written, "seconds": round(seconds, 2)}
        ledger = str(skipped) if tally.skipped else None
        typer.echo(json.dumps({**asdict(tally), **numbers, "ledger": ledger, "cache": str(cache.root)}))
        return
    written = size_text(cache.use.bytes_written)
    typer.echo(f"{tally.encoded} clips encoded ({written}), {tally.present} were there, in {seconds:.1f} s")
    if tally.skipped:
        typer.echo(f"{tally.skipped} clips skipped, see {skipped}")


def _show_plans(jobs: list[Job], wish: Wish, as_json: bool) -> None:
    from st_llm_cli.stages.plan_features import plan

    for job in jobs:
        made = plan(job.tokens, job.requests, wish)
        typer.echo(json.dumps({"level": job.tokens.level, **asdict(made)}) if as_json else _plan_text(made))


def _plan_text(plan: Plan) -> str:
    failed = f", {plan.unreadable} of them cannot be read" if plan.unreadable else ""
    return "\n".join(
        (
            f"clips      {plan.clips} ({plan.probed} tried out{failed})",
            f"frames     {plan.frames}",
            f"on disk    {size_text(plan.bytes)}",
            f"FLOPs      {plan.flops:.2e}",
            f"per clip   {plan.decode_seconds:.3f} s to decode, {plan.encode_seconds:.3f} s to encode",
            f"time       {duration(plan.hours * 3600)}",
        )
    )


def _check(requests: Sequence[Request], wish: Wish, as_json: bool) -> None:
    """Read every clip and name the bad ones; exit code 1 if there are any."""
    from st_llm_cli.stages.file_names import as_text
    from st_llm_cli.stages.plan_features import check

    bad: list[tuple[Outcome, StllmError]] = []
    with progress_of(len(requests), "checking") as progress:
        for outcome in check(requests, wish):
            progress.step(str(outcome.video))
            if outcome.error is not None:
                bad.append((outcome, outcome.error))
    for outcome, error in sorted(bad, key=lambda pair: pair[0].video):
        name, what = as_text(str(outcome.video)), as_text(error.what)
        row = {"file": name, "reason": what, "seconds": round(outcome.seconds, 2)}
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else f"{name}: {what}")
    note(f"{len(requests) - len(bad)} of {len(requests)} clips are sound")
    if bad:
        raise typer.Exit(1)
