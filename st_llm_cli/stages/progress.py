"""How a stage lets be seen how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Begin = Callable[[int], Callable[[str], None]]
"""Called with the number of items; what it returns is called with the name of each item that is through."""


class Progress(Protocol):
    """Shows how far the work is."""

    def expect(self, more: int) -> None:
        """So many more items are to come."""

    def step(self, name: str) -> None:
        """One more item is through."""


class Unseen:
    """A `Progress` that shows nothing."""

    def expect(self, more: int) -> None:
        """Show nothing."""

    def step(self, name: str) -> None:
        """Show nothing."""


def unseen(total: int) -> Callable[[str], None]:
    """A `Begin` that shows nothing."""
    return lambda name: None
