"""What a person sees of a training run: a table that is kept up to date at a terminal, else tqdm's lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from st_llm_cli.cli.screen import note
from st_llm_cli.cli.times import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from st_llm_cli.cli.log_line import LogLine
    from st_llm_cli.recipe import Recipe
    from st_llm_cli.training.metrics import StepMetrics


@contextmanager
def training_progress(recipe: Recipe) -> Iterator[Callable[[StepMetrics], None]]:
    """Show the losses, the pace and the time left of each stage, on standard error."""
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        yield lambda metrics: None
        return
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console
        from rich.live import Live
        from transformers.utils import logging as transformers_logging
        from transformers.utils.logging import EmptyTqdm

        # Its bars about single files would stand in the middle of the view.
        transformers_logging.set_tqdm_hook(lambda factory, args, options: EmptyTqdm(*args, **options))
        view = _View(recipe)
        with Live(get_renderable=view.render, console=Console(stderr=True), refresh_per_second=4):
            yield view.take
        return
    yield _Lines().take


def losses_text(metrics: StepMetrics) -> str:
    """The parts of the loss, and the share of the video dropped where there is one."""
    loss = metrics.loss if metrics.language_loss is None else metrics.language_loss
    parts = [f"loss {loss:.3f}"]
    if metrics.masked_video_loss is not None:
        parts.append(f"masked video {metrics.masked_video_loss:.3f}")
    if metrics.mask_ratio is not None:
        parts.append(f"{metrics.mask_ratio:.0%} dropped")
    return ", ".join(parts)


def pace_text(metrics: StepMetrics) -> str:
    """How fast it goes, what it takes, and how long it will."""
    parts = [f"{metrics.video_tokens_per_second:,.0f} video tokens/s", f"{metrics.memory_gb:.1f} GB"]
    if metrics.mfu is not None:
        parts.insert(1, f"MFU {metrics.mfu:.0%}")
    if metrics.step == metrics.steps:
        return f"{', '.join(parts)} in {duration(metrics.seconds)}"
    left = metrics.seconds / metrics.step * (metrics.steps - metrics.step)
    return ", ".join([*parts, f"{duration(left)} left"])


class _Lines:
    """A line now and then, and at the end of each stage: for logs and pipes."""

    def __init__(self) -> None:
        self.lines: dict[str, LogLine] = {}

    def take(self, metrics: StepMetrics) -> None:
        from st_llm_cli.cli.log_line import LogLine

        line = self.lines.get(metrics.stage)
        if line is None:
            line = self.lines[metrics.stage] = LogLine(metrics.steps, note)
        where = f"{metrics.stage} {metrics.step}/{metrics.steps}"
        line.say(metrics.step, f"{where}: {losses_text(metrics)}, {pace_text(metrics)}")


class _View:
    """A line for each stage: its bar, its losses, its pace."""

    def __init__(self, recipe: Recipe) -> None:
        self.stages = [(stage.name, stage.steps) for stage in recipe.training]
        self.last: dict[str, StepMetrics] = {}

    def take(self, metrics: StepMetrics) -> None:
        self.last[metrics.stage] = metrics

    def render(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        # Not as wide as the terminal, whose own "^C" would move a full line up, out of reach.
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(width=24)
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        for name, steps in self.stages:
            metrics = self.last.get(name)
            done = 0 if metrics is None else metrics.step
            text = "" if metrics is None else f"{losses_text(metrics)}\n[dim]{pace_text(metrics)}[/dim]"
            table.add_row(name, ProgressBar(total=steps, completed=done), f"{done}/{steps}", text)
        return table
