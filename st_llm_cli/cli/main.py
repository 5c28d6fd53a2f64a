"""The command `stllm`: registers one file per command, and turns errors into words and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from st_llm_cli.cli.cache import cache
from st_llm_cli.cli.chat import chat
from st_llm_cli.cli.compare import compare
from st_llm_cli.cli.demo import demo
from st_llm_cli.cli.describe import describe
from st_llm_cli.cli.doctor import doctor
from st_llm_cli.cli.eval import evaluate
from st_llm_cli.cli.extract_features import extract_features
from st_llm_cli.cli.models import models
from st_llm_cli.cli.options import DebugOption
from st_llm_cli.cli.recipes import recipes
from st_llm_cli.cli.rescore import rescore
from st_llm_cli.cli.screen import show_error
from st_llm_cli.cli.train import train
from st_llm_cli.errors import StllmError, UsageError

app = typer.Typer(
    name="stllm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
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
    """Video language models that read every spatial-temporal token: describe, train, measure."""


app.command()(chat)
app.command()(describe)
app.command()(extract_features)
app.command()(demo)
app.command()(doctor)
app.command()(train)
app.command("eval")(evaluate)
app.command()(rescore)
app.command()(compare)
app.add_typer(recipes)
app.add_typer(cache)
app.add_typer(models)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    0 ok, 1 failed, 2 wrong usage, 130 interrupted. An error that is not a `StllmError` is a bug of
    this program and keeps its traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    _set_up_logs(debug)
    try:
        app(given, prog_name="stllm")
    except StllmError as error:
        if debug:
            raise
        show_error(error)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def _set_up_logs(debug: bool) -> None:
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="stllm: %(message)s", stream=sys.stderr)
    logging.getLogger("st_llm_cli").setLevel(level)
    if not debug:
        # Advice of libraries about each other is of no use to someone who looks at a video.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        if not sys.stderr.isatty():  # at a terminal one wants to see gigabytes come in
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
