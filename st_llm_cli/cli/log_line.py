"""Progress in logs and pipes: tqdm, with each report on a line of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class LogLine(tqdm):  # type: ignore[type-arg]
    """Says how far work is at most every ten seconds, and at its end.

    Args:
        total: Items to come; it may grow.
        note: Writes a line.
    """

    _instances: ClassVar[WeakSet[tqdm[Any]]] = WeakSet()  # others' bars neither move nor redraw it
    monitor_interval = 0  # no thread that says the same again while nothing moves

    def __init__(self, total: int, note: Callable[[str], None]) -> None:
        self.note, self.text = note, ""
        # Without a delay it would begin with a line that says nothing.
        super().__init__(total=total, mininterval=SECONDS_BETWEEN_LINES, miniters=1, delay=1e-9)

    def say(self, count: int, text: str) -> None:
        """Note how many items are through, and what a line would say of it."""
        if self.disable:
            return
        self.text = text
        self.update(count - self.n)
        if count == self.total and self.last_print_n < count:
            self.refresh()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write the line."""
        self.note(self.text)

    def close(self) -> None:
        """Say no more: what there was to say has its lines."""
        self.disable = True
