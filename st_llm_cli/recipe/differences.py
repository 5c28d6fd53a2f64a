"""Which settings two recipes differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from st_llm_cli.recipe.reading import Place, dotted
from st_llm_cli.recipe.schema import Recipe

LONGEST = 60
"""Characters of a value that are shown."""


class Difference(NamedTuple):
    """A setting that two recipes disagree on."""

    place: Place
    """Keys from the root to it."""
    was: Any
    """What the first says, as JSON can hold it; None for nothing."""
    is_: Any
    """What the second says."""

    def __str__(self) -> str:
        """Name the key, and what either says: `stages.0.train.lr was 0.0003, is 0.001`."""
        return f"{dotted(self.place)} was {_shown(self.was)}, is {_shown(self.is_)}"


def differences(before: Recipe, now: Recipe) -> list[Difference]:
    """Find the settings that two recipes differ in, in the order of a recipe; a missing block is one."""
    return list(_differences((), before.model_dump(mode="json"), now.model_dump(mode="json")))


def _differences(place: Place, was: Any, is_: Any) -> Iterator[Difference]:
    if isinstance(was, dict) and isinstance(is_, dict):
        for key in {**was, **is_}:
            yield from _differences((*place, key), was.get(key), is_.get(key))
    elif isinstance(was, list) and isinstance(is_, list) and len(was) == len(is_):
        for number, (one, other) in enumerate(zip(was, is_, strict=True)):
            yield from _differences((*place, number), one, other)
    elif was != is_:
        yield Difference(place, was, is_)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    return f"a list of {len(value)}" if isinstance(value, list) else f"{text[:LONGEST]}…"
