"""A terminal is told by its name, else asked; each answer is understood, and none is waited for long."""

import os
import pty
import select
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import get_typeahead

from st_llm_cli.cli.picture_terminal import (
    QUESTION,
    Screen,
    ask,
    by_answer,
    by_name,
    check_pictures,
    look_at_terminal,
)
from st_llm_cli.errors import UsageError

PLAIN = b"\x1b[?64;1;2;22c"
KITTY = b"\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.40)\x1b\\\x1b[6;18;9t\x1b[?62;c"
ITERM = b"\x1bP>|iTerm2 3.5.0\x1b\\\x1b[?62;4c"
SIXEL = b"\x1bP>|foot(1.16.2)\x1b\\\x1b[6;20;10t\x1b[?62;4;22c"


@pytest.mark.parametrize(
    ("answer", "screen"),
    [
        (KITTY, Screen("kitty", (9, 18))),
        (ITERM, Screen("iterm")),
        (SIXEL, Screen("sixel", (10, 20))),
        (PLAIN, Screen("blocks")),
        (b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\" + PLAIN, Screen("blocks")),
        (b"\x1b[?64;14;44c", Screen("blocks")),
        (b"\x1b[6;0;0t" + PLAIN, Screen("blocks")),
        (b"", Screen("blocks")),
    ],
)
def test_answers_are_understood(answer: bytes, screen: Screen) -> None:
    assert by_answer(answer, None) == screen


def test_the_size_the_system_knows_counts_more() -> None:
    assert by_answer(SIXEL, (7, 14)) == Screen("sixel", (7, 14))


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color"}, None),
    ],
)
def test_names_are_known(environment: dict[str, str], kind: str | None) -> None:
    assert by_name(environment) == kind


def test_no_other_way_to_draw_is_taken() -> None:
    with pytest.raises(UsageError, match="no way 'sixels' to draw"):
        check_pictures("sixels", "--pictures")


# ---- a terminal that answers, played by a thread at the other end of a pty


@dataclass
class Played:
    """What the other end was sent."""

    near: int
    heard: bytes = b""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator:  # type: ignore[type-arg]
    far, near = pty.openpty()
    over = threading.Event()
    played = Played(near)
    threads = []
    stream = os.fdopen(os.dup(near), "r", encoding="utf-8")

    def answers(answer: bytes) -> Played:
        def play() -> None:
            while not over.is_set():
                if select.select([far], [], [], 0.05)[0]:
                    played.heard += os.read(far, 1024)
                    if played.heard.endswith(QUESTION.encode()):
                        os.write(far, answer)

        threads.append(threading.Thread(target=play))
        threads[0].start()
        # Not before the test itself runs: until then the runner has streams of its own to put there.
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        return played

    answers.far = far  # type: ignore[attr-defined]
    yield answers
    over.set()
    for thread in threads:
        thread.join()
    stream.close()
    os.close(near)
    os.close(far)


def test_a_terminal_is_asked_and_left_as_it_was(terminal) -> None:  # type: ignore[no-untyped-def]
    played = terminal(SIXEL)
    before = termios.tcgetattr(played.near)
    assert look_at_terminal({"TERM": "foot"}) == Screen("sixel", (10, 20))
    assert termios.tcgetattr(played.near) == before


def test_a_silent_terminal_is_not_waited_for_long(terminal) -> None:  # type: ignore[no-untyped-def]
    played = terminal(b"")
    began = time.monotonic()
    assert ask(played.near, played.near, 0.1) == b""
    assert time.monotonic() - began < 5
    assert played.heard == QUESTION.encode()


@pytest.mark.parametrize(
    ("environment", "pictures"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "linux"}, "blocks"),
        ({"TERM": "dumb"}, "blocks"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "blocks"),
    ],
)
def test_a_terminal_known_by_name_is_not_asked(terminal, environment: dict[str, str], pictures: str) -> None:  # type: ignore[no-untyped-def]
    played = terminal(SIXEL)
    assert look_at_terminal(environment).pictures == pictures
    assert played.heard == b""


def test_a_multiplexer_answers_for_itself(terminal) -> None:  # type: ignore[no-untyped-def]
    terminal(PLAIN)
    assert look_at_terminal({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}).pictures == "blocks"


def test_what_was_typed_meanwhile_is_not_lost(terminal) -> None:  # type: ignore[no-untyped-def]
    terminal(b"Wh" + KITTY + b"ere")
    os.write(terminal.far, b"and then?\n")
    assert look_at_terminal({"TERM": "xterm-256color"}).pictures == "kitty"
    typed = "".join(key.data for key in get_typeahead(create_input()))
    assert typed.startswith("and then?") and "Wh" in typed


def test_without_a_terminal_there_are_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", open(os.devnull, encoding="utf-8"))  # noqa: SIM115
    assert look_at_terminal({"TERM": "xterm-kitty"}) == Screen("blocks")
