"""Help pages in plain text: options by panel, examples a line each, as wide as the terminal.

Typer would draw them with rich, which takes longer to import than everything else a help page needs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Context
    from typer._click.formatting import HelpFormatter

    Run = TypeVar("Run", bound=Callable[..., Any])

WIDEST = 100
"""Columns beyond which lines get hard to read."""


class HelpCommand(TyperCommand):
    """A command with such a page."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the page."""
        _fit(formatter)
        self.format_usage(ctx, formatter)
        _write_about(self.help or "", formatter)
        _write_parameters(self, ctx, formatter)
        _write_about(self.epilog or "", formatter)

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """What stands behind the name: what must be given bare, what may be left out in brackets."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class HelpGroup(TyperGroup):
    """A group of commands with such a page."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the page."""
        _fit(formatter)
        self.format_usage(ctx, formatter)
        _write_about(self.help or "", formatter)
        rows = [(name, self.line_about(name)) for name in self.list_commands(ctx)]
        _write_section("Commands", rows, formatter)
        _write_parameters(self, ctx, formatter)
        _write_about(self.epilog or "", formatter)

    def line_about(self, name: str) -> str:
        """What a command does, in one line."""
        return (self.commands[name].help or "").partition("\n")[0]


class Commands(typer.Typer):
    """Commands under one name.

    Args:
        name: Their name.
        help: What they are for, in one line.
        kind: Kind of the group.
        epilog: Last words of the page.
    """

    def __init__(
        self, name: str, help: str, *, kind: type[HelpGroup] = HelpGroup, epilog: str | None = None
    ) -> None:
        super().__init__(
            name=name,
            help=help,
            epilog=epilog,
            cls=kind,
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def command(self, name: str | None = None) -> Callable[[Run], Run]:  # type: ignore[override]
        """Make a function one of the commands; its docstring is the help."""
        return super().command(name, cls=HelpCommand)


def _fit(formatter: HelpFormatter) -> None:
    """Take the width of the terminal; the library's own formatter takes 50 columns at least."""
    formatter.width = max(20, min(WIDEST, shutil.get_terminal_size().columns) - 1)


def _write_about(text: str, formatter: HelpFormatter) -> None:
    """Wrap paragraphs; the examples of a docstring, `- ` a line each, keep their lines."""
    for paragraph in text.split("\n\n"):
        if not paragraph.strip():
            continue
        formatter.write_paragraph()
        lines = paragraph.strip().splitlines()
        if any(line.startswith("- ") for line in lines):
            lines = [f"  {line[2:].strip('`')}" if line.startswith("- ") else line for line in lines]
            formatter.write("".join(f"  {line}\n" for line in lines))
        else:
            with formatter.indentation():
                formatter.write_text(" ".join(lines))


def _write_parameters(command: TyperCommand | TyperGroup, ctx: Context, formatter: HelpFormatter) -> None:
    """Write arguments and options, those of a panel under its name."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        panel = getattr(parameter, "rich_help_panel", None) or "Options"
        if parameter.param_type_name == "argument":
            panel, name = "Arguments", name.partition(" ")[0]  # without its Python type
        panels.setdefault(panel, []).append((name, text))
    last = panels.pop("Options", [])
    for panel, rows in panels.items():
        _write_section(panel, rows, formatter)
    _write_section("Options", last, formatter)


def _write_section(title: str, rows: list[tuple[str, str]], formatter: HelpFormatter) -> None:
    if not rows:
        return
    formatter.write_paragraph()
    formatter.write(f"{_bold(title)}\n")
    with formatter.indentation():
        formatter.write_dl([(name.strip(), text) for name, text in rows], col_max=formatter.width // 3)


def _bold(text: str) -> str:
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty()
    return text if plain else typer.style(text, bold=True)
