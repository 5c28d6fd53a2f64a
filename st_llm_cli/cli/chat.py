"""`stllm chat`: a conversation about videos."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.chat_script import answer_lines, lines_of_input
from st_llm_cli.cli.options import (
    ANSWER,
    LOOK,
    MODEL,
    CacheOption,
    CompatOption,
    DebugOption,
    DeviceOption,
    DtypeOption,
    EndOption,
    FpsOption,
    FramesOption,
    JsonOption,
    MaxNewTokensOption,
    ModelOption,
    NumBeamsOption,
    ReaderOption,
    RepetitionPenaltyOption,
    SeedOption,
    StartOption,
    TemperatureOption,
    TopPOption,
)
from st_llm_cli.cli.picture_terminal import check_pictures
from st_llm_cli.cli.screen import console_of
from st_llm_cli.cli.times import seconds_of
from st_llm_cli.cli.token_cache import note_use, open_cache
from st_llm_cli.errors import UsageError
from st_llm_cli.model.generation import Generation, generation_of

if TYPE_CHECKING:
    from st_llm_cli.cli.chat_desk import Desk
    from st_llm_cli.stages.chat import View
    from st_llm_cli.stages.video_model import VideoModel
    from st_llm_cli.tokens.store import TokenCache


def chat(
    videos: Annotated[
        list[Path] | None, typer.Argument(metavar="VIDEO", help="What to talk about; also later by /video.")
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question", "-q", metavar="TEXT", help="Ask this, print the answer and leave; may be repeated."
        ),
    ] = None,
    load: Annotated[
        Path | None, typer.Option("--load", metavar="FILE", help="Take up a saved conversation.")
    ] = None,
    start: StartOption = None,
    end: EndOption = None,
    frames: FramesOption = None,
    fps: FpsOption = None,
    reader: ReaderOption = "pyav",
    visual_tokens: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            rich_help_panel=LOOK,
            help="per-question or first-question: when a model that looks with the question in mind looks.",
        ),
    ] = "per-question",
    remember: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            rich_help_panel=ANSWER,
            help="Earlier turns the model is shown; default: all that fit, 1 for the bundled model.",
        ),
    ] = None,
    pictures: Annotated[
        str,
        typer.Option(metavar="HOW", help="How /show draws frames: auto, kitty, iterm, sixel or blocks."),
    ] = "auto",
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            metavar="",
            rich_help_panel=MODEL,
            help="On a GPU: write faster, for half a minute before the first conversation.",
        ),
    ] = False,
    compat: CompatOption = None,
    cache: CacheOption = None,
    max_new_tokens: MaxNewTokensOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    num_beams: NumBeamsOption = None,
    repetition_penalty: RepetitionPenaltyOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Talk about videos: ask, ask on, look at another part, save.

    The video is looked at once; answers appear as they are written, and later questions build on
    earlier ones. Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands. Without a terminal,
    each line of standard input is a question or a command, and only answers go to standard output.

    Examples:
    - `stllm chat clip.mp4`
    - `stllm chat clip.mp4 -q "What moves first?" -q "Where to?"`
    - `echo "What moves?" | stllm chat clip.mp4`
    """
    check_pictures(pictures, "--pictures")
    _check_files(videos or [], load, reader)
    if not all(text.strip() for text in question or []):
        raise UsageError("an empty question", where="--question", fix="ask something")
    generation = generation_of(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        num_beams=num_beams,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    window = (
        None if start is None else seconds_of(start, "--start"),
        None if end is None else seconds_of(end, "--end"),
    )
    with_terminal = not question and not as_json and _is_terminal()
    lines = question or ([] if with_terminal else lines_of_input())
    with busy("loading the model" + (", and compiling it" if compiled else ""), with_terminal):
        opened = open_cache(cache)
        video_model = _load(model, device, dtype, compat, opened, compiled)
    desk = _set_up(video_model, visual_tokens, remember, generation, with_terminal, frames, fps, reader)
    desk.pictures = pictures
    begin(desk, [desk.view(path, start=window[0], end=window[1]) for path in videos or []], load)
    if with_terminal:
        from st_llm_cli.cli.chat_terminal import converse

        desk.tell("/help lists what can be done; Ctrl-D leaves")
        converse(desk)
        answered = True
    else:
        answered = answer_lines(desk, lines, as_json=as_json)
    note_use(opened)
    if not answered:
        raise typer.Exit(1)


def begin(desk: Desk, views: list[View], load: Path | None) -> None:
    """Look at the first videos, or take up a saved conversation."""
    if load is not None:
        from st_llm_cli.cli.chat_commands import run_command

        run_command(desk, f"/load {load}")
    elif views:
        with busy("looking", desk.interactive):
            shown = desk.chat.watch(*views, new_tokens=desk.generation.max_new_tokens)
        for seen in shown:
            desk.introduce(seen)
    if desk.chat.session.looks_for_each_question:
        desk.tell(
            "this model looks with each question in mind; --visual-tokens first-question looks once, "
            "which makes later answers faster"
        )


@contextmanager
def busy(what: str, shown: bool) -> Iterator[None]:
    """Show that something takes its time, to someone who waits for it."""
    if not shown:
        yield
        return
    with console_of(stderr=True).status(what):
        yield


def _load(
    name: str, device: str, dtype: str, compat: str | None, cache: TokenCache | None, compiled: bool
) -> VideoModel:
    from st_llm_cli.stages.video_model import load_model

    return load_model(name, device=device, dtype=dtype, compat=compat, cache=cache, compiled=compiled)


def _set_up(
    model: VideoModel,
    visual_tokens: str,
    remember: int | None,
    generation: Generation,
    interactive: bool,
    frames: int | None,
    fps: float | None,
    reader: str,
) -> Desk:
    from st_llm_cli.cli.chat_desk import Desk
    from st_llm_cli.stages.chat import Chat, View

    def view(path: Path, *, start: float | None = None, end: float | None = None) -> View:
        return View(path, start, end, num_frames=frames, fps=fps, reader=reader)

    chat = Chat(model, visual_tokens=visual_tokens, max_turns=remember)
    return Desk(chat, generation, view, console_of(), interactive)


def _check_files(videos: list[Path], load: Path | None, reader: str) -> None:
    """Refuse what is not there or no video before the model is loaded."""
    from st_llm_cli.video.reader import check_video

    if videos and load is not None:
        what = "a saved conversation brings its own videos"
        raise UsageError(what, where="--load", fix="give one of the two, and /add FILE later")
    for path in videos:
        check_video(path, reader)


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
