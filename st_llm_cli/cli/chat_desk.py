"""What a conversation on screen needs: the chat, how to answer, and where to write."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from st_llm_cli.cli.picture_terminal import Screen, look_at_terminal
from st_llm_cli.cli.screen import note
from st_llm_cli.cli.times import clock
from st_llm_cli.errors import StllmError

if TYPE_CHECKING:
    from st_llm_cli.model.generation import Generation
    from st_llm_cli.model.session import Turn
    from st_llm_cli.stages.chat import Chat, Seen, View


@dataclass
class Desk:
    """State of a conversation on screen; the commands change it."""

    chat: Chat
    generation: Generation
    view: Callable[..., View]
    """Makes a view of a path, with what the command line said about frames and reader."""
    console: Console
    """Standard output."""
    interactive: bool
    """Whether someone sits before it."""
    timing: bool = False
    """Whether to say after each answer what it cost."""
    leaving: bool = False
    saved: Path | None = None
    """File the conversation was saved to or loaded from."""
    saved_turns: tuple[Turn, ...] = ()
    """What that file holds of it; nothing if there is none."""
    told: set[str] = field(default_factory=set)
    """What was said once already and need not be said again."""
    pictures: str = "auto"
    """How frames are drawn: one of `picture_terminal.PICTURES`."""
    _screen: Screen | None = None

    def tell(self, text: str) -> None:
        """Say something that is no result: among the conversation, or on standard error for a script."""
        if self.interactive:
            self.console.print(text, style="dim", markup=False, highlight=False)
        else:
            note(text)

    def screen(self) -> Screen:
        """What frames are drawn on; a terminal is asked when it is needed first."""
        if self.pictures == "blocks" or not self.interactive:
            return Screen("blocks" if self.pictures == "auto" else self.pictures)
        if self._screen is None:
            self._screen = look_at_terminal()
        if self.pictures != "auto":
            return replace(self._screen, pictures=self.pictures)
        return Screen("blocks") if self.console.no_color else self._screen

    def introduce(self, seen: Seen) -> None:
        """Say what was looked at, and what speaks against trusting the answers."""
        clip, source = seen.clip, seen.clip.source
        if self.interactive:
            span = f"{clock(clip.times_seconds[0])}-{clock(clip.times_seconds[-1])}"
            tokens = self.chat.model.model.config.tokens_per_clip(len(clip.indices))
            self.tell(
                f"{seen.view.path.name} · {span} of {clock(source.duration_seconds)} · "
                f"{len(clip.indices)} frames · {tokens} tokens · "
                f"read in {seen.read_seconds:.2f} s, looked at in {seen.look_seconds:.2f} s"
            )
        caveat = self.chat.model.caveat(clip)
        for text in (source.fallback_reason, caveat):
            if text and text not in self.told:
                self.told.add(text)
                self.tell(text)

    def unsaved_turns(self) -> list[Turn]:
        """What was said and stands in no file."""
        return [turn for turn in self.chat.turns if turn not in self.saved_turns]

    def status(self, width: int) -> str:
        """One line about where the conversation stands, as much of it as fits."""
        parts = []
        if not self.chat.seen:
            parts.append("no clip: /video FILE")
        else:
            seen = self.chat.seen[-1]
            more = f" +{len(self.chat.seen) - 1}" if len(self.chat.seen) > 1 else ""
            times = seen.clip.times_seconds
            parts.append(f"{_short(seen.view.path.name, max(12, width // 3))}{more}")
            parts.append(f"{len(times)} frames")
            parts.append(f"{clock(times[0])}-{clock(times[-1])}")
        work = self.chat.turns[-1].work if self.chat.turns else None
        if work is not None:
            used = work.reused_tokens + work.read_tokens + work.new_tokens
            parts += [f"{_speed(self.chat.turns[-1])} tok/s", f"first {work.first_token_seconds:.2f} s"]
            parts.append(f"{used} tokens")
        elif self.chat.seen:
            parts.append(f"{self.chat.video_tokens()} tokens")
        line = f" {parts[0]}"
        for part in parts[1:]:
            if len(line) + 3 + len(part) <= width:
                line += f" · {part}"
        return line[:width]


def answer(desk: Desk, question: str, write: Callable[[Iterator[str]], None]) -> Turn | None:
    """Ask, and write the answer as it comes; the first Ctrl-C ends the answer after its next word.

    Args:
        desk: The conversation.
        question: The question.
        write: Puts the pieces on the screen.

    Returns:
        The turn; None if it was stopped before its first word.
    """
    from st_llm_cli.stages.question import SAID_NOTHING, not_known

    before = len(desk.chat.turns)
    with stop_on_interrupt() as should_stop:
        pieces = desk.chat.ask(question, desk.generation, should_stop)
        with closing(pieces):  # type: ignore[type-var]
            write(pieces)
    if len(desk.chat.turns) == before:
        desk.tell("stopped before the first word")
        return None
    turn = desk.chat.turns[-1]
    if turn.work is not None and turn.work.dropped_turns:
        dropped = turn.work.dropped_turns
        desk.tell(f"the oldest {dropped} of {before} turns no longer fit; the model has not read them")
    if unknown := desk.chat.model.unknown_words(question):
        desk.tell(not_known(unknown))
    elif turn.ending == "end" and not turn.answer.strip():
        desk.tell(SAID_NOTHING)
    if turn.ending == "length" and desk.interactive:
        desk.tell("cut at its longest; /set max_new_tokens N allows more")
    if turn.ending == "stopped":
        desk.tell("stopped; what is there stays in the conversation")
    if desk.timing:
        desk.tell(cost(turn))
    return turn


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Take the first Ctrl-C as a wish to stop; a second one interrupts at once."""
    wishes: list[int] = []

    def wish(number: int, frame: Any) -> None:
        wishes.append(number)
        if len(wishes) > 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, wish)
    try:
        yield lambda: bool(wishes)
    finally:
        signal.signal(signal.SIGINT, before)


def write_plain(pieces: Iterator[str]) -> None:
    """Write an answer to standard output as it comes, and end its line."""
    written = False
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        written = True
    if written:
        sys.stdout.write("\n")
        sys.stdout.flush()


def cost(turn: Turn) -> str:
    """What an answer cost, in words."""
    work = turn.work
    if work is None:
        return "loaded"
    return (
        f"first token {work.first_token_seconds:.2f} s · {work.new_tokens} tokens at {_speed(turn)}/s · "
        f"read {work.read_tokens}, known {work.reused_tokens}"
    )


def _speed(turn: Turn) -> str:
    """Tokens per second after the first; of all tokens where they come at once."""
    work = turn.work
    assert work is not None
    if work.num_beams > 1:
        return f"{work.new_tokens / work.seconds:.0f}"
    seconds = work.seconds - work.first_token_seconds
    return f"{(work.new_tokens - 1) / seconds:.0f}" if seconds > 0 and work.new_tokens > 1 else "-"


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


@contextmanager
def told_if_unforeseen(line: str) -> Iterator[None]:
    """Turn an error that nobody foresaw into one that is told: it must not end the conversation.

    Args:
        line: What was asked for.

    Raises:
        StllmError: In its place.
    """
    try:
        yield
    except StllmError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # nobody reads what is written any more
        what = f"failed in a way nobody foresaw: {type(error).__name__}: {error}"
        fix = "the conversation is still there; /save keeps it"
        raise StllmError(what, where=f"'{line[:40]}'", fix=fix) from error
