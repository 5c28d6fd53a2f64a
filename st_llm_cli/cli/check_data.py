"""`stllm train RECIPE --check-data`: a table of what is wrong with the training data."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from st_llm_cli.cli.screen import note, progress_of

if TYPE_CHECKING:
    from st_llm_cli.recipe import Recipe
    from st_llm_cli.stages.check_data import SourceCheck

SHOWN = 20
"""Findings of each kind that are shown; `--json` has them all."""


def check_training_data(recipe: Recipe, *, as_json: bool) -> None:
    """Check the data, show what was found, and leave with 1 if anything is wrong."""
    from st_llm_cli.stages.check_data import check_data

    with ExitStack() as screen:

        def begin(total: int) -> Callable[[str], None]:
            return screen.enter_context(progress_of(total, "reading")).step

        found = check_data(recipe, begin)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found]))
    elif found:
        _show_table(found)
        for check in found:
            _show_findings(check)
    else:
        note("no data on disk: every source of this recipe is rendered while training")
    if not all(check.is_sound for check in found):
        raise typer.Exit(1)


def _show_table(found: list[SourceCheck]) -> None:
    heads = (
        "source",
        "format",
        "entries",
        "clips",
        "pictures",
        "questions",
        "mistakes",
        "missing",
        "unreadable",
    )
    rows = [
        (
            check.source,
            check.format,
            *(f"{number:,}" for number in (check.entries, check.clips, check.pictures, check.questions)),
            *(f"{len(listed):,}" for listed in (check.mistakes, check.missing, check.undecodable)),
        )
        for check in found
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        words = [f"{word:<{width}}" for word, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [f"{word:>{width}}" for word, width in zip(row[2:], widths[2:], strict=True)]
        typer.echo("  ".join((*words, *numbers)))


def _show_findings(check: SourceCheck) -> None:
    for name, listed in (
        ("mistakes", check.mistakes),
        ("missing", check.missing),
        ("unreadable", check.undecodable),
        ("keys that are not read, where first", check.unread),
    ):
        if listed:
            typer.echo(f"\n{check.source}: {name}")
            for text in listed[:SHOWN]:
                typer.echo(f"  {text}")
            if len(listed) > SHOWN:
                typer.echo(f"  and {len(listed) - SHOWN:,} more; --json lists all")
