"""The conversation in a terminal: line editing, completion, a status line, answers as they are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.styles import Style
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from st_llm_cli.cli.chat_commands import COMMANDS, run_command
from st_llm_cli.cli.chat_desk import Desk, answer, told_if_unforeseen, write_plain
from st_llm_cli.cli.option_names import IN_CHAT
from st_llm_cli.cli.picture_terminal import PICTURES
from st_llm_cli.cli.screen import show_error
from st_llm_cli.errors import StllmError

PROMPT = "> "
PATHS_AFTER = ("video", "add", "save", "load")
VALUES = {"pictures": PICTURES}
"""Values of the options that have a fixed set of them."""
REFRESH_PER_SECOND = 12


def converse(desk: Desk) -> None:
    """Talk until the user leaves; a mistake costs a line of explanation, never the conversation."""
    prompt: PromptSession[str] = PromptSession(
        PROMPT,
        history=_history(),
        completer=SlashCompleter(),
        reserve_space_for_menu=5,
        bottom_toolbar=lambda: desk.status(desk.console.width),
        style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"}),
    )
    while not desk.leaving:
        try:
            line = prompt.prompt().strip()
        except KeyboardInterrupt:  # clears the line, as in a shell
            continue
        except EOFError:
            return
        if line:
            hear(desk, line)


def hear(desk: Desk, line: str) -> None:
    """Do what a line asks for: a command, or an answer."""
    try:
        with told_if_unforeseen(line):
            if line.startswith("/"):
                run_command(desk, line)
            else:
                answer(desk, line, lambda pieces: write_markdown(desk, pieces))
    except StllmError as error:
        show_error(error, IN_CHAT)
    except KeyboardInterrupt:
        desk.tell("interrupted")


def write_markdown(desk: Desk, pieces: Iterator[str]) -> None:
    """Write an answer as it comes, formatted; where the terminal can only append, as plain text."""
    console = desk.console
    if console.is_dumb_terminal:
        write_plain(pieces)
        return
    text = ""
    try:
        # What scrolled away cannot be drawn again: only the end is shown until the answer is whole.
        live = Live(console=console, transient=True, refresh_per_second=REFRESH_PER_SECOND)
        with without_echo(), live:
            for piece in pieces:
                text += piece
                live.update(_end_of(desk, text))
    finally:
        if text:
            console.print(Markdown(text))


@contextmanager
def without_echo() -> Iterator[None]:
    """Keep keys off the screen, `^C` too: they would shift what is drawn there."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (ValueError, OSError, termios.error):  # no terminal
        yield
        return
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class SlashCompleter(Completer):
    """Completes commands, and file names, options and their values behind them."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What could stand at the end of the line."""
        line = document.text_before_cursor
        if not line.startswith("/"):
            return
        name, blank, argument = line[1:].partition(" ")
        if not blank:
            for command, details in COMMANDS.items():
                if command.startswith(name):
                    text = f"{command} " if details.takes else command
                    yield Completion(text, -len(name), display=command, display_meta=details.about)
        elif name in PATHS_AFTER:
            # A name may have blanks, and several names may follow each other.
            for typed in (argument.lstrip(), argument.rpartition(" ")[2]):
                found = list(self._paths.get_completions(Document(typed), complete_event))
                if found:
                    yield from map(_with_slash, found)
                    return
        elif name == "set":
            option, blank, value = argument.lstrip().partition(" ")
            words, typed = (VALUES.get(option, ()), value.lstrip()) if blank else (_option_names(), option)
            yield from (Completion(word, -len(typed)) for word in words if word.startswith(typed))


def _with_slash(found: Completion) -> Completion:
    """Let what completes to a folder end in the slash that is shown of it."""
    ending = "/" if found.display_text.endswith("/") else ""
    return Completion(f"{found.text}{ending}", found.start_position, found.display)


def _option_names() -> list[str]:
    from dataclasses import fields

    from st_llm_cli.model.generation import Generation

    return [*(field.name for field in fields(Generation)), "pictures"]


def _end_of(desk: Desk, text: str) -> Text | Markdown:
    """The last lines of a text that is still being written, as many as the terminal shows."""
    room = max(1, desk.console.height - 2)
    lines = desk.console.render_lines(Markdown(text), pad=False)
    if len(lines) <= room:
        return Markdown(text)
    tail = ["".join(segment.text for segment in line) for line in lines[-room:]]
    return Text("\n".join(tail))


def _history() -> History:
    """Questions of earlier conversations; of this one only, where they cannot be kept."""
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "stllm"
    path = folder / "chat_history"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.open("a").close()
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(path)
