"""What begins with a slash in `stllm chat`."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from st_llm_cli.cli.chat_desk import Desk, cost
from st_llm_cli.cli.picture_terminal import check_pictures
from st_llm_cli.cli.times import clock, window_of
from st_llm_cli.errors import UsageError


@dataclass(frozen=True)
class Command:
    """One command."""

    run: Callable[[Desk, str], None]
    takes: str
    """What stands behind it."""
    about: str


def run_command(desk: Desk, line: str) -> None:
    """Do what a line says that begins with a slash.

    Raises:
        StllmError: If there is no such command, or it cannot be done; the conversation is as before.
    """
    name, _, argument = line.strip().removeprefix("/").partition(" ")
    name = ALIASES.get(name.lower(), name.lower())
    if name not in COMMANDS:
        if name and _is_there(line.strip()):
            raise UsageError("a path, not a command", where=line.strip(), fix=f"/video {line.strip()}")
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        fix = f"did you mean /{close[0]}?" if close else "/help lists what there is"
        raise UsageError("no such command", where=f"/{name}", fix=fix)
    COMMANDS[name].run(desk, argument.strip())


def show_help(desk: Desk, argument: str) -> None:
    """List the commands."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for name, command in COMMANDS.items():
        table.add_row(Text(f"/{name} {command.takes}".strip()), Text(command.about))
    desk.console.print(table)
    if desk.interactive:
        desk.tell("Ctrl-C stops an answer, Ctrl-D leaves, Tab completes, the up arrow brings questions back.")


def video(desk: Desk, argument: str) -> None:
    """Look at other videos."""
    views = [desk.view(path, start=start, end=end) for path, start, end in _videos(argument, "/video")]
    _refuse_loss(desk, "/video", [view.path for view in views], "/add FILE goes on with it, ")
    before = len(desk.chat.turns)
    for seen in desk.chat.watch(*views, new_tokens=desk.generation.max_new_tokens):
        desk.introduce(seen)
    desk.saved, desk.saved_turns = None, ()
    if before:
        desk.tell("a new conversation begins; /add FILE would have gone on with the old one")


def add(desk: Desk, argument: str) -> None:
    """Look at one more video."""
    for path, start, end in _videos(argument, "/add"):
        view = desk.view(path, start=start, end=end)
        desk.introduce(desk.chat.add(view, desk.generation.max_new_tokens))


def clip(desk: Desk, argument: str) -> None:
    """Look at another part of the last video."""
    if not argument:
        raise UsageError("which part?", where="/clip", fix="write /clip 0:10-0:25, or /clip all")
    start, end = (None, None) if argument == "all" else window_of(argument, "/clip")
    desk.introduce(desk.chat.look_again(desk.generation.max_new_tokens, start=start, end=end))


def frames(desk: Desk, argument: str) -> None:
    """Look at more or fewer frames of the last video."""
    if not argument.isdecimal() or len(argument) > 6 or int(argument) < 1:
        raise UsageError(f"'{argument}' is not a number of frames", where="/frames", fix="write /frames 16")
    wanted = int(argument)
    desk.introduce(desk.chat.look_again(desk.generation.max_new_tokens, num_frames=wanted, fps=None))


def show(desk: Desk, argument: str) -> None:
    """Draw the frames."""
    from st_llm_cli.cli.filmstrip import MOST_FRAMES, draw_film_strip

    if not desk.chat.seen:
        raise UsageError("there is no video yet", where="/show", fix="give one: /video FILE")
    for seen in desk.chat.seen:
        total = len(seen.clip.times_seconds)
        some = f"{MOST_FRAMES} of " if total > MOST_FRAMES else ""
        desk.tell(f"{seen.view.path.name}: {some}{total} frames as the model sees them")
        draw_film_strip(desk.chat.pictures(seen), desk.console, desk.screen())


def reset(desk: Desk, argument: str) -> None:
    """Forget what was said."""
    desk.chat.session.reset()
    desk.tell("what was said is forgotten; the video stays")


def undo(desk: Desk, argument: str) -> None:
    """Take back the last question."""
    turn = desk.chat.session.undo()
    desk.tell("nothing was said yet" if turn is None else f"taken back: {turn.question}")


