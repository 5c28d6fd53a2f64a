"""`stllm doctor`: what works on this machine, and what mends the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from st_llm_cli.cli.options import CacheOption, DebugOption, DeviceOption, JsonOption, ModelOption
from st_llm_cli.cli.screen import console_of

if TYPE_CHECKING:
    from st_llm_cli.stages.doctor import Check

MARKS = {"ok": ("ok", "green"), "warning": ("note", "yellow"), "broken": ("broken", "bold red")}


def doctor(
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    cache: CacheOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check this installation by doing: decode a clip with each reader, load a model, ask it something.

    What does not work is named with what mends it. Exit code 1 if something needed is broken.
    """
    from st_llm_cli.stages.doctor import examine

    checks = []
    for check in examine(model, device=device, cache=cache):
        checks.append(check)
        if not as_json:
            show(check)
    broken = [check.name for check in checks if check.state == "broken"]
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        typer.echo(f"broken: {', '.join(broken)}" if broken else "everything needed works")
    if broken:
        raise typer.Exit(1)


def show(check: Check) -> None:
    """Write one line, folded to the terminal, and what mends it."""
    from rich.table import Table
    from rich.text import Text

    mark, style = MARKS[check.state]
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=6, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(mark, style=style), Text.assemble((check.name, "bold"), "  ", check.found))
    if check.fix:
        table.add_row(Text("fix", style="bold green"), Text(check.fix))
    console_of().print(table)
