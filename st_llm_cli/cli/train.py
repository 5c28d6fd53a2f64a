"""`stllm train`: run a recipe's training stages."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.options import CacheOption, DebugOption, JsonOption
from st_llm_cli.cli.recipes import RecipeArgument, SetOption
from st_llm_cli.cli.screen import note
from st_llm_cli.cli.token_cache import note_use, open_cache

if TYPE_CHECKING:
    from st_llm_cli.recipe import Recipe
    from st_llm_cli.training.metrics import StepMetrics

PLAN = "Plan"
SECONDS_BETWEEN_LINES = 10.0


def train(
    recipe: RecipeArgument,
    settings: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Run folder; default: runs/RECIPE."),
    ] = None,
    check_data: Annotated[
        bool,
        typer.Option("--check-data", help="Only read annotations and media; exit 1 if anything is wrong."),
    ] = False,
    cache: CacheOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what it would take: parameters, FLOPs, memory, hours.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Plan for h200, h100, a100-80g, rtx4090 …, cpu, or '80GB,312TF'; default: what is here.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    devices: Annotated[
        int,
        typer.Option("--devices", metavar="N", min=1, help="Plan for so many of them.", rich_help_panel=PLAN),
    ] = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a model by a recipe, stage by stage.

    Each stage starts from the result of the one before. Given again for the same folder, the command
    skips the stages whose result is there. The run folder is itself a model: `--model DIR`.

    Examples:
    - `stllm train tiny/shapes`
    - `stllm train instructblip_qa --dry-run --device a100-80g --devices 8`
    - `stllm train my.yaml --set stages.0.train.steps=100 --output runs/try`
    - `stllm train my.yaml --check-data`
    """
    from st_llm_cli.recipe import load_recipe
    from st_llm_cli.stages.train import run

    loaded = load_recipe(recipe, settings or ())
    if check_data:
        from st_llm_cli.cli.check_data import check_training_data

        check_training_data(loaded, as_json=as_json)
        return
    if dry_run:
        from st_llm_cli.cli.plan import show_plan

        show_plan(loaded, device, devices, as_json=as_json)
        return
    tokens = open_cache(cache)
    folder = output or Path("runs") / Path(recipe).stem
    with _progress(loaded) as show:
        result = run(loaded, folder, show, tokens)
    note_use(tokens)
    for name in result.skipped:
        note(f"stage '{name}' was done already")
    if as_json:
        facts = {
            "run": str(folder),
            "checkpoint": str(result.checkpoint),
            "trained": result.trained,
            "skipped": result.skipped,
            "cache": None if tokens is None else asdict(tokens.use),
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(str(result.checkpoint))
    note(f"try it: stllm describe VIDEO --model {folder}")


@contextmanager
def _progress(recipe: Recipe) -> Iterator[Callable[[StepMetrics], None]]:
    """Show losses, pace and time left: bars on a terminal, else a line now and then."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Lines().show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), expand=True) as bars:
        stages = {
            stage.name: bars.add_task(stage.name, total=stage.steps, losses="", start=False)
            for stage in recipe.training
        }

        def show(metrics: StepMetrics) -> None:
            bars.start_task(stages[metrics.stage])
            bars.update(stages[metrics.stage], completed=metrics.step, losses=losses_text(metrics))

        yield show


class _Lines:
    """A line at most every ten seconds, and at the end of a stage: for logs."""

    def __init__(self) -> None:
        self.last = 0.0

    def show(self, metrics: StepMetrics) -> None:
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES and metrics.step < metrics.steps:
            return
        self.last = now
        pace = metrics.seconds / metrics.step
        left = pace * (metrics.steps - metrics.step) / 60
        note(
            f"{metrics.stage} {metrics.step}/{metrics.steps}: {losses_text(metrics)}, {pace:.2f} s/step, "
            f"{left:.0f} min left"
        )


def losses_text(metrics: StepMetrics) -> str:
    """The parts of the loss, and the share of the video dropped where there is one."""
    loss = metrics.loss if metrics.language_loss is None else metrics.language_loss
    parts = [f"loss {loss:.3f}"]
    if metrics.masked_video_loss is not None:
        parts.append(f"masked video {metrics.masked_video_loss:.3f}")
    if metrics.mask_ratio is not None:
        parts.append(f"{metrics.mask_ratio:.0%} dropped")
    return ", ".join(parts)