def save(desk: Desk, argument: str) -> None:
    """Write the conversation down."""
    from st_llm_cli.stages.chat_file import save_chat

    given = _path(argument, "/save") if argument else None
    if given is None and desk.saved is None:
        stem = desk.chat.seen[-1].view.path.stem if desk.chat.seen else "conversation"
        given = Path(f"{stem}.chat.json")
    path = given or desk.saved
    assert path is not None
    own = desk.saved is not None and path.resolve() == desk.saved.resolve()
    if path.exists() and not own:
        raise UsageError("there is a file of this name", where=str(path), fix="/save OTHER-NAME")
    save_chat(desk.chat, path)
    desk.saved, desk.saved_turns = path, tuple(desk.chat.turns)
    desk.tell(f"saved as {path}; /load {path} takes it up again")


def load(desk: Desk, argument: str) -> None:
    """Take up a saved conversation."""
    from st_llm_cli.stages.chat_file import load_chat

    if not argument:
        raise UsageError("which conversation?", where="/load", fix="write /load FILE")
    path = _path(argument, "/load")
    _refuse_loss(desk, "/load", [path])
    desk.chat = load_chat(path, desk.chat.model, max_turns=desk.chat.max_turns)
    desk.saved, desk.saved_turns = path, tuple(desk.chat.turns)
    for seen in desk.chat.seen:
        desk.introduce(seen)
    if desk.interactive:
        for turn in desk.chat.turns:
            desk.console.print(f"> {turn.question}", style="bold", markup=False, highlight=False)
            desk.console.print(turn.answer, markup=False, highlight=False)


def _refuse_loss(desk: Desk, command: str, files: list[Path], instead: str = "") -> None:
    """Refuse what begins another conversation while answers of this one stand in no file."""
    unsaved = len(desk.unsaved_turns())
    # A script has printed its answers, and has nobody to think again. What is not there replaces nothing.
    if unsaved and desk.interactive and all(path.exists() for path in files):
        answers = f"{unsaved} answers" if unsaved > 1 else "the last answer"
        what = f"it would replace this conversation, and {answers} would be lost"
        fix = f"{instead}/save keeps it, /reset gives it up; then {command} again"
        raise UsageError(what, where=command, fix=fix)


def set_option(desk: Desk, argument: str) -> None:
    """Change how to answer and draw, or list how."""
    name, _, value = argument.replace("=", " ").partition(" ")
    name, value = name.strip().removeprefix("--").replace("-", "_"), value.strip()
    now = {**asdict(desk.generation), "pictures": desk.pictures}
    if not name:
        for option, chosen in now.items():
            desk.console.print(f"{option} {chosen}", highlight=False)
        return
    if name not in now:
        close = difflib.get_close_matches(name, now, n=1)
        fix = f"did you mean {close[0]}?" if close else f"there are {', '.join(now)}"
        raise UsageError(f"no option '{name}'", where="/set", fix=fix)
    if name == "pictures":
        desk.pictures = check_pictures(value, "/set pictures")
    else:
        changed: dict[str, Any] = {name: _number(value, name, now[name])}
        desk.generation = replace(desk.generation, **changed)
    new = desk.pictures if name == "pictures" else getattr(desk.generation, name)
    desk.tell(f"{name} is {new} now, was {now[name]}")


def _number(text: str, name: str, now: int | float) -> int | float:
    """Read a number of the kind that an option is."""
    try:
        return type(now)(text)
    except ValueError as error:
        kind = "a whole number" if isinstance(now, int) else "a number"
        raise UsageError(f"'{text}' is not {kind}", where=f"/set {name}", fix=f"it is {now} now") from error


def timing(desk: Desk, argument: str) -> None:
    """Say what answers cost, from now on or no longer."""
    if argument not in ("", "on", "off"):
        raise UsageError(f"'{argument}' is neither on nor off", where="/timing", fix="/timing on")
    desk.timing = argument == "on" if argument else not desk.timing
    for seen in desk.chat.seen:
        times = f"read in {seen.read_seconds:.2f} s, looked at in {seen.look_seconds:.2f} s"
        desk.tell(f"{seen.view.path.name}: {times}")
    for turn in desk.chat.turns:
        desk.tell(f"{turn.question}: {cost(turn)}")
    desk.tell(f"timing is {'on' if desk.timing else 'off'}")


