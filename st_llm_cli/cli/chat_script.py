"""The conversation without a terminal: lines in, answers out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from st_llm_cli.cli.option_names import IN_CHAT, OPTIONS
from st_llm_cli.cli.screen import show_error
from st_llm_cli.errors import StllmError, UsageError

if TYPE_CHECKING:
    from st_llm_cli.cli.chat_desk import Desk


def answer_lines(desk: Desk, lines: Iterable[str], *, as_json: bool) -> bool:
    """Answer questions and obey commands, a line each; whether all of it worked.

    A line that does not work is reported on standard error, and the next one follows.
    """
    from st_llm_cli.cli.chat_commands import run_command
    from st_llm_cli.cli.chat_desk import answer, told_if_unforeseen, write_plain

    def hold_back(pieces: Iterator[str]) -> None:
        for _ in pieces:
            pass

    worked, heard = True, False
    for line in lines:
        heard = True
        try:
            if line.startswith("/"):
                with told_if_unforeseen(line):
                    run_command(desk, line)
                if desk.leaving:
                    break
                continue
            with told_if_unforeseen(line):
                turn = answer(desk, line, hold_back if as_json else write_plain)
            if turn is None or turn.ending == "stopped":
                raise KeyboardInterrupt  # a script that is interrupted goes no further
            if as_json:
                row = {"question": turn.question, "answer": turn.answer, "ending": turn.ending}
                typer.echo(json.dumps(row, ensure_ascii=False))
        except StllmError as error:
            show_error(error, IN_CHAT if line.startswith("/") else OPTIONS)
            worked = False
    if not heard:
        fix = 'pipe questions to it, a line each, or ask with --question "…"'
        raise UsageError("no question came", where="standard input", fix=fix)
    return worked


def lines_of_input() -> Iterator[str]:
    """Lines of standard input that are not blank.

    Raises:
        UsageError: If it is closed.
    """
    if sys.stdin is None:
        raise UsageError("is closed", where="standard input", fix='ask with --question "…"')
    # What is not UTF-8 in a question is no reason to stop.
    lines = (line.decode(errors="replace").strip() for line in sys.stdin.buffer)
    return (line for line in lines if line)
