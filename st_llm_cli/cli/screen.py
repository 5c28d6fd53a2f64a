"""What a person sees beside the results, all of it on standard error: errors, notes, progress."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from copy import copy
from typing import TYPE_CHECKING, TextIO

from st_llm_cli.cli.option_names import OPTIONS, in_words_of
from st_llm_cli.cli.times import duration
from st_llm_cli.errors import StllmError

if TYPE_CHECKING:
    from rich.console import Console

    from st_llm_cli.stages.progress import Progress


def console_of(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal: rich by itself takes each dumb one for 80 columns."""
    from rich.console import Console, ConsoleDimensions

    made = Console(stderr=stderr)
    if made.is_dumb_terminal:
        made.size = ConsoleDimensions(*shutil.get_terminal_size())
    return made


def show_error(error: StllmError, words: Mapping[str, str] = OPTIONS) -> None:
    """Say what was found, where, and what to do: in three lines on a terminal, else in one.

    Args:
        error: What to say.
        words: How the reader calls the library's arguments.
    """
    error = in_words_of(error, words)
    if not sys.stderr.isatty():
        print(f"stllm: error: {error}", file=sys.stderr)  # noqa: T201
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    what, *details = error.what.splitlines() or [""]
    table.add_row(Text("error", style="bold red"), Text(what))
    for detail in details:
        table.add_row(Text("·", style="dim", justify="right"), Text(detail.strip()))
    if error.where:
        table.add_row(Text("where", style="dim"), Text(error.where))
    if error.fix:
        table.add_row(Text("fix", style="bold green"), Text(error.fix))
    console_of(stderr=True).print(table)


def note(text: str) -> None:
    """Say something that is no result."""
    print(f"stllm: {text}", file=sys.stderr, flush=True)  # noqa: T201


def which_of(names: Sequence[str], total: int, what: str) -> str:
    """Name what a remark is about: the file itself, or how many of how many, and the first of them.

    Args:
        names: Those it is about, at least one.
        total: How many there are.
        what: Word for several of them, such as `videos`.
    """
    return names[0] if len(names) == 1 else f"{len(names)} of {total} {what}, the first: {names[0]}"


class OnScreen(logging.StreamHandler[TextIO]):
    """Writes log lines to what standard error is by then: a view that is kept up to date stands in for it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error of this moment."""
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        """Write a line, with errors in it in the words of the command line."""
        parts = record.args
        if isinstance(parts, tuple):
            record = copy(record)
            record.args = tuple(
                in_words_of(part, OPTIONS) if isinstance(part, StllmError) else part for part in parts
            )
        return super().format(record)


def only_results_on_stdout() -> AbstractContextManager[object]:
    """Send what libraries print while they work to standard error: standard output is for results."""
    return redirect_stdout(sys.stderr)


@contextmanager
def progress_of(total: int, what: str, *, beside: Callable[[], str] | None = None) -> Iterator[Progress]:
    """Show progress, rate and time left: a bar on a terminal, else a line now and then.

    Args:
        total: Items to come.
        what: What is being done, and to what: `describing`.
        beside: Says what is shown beside the rate, such as what was written so far.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Lines(total, what, beside)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        yield _Bar(bar, total, what, beside)


class _Bar:
    def __init__(self, bar: object, total: int, what: str, beside: Callable[[], str] | None) -> None:
        from rich.progress import Progress as RichProgress

        assert isinstance(bar, RichProgress)
        self.bar, self.beside = bar, beside
        self.task = bar.add_task(what, total=total, rate="")
        self.began = time.monotonic()
        self.count = 0
        self.total = total

    def expect(self, more: int) -> None:
        self.total += more
        self.bar.update(self.task, total=self.total)

    def step(self, name: str) -> None:
        self.count += 1
        rate = _rate(self.count, time.monotonic() - self.began, self.beside)
        self.bar.update(self.task, advance=1, rate=rate)


class _Lines:
    def __init__(self, total: int, what: str, beside: Callable[[], str] | None) -> None:
        from st_llm_cli.cli.log_line import LogLine

        self.what, self.beside = what, beside
        self.began = time.monotonic()
        self.total = total
        self.line = LogLine(total, note)
        self.count = 0

    def expect(self, more: int) -> None:
        self.total = self.line.total = self.total + more

    def step(self, name: str) -> None:
        self.count += 1
        seconds = time.monotonic() - self.began
        left = seconds / self.count * (self.total - self.count)
        rest = f", {duration(left)} left" if self.count < self.total else f" in {duration(seconds)}"
        rate = _rate(self.count, seconds, self.beside)
        self.line.say(self.count, f"{self.what}: {self.count}/{self.total}, {rate}{rest}")


def _rate(count: int, seconds: float, beside: Callable[[], str] | None) -> str:
    per_second = count / max(seconds, 1e-3)
    rate = f"{per_second:.1f}/s" if per_second >= 1 else f"{per_second * 60:.1f}/min"
    return f"{rate}, {beside()}" if beside else rate
