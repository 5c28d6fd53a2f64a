"""Which kind of pictures a terminal draws: told by its name, else asked."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from st_llm_cli.errors import UsageError

PICTURES = ("auto", "kitty", "iterm", "sixel", "blocks")
"""How pictures can be drawn; `auto` leaves it to the terminal, `blocks` are characters in two colours."""
ANSWER_SECONDS = 0.5
"""How long to wait for a terminal's answer, which may come by way of ssh."""
QUESTION = (
    "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # is answered by those that know kitty's pictures
    "\x1b[>q"  # name and version
    "\x1b[16t"  # size of a character in pixels
    "\x1b[c"  # what it can do; all terminals answer this, and it is the last answer
)
LAST_ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
ANSWERS = re.compile(rb"\x1b_G.*?\x1b\\|\x1bP>\|.*?\x1b\\|\x1b\[[\d;]*t|\x1b\[\?[\d;]*c", re.DOTALL)
NAMES = {
    ("TERM", "xterm-kitty"): "kitty",
    ("TERM", "xterm-ghostty"): "kitty",
    ("TERM_PROGRAM", "iTerm.app"): "iterm",
    ("LC_TERMINAL", "iTerm2"): "iterm",
}
"""Variables by which terminals can be told."""
NOT_ASKED = {("TERM", "dumb"), ("TERM", "linux"), ("TERM_PROGRAM", "Apple_Terminal")}
"""Terminals without pictures that would show the question instead of answering it."""


@dataclass(frozen=True)
class Screen:
    """What can be drawn on a terminal."""

    pictures: str
    """One of `PICTURES`, but not `auto`."""
    cell: tuple[int, int] = (10, 20)
    """Width and height of a character, pixels."""


def check_pictures(name: str, where: str) -> str:
    """Refuse what is none of `PICTURES`.

    Raises:
        UsageError: Naming `where`.
    """
    if name not in PICTURES:
        raise UsageError(f"no way '{name}' to draw", where=where, fix=f"choose {', '.join(PICTURES)}")
    return name


def look_at_terminal(environment: Mapping[str, str] = os.environ) -> Screen:
    """Find out what the terminal on standard input and output draws; blocks if it does not say.

    A multiplexer keeps pictures of its own, so the names of what is around it do not count.
    """
    if sys.platform == "win32" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Screen("blocks")
    cell = cell_size(sys.stdout.fileno())
    named = None if "TMUX" in environment or "STY" in environment else by_name(environment)
    if named is not None:
        return Screen(named, cell or Screen.cell)
    if any(environment.get(name) == value for name, value in NOT_ASKED):
        return Screen("blocks", cell or Screen.cell)
    answer = ask(sys.stdin.fileno(), sys.stdout.fileno())
    _keep_for_the_prompt(ANSWERS.sub(b"", answer))
    return by_answer(answer, cell)


def by_name(environment: Mapping[str, str]) -> str | None:
    """Kind of pictures by the terminal's name; None if it has none that is known."""
    kinds = [kind for (name, value), kind in NAMES.items() if environment.get(name) == value]
    return kinds[0] if kinds else None


def by_answer(answer: bytes, cell: tuple[int, int] | None) -> Screen:
    """Understand what a terminal answered to `QUESTION`.

    Args:
        answer: All of it; empty if none came.
        cell: Size of a character, if that is known already.
    """
    if cell is None and (size := re.search(rb"\x1b\[6;(\d+);(\d+)t", answer)):
        cell = (int(size[2]), int(size[1]))
    cell = cell if cell and all(cell) else Screen.cell
    if b"\x1b_Gi=31;OK" in answer:
        return Screen("kitty", cell)
    if re.search(rb"\x1bP>\|(iTerm2|WezTerm|mintty)", answer):
        return Screen("iterm", cell)
    can = LAST_ANSWER.search(answer)
    return Screen("sixel" if can and b"4" in can[1].split(b";") else "blocks", cell)


def ask(inputs: int, outputs: int, seconds: float = ANSWER_SECONDS) -> bytes:
    """Put `QUESTION` to a terminal; what comes back until the last answer, or until the time is over."""
    import select
    import termios
    import tty

    before = termios.tcgetattr(inputs)
    answer = b""
    try:
        tty.setcbreak(inputs, termios.TCSADRAIN)  # not TCSAFLUSH, which throws away what was typed already
        os.write(outputs, QUESTION.encode("ascii"))
        until = time.monotonic() + seconds
        while not LAST_ANSWER.search(answer):
            ready, _, _ = select.select([inputs], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                break
            answer += os.read(inputs, 1024)
    finally:
        termios.tcsetattr(inputs, termios.TCSADRAIN, before)
    return answer


def cell_size(outputs: int) -> tuple[int, int] | None:
    """Width and height of a character in pixels; None where the system does not know."""
    import fcntl
    import struct
    import termios

    try:
        size = fcntl.ioctl(outputs, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return None
    rows, columns, width, height = struct.unpack("HHHH", size)
    return (width // columns, height // rows) if width and height and rows and columns else None


def _keep_for_the_prompt(typed: bytes) -> None:
    """Hand what was typed meanwhile to the next prompt."""
    from prompt_toolkit.input import create_input
    from prompt_toolkit.input.typeahead import store_typeahead
    from prompt_toolkit.input.vt100_parser import Vt100Parser
    from prompt_toolkit.key_binding import KeyPress

    keys: list[KeyPress] = []
    parser = Vt100Parser(keys.append)
    parser.feed_and_flush(typed.decode(errors="replace"))
    store_typeahead(create_input(), keys)