def why_not_working(desk: Desk, argument: str) -> None:
    """Say what may be wrong with the answers."""
    model = desk.chat.model
    config = model.model.config
    for seen in desk.chat.seen:
        at = ", ".join(clock(time) for time in seen.clip.times_seconds[:8])
        more = ", …" if len(seen.clip.times_seconds) > 8 else ""
        desk.tell(f"{seen.view.path.name}: {len(seen.clip.indices)} frames, at {at}{more}")
    desk.tell(
        f"model {model.folder} on {model.model.device}, {str(model.model.dtype).removeprefix('torch.')}"
    )
    if config.reads_question:
        each = desk.chat.session.looks_for_each_question
        desk.tell(f"it looks at the clip {'for each question' if each else 'for the first question only'}")
    doubts = desk.chat.doubts(desk.generation)
    for doubt in doubts:
        desk.console.print(doubt, markup=False, highlight=False)
    if not doubts:
        text = (
            "Nothing speaks against these answers. /show draws what was seen; `stllm doctor` tests all parts."
        )
        desk.console.print(text, markup=False, highlight=False)


def leave(desk: Desk, argument: str) -> None:
    """Leave."""
    desk.leaving = True


def _videos(argument: str, command: str) -> list[tuple[Path, float | None, float | None]]:
    """Paths behind a command, each with the stretch of time that may follow it."""
    if argument and _is_there(argument):
        return [(_path(argument, command), None, None)]
    name, _, last = argument.rpartition(" ")
    if name and _is_window(last) and _is_there(name):
        return [(_path(name, command), *window_of(last, command))]
    try:
        words = shlex.split(argument)
    except ValueError as error:
        raise UsageError("a quotation mark is missing", where=command, fix="close it") from error
    if not words:
        raise UsageError("which video?", where=command, fix=f"write {command} FILE")
    found: list[tuple[Path, float | None, float | None]] = []
    for word in words:
        path = _path(word, command)
        if found and _is_window(word):
            found[-1] = (found[-1][0], *window_of(word, command))
        else:
            found.append((path, None, None))
    return found


def _path(text: str, command: str) -> Path:
    """Take what stands behind a command for the name of a file.

    Raises:
        UsageError: If no file can be called so.
    """
    try:
        path = Path(text).expanduser()
        path.lstat()
    except FileNotFoundError:
        return path
    except (RuntimeError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        what = f"no file can be there: {reason}"
        raise UsageError(what, where=f"{command} {text[:60]}", fix="check the name") from error
    return path


def _is_window(word: str) -> bool:
    return word[:1] in "-0123456789" and "-" in word and not _is_there(word)


def _is_there(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (RuntimeError, OSError):  # nobody of this name, or a name that no file can have
        return False


COMMANDS = {
    "help": Command(show_help, "", "list these commands"),
    "video": Command(video, "FILE [0:10-0:25]", "look at another video, in a new conversation"),
    "add": Command(add, "FILE [0:10-0:25]", "look at one more video, and go on"),
    "clip": Command(clip, "0:10-0:25|all", "look at this part of the video"),
    "frames": Command(frames, "N", "look at so many frames"),
    "show": Command(show, "", "draw the frames it saw"),
    "undo": Command(undo, "", "take back the last question and its answer"),
    "reset": Command(reset, "", "forget what was said, not the video"),
    "save": Command(save, "[FILE]", "save the conversation"),
    "load": Command(load, "FILE", "take up a saved conversation; moved videos are found again"),
    "set": Command(set_option, "[NAME VALUE]", "how to answer and draw: temperature, pictures …"),
    "timing": Command(timing, "[on|off]", "what each answer costs"),
    "why-not-working": Command(why_not_working, "", "what may be wrong with the answers"),
    "quit": Command(leave, "", "leave; so does Ctrl-D"),
}
ALIASES = {"exit": "quit", "q": "quit", "?": "help", "h": "help", "why": "why-not-working"}
