"""How a stage lets be seen how far it is."""

from __future__ import annotations

from collections.abc import Callable

Begin = Callable[[int], Callable[[str], None]]
"""Called with the number of items; what it returns is called with the name of each item that is through."""


def unseen(total: int) -> Callable[[str], None]:
    """A `Begin` that shows nothing."""
    return lambda name: None
