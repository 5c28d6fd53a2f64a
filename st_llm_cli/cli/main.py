"""The command `stllm`: knows all commands, and turns errors into words and exit codes.

A new command is a function in a file of its own and a line in `COMMANDS`, at the end of this file.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from st_llm_cli.cli.help_page import Commands, HelpGroup
from st_llm_cli.cli.options import DebugOption
from st_llm_cli.cli.screen import OnScreen, note, show_error
from st_llm_cli.errors import SYSTEM_FIXES, Interrupted, LostProcess, StllmError, UsageError

if TYPE_CHECKING:
    from typer._click import Command, Context


class OnUse(Mapping[str, "Command"]):
    """The commands of `COMMANDS` by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Command:
        module, function, _ = COMMANDS[name]
        found = getattr(import_module(f"st_llm_cli.cli.{module}"), function)
        if not isinstance(found, Commands):
            alone = Commands(name, "")
            alone.command(name)(found)
            found = alone
        found._add_completion = False  # belongs to `stllm` itself
        return get_command(found)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Everything(HelpGroup):
    """`stllm`: names all commands and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": OnUse()})

    def list_commands(self, ctx: Context) -> list[str]:
        """Names, in the order of the table."""
        return list(COMMANDS)

    def line_about(self, name: str) -> str:
        """What a command does, without importing it."""
        return COMMANDS[name][2]


app = Commands(
    "stllm",
    "Video language models that read every spatial-temporal token: describe, train, measure.",
    kind=Everything,
    epilog="Begin with `stllm demo`, which writes clips to play with.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from st_llm_cli import __version__

        typer.echo(f"stllm {__version__}")
        raise typer.Exit


@app.callback()
def stllm(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Print the version."),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """What stands before the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    0 ok, 1 failed, 2 wrong usage, 3 left alone by another process of several, 130 interrupted. An error
    that is neither a `StllmError` nor of the machine is a bug of this program and keeps its traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    _set_up_logs(debug)
    try:
        app(given, prog_name="stllm")
    except Interrupted as stopped:
        if _speaks_for_all():
            note(str(stopped))
        sys.exit(130)
    except StllmError as error:
        if debug:
            raise
        show_error(error)
        sys.exit(2 if isinstance(error, UsageError) else 3 if isinstance(error, LostProcess) else 1)
    except OSError as error:
        if debug or error.filename is None or error.errno not in SYSTEM_FIXES:
            raise
        show_error(StllmError.of_system(error))
        sys.exit(1)


def _set_up_logs(debug: bool) -> None:
    level = logging.DEBUG if debug else logging.WARNING
    if not _speaks_for_all():
        level = logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="stllm: %(message)s", handlers=[OnScreen()])
    logging.getLogger("st_llm_cli").setLevel(level)
    # On some CPUs bitsandbytes asks to install kernels for a layout of weights that is never used here.
    logging.getLogger("bitsandbytes.backends.cpu").setLevel(logging.NOTSET if debug else logging.ERROR)
    if not debug:
        # Advice of libraries about each other is of no use to someone who looks at a video.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        if not sys.stderr.isatty():  # at a terminal one wants to see gigabytes come in
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _speaks_for_all() -> bool:
    """Whether this is no other than the first of several processes."""
    return os.environ.get("RANK", "0") == "0"


# Name: (module, function, first line of its docstring), in the order in which one comes to need them.
COMMANDS = {
    "chat": ("chat", "chat", "Talk about videos: ask, ask on, look at another part, save."),
    "describe": ("describe", "describe", "Describe videos in words, or ask each of them a question."),
    "demo": ("demo", "demo", "Write short sample clips of moving shapes, with questions to try on them."),
    "doctor": (
        "doctor",
        "doctor",
        "Check this installation by doing: decode a clip with each reader, load a model, ask it something.",
    ),
    "train": ("train", "train", "Train a model by a recipe, stage by stage."),
    "run": ("run", "run", "Run every stage that a recipe selects: fill the token cache, train, measure."),
    "export": (
        "export",
        "export",
        "Write a run as one folder in transformers' format, LoRA merged, with a model card.",
    ),
    "eval": ("eval", "evaluate", "Measure a model on a benchmark."),
    "rescore": (
        "rescore",
        "rescore",
        "Score stored predictions again: with another judge, or a file that somebody else has shared.",
    ),
    "compare": ("compare", "compare", "Compare runs question by question, on those that both were asked."),
    "extract-features": (
        "extract_features",
        "extract_features",
        "Encode clips once and keep their tokens, for every later command and every question.",
    ),
    "recipes": ("recipes", "recipes", "List, show and check training recipes."),
    "models": ("models", "models", "Import, make, inspect and list models."),
    "cache": ("cache", "cache", "Look after the tokens of clips that are kept on disk."),
}
