"""`stllm describe`: from videos to sentences."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from st_llm_cli.cli.named_videos import videos_in
from st_llm_cli.cli.options import (
    LOOK,
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
from st_llm_cli.cli.screen import note, progress_of, show_error, which_of
from st_llm_cli.cli.times import seconds_of
from st_llm_cli.cli.token_cache import note_use, open_cache
from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.model.generation import generation_of

if TYPE_CHECKING:
    from st_llm_cli.stages.describe import Answerer, Description, VideoDone, Wish
    from st_llm_cli.stages.description_file import DescriptionFile
    from st_llm_cli.stages.video_model import VideoModel

FORMAT_NAMES = ("text", "jsonl", "csv", "srt", "vtt")
DEFAULT_PROMPT = "Describe the video."
OUTPUT = "Output"


def _file(text: str) -> Path:
    if text == "-":
        raise UsageError("is not a file", where="--output -", fix="leave it out to write to standard output")
    return Path(text)


def describe(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO",
            help="Files, folders (searched below), patterns, or lists (.txt, .json, .jsonl, .csv, -).",
        ),
    ],
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", metavar="TEXT", help="What to ask about each video.")
    ] = DEFAULT_PROMPT,
    start: StartOption = None,
    end: EndOption = None,
    frames: FramesOption = None,
    fps: FpsOption = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Describe each stretch of, say, 10s.", rich_help_panel=LOOK),
    ] = None,
    reader: ReaderOption = "pyav",
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="text, jsonl, csv, srt or vtt.", rich_help_panel=OUTPUT),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=_file,
            help="Write here; run again to go on.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar="", help="Begin FILE anew.", rich_help_panel=OUTPUT)
    ] = False,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
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
    """Describe videos in words, or ask each of them a question.

    One video: the answer appears as it is written. Many: one line or block each; a video that cannot
    be read is named at the end (exit code 1) and does not stop the rest. With --output, an
    interrupted run goes on where it stopped when the same command is given again. What the model's
    eyes made of a clip is kept, so that the next question about it needs neither file nor encoder.

    Examples:
    - `stllm describe clip.mp4`
    - `stllm describe clip.mp4 --prompt "What moves first?" --end 12`
    - `stllm describe talk.mp4 --every 10s --output talk.srt`
    - `stllm describe clips/ list.txt --output descriptions.jsonl`
    """
    from st_llm_cli.stages.describe import Wish, check, refused_at_sight

    wish = Wish(
        prompt=prompt,
        start=None if start is None else seconds_of(start, "--start"),
        end=None if end is None else seconds_of(end, "--end"),
        num_frames=frames,
        fps=fps,
        every=None if every is None else seconds_of(every, "--every"),
        reader=reader,
        generation=generation_of(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            num_beams=num_beams,
            repetition_penalty=repetition_penalty,
            seed=seed,
        ),
    )
    check(wish)
    name = _format_name(format_name, as_json, output)
    found = videos_in(videos)
    _check_format(name, found)
    if output is not None:
        _check_output(output, [*(Path(name) for name in videos if name != "-"), *found])
    if (output is None or not output.exists()) and (errors := refused_at_sight(found, reader)):
        _tell(errors, len(found), len(found))
        raise typer.Exit(1)

    tokens = open_cache(cache)

    def load() -> tuple[Answerer, Wish]:
        from st_llm_cli.stages.limits import check_model
        from st_llm_cli.stages.video_model import load_model

        possible = replace(wish, most_frames=check_model(model, wish, compat))
        answerer = load_model(model, device=device, dtype=dtype, cache=tokens, compat=compat)
        _name_unknown_words(answerer, wish.prompt)
        return answerer, possible

    if output is not None:
        settings = {
            "model": model,
            "dtype": dtype,
            "compat": compat,
            "format": name,
            **asdict(wish),
            **asdict(wish.generation),
        }
        failed = describe_into_file(load, found, output, name, settings, overwrite=overwrite)
    elif name == "text" and len(found) == 1 and wish.every is None:
        answerer, wish = load()
        failed = stream_one(answerer, found[0], wish)
    else:
        answerer, wish = load()
        failed = describe_to_screen(answerer, found, wish, name)
    note_use(tokens)
    if failed:
        raise typer.Exit(1)


def _name_unknown_words(model: VideoModel, prompt: str) -> None:
    from st_llm_cli.stages.question import not_known

    if unknown := model.unknown_words(prompt):
        note(not_known(unknown))


def stream_one(model: Answerer, video: Path, wish: Wish) -> int:
    """Write the answer about one video as it comes into being; the number of failures is 0."""
    from st_llm_cli.stages.describe import look, parts_of
    from st_llm_cli.stages.question import SAID_NOTHING

    (part,) = parts_of(video, wish)
    clip = look(model, part, wish)
    damage, caveat = clip.source.damage, model.caveat(clip)
    _warn({video: damage} if damage else {}, {video: caveat} if caveat else {}, 1)
    silent = True
    for piece in model.stream(clip, wish.prompt, **asdict(wish.generation)):
        typer.echo(piece, nl=False)
        sys.stdout.flush()
        silent = silent and not piece.strip()
    typer.echo()
    if silent:
        note(f"{video}: {SAID_NOTHING}")
    return 0


def describe_to_screen(model: Answerer, videos: list[Path], wish: Wish, format_name: str) -> int:
    """Write descriptions to standard output; the number of videos that failed."""
    from st_llm_cli.stages.describe import describe_all
    from st_llm_cli.stages.description_file import FORMATS

    form = FORMATS[format_name]
    typer.echo(form.head, nl=False)
    written: list[Description] = []

    def keep(description: Description) -> None:
        written.append(description)
        typer.echo(form.row(description, len(written)), nl=False)
        sys.stdout.flush()

    return _watch(partial(describe_all, model, videos, wish, keep=keep), videos)


def describe_into_file(
    load: Callable[[], tuple[Answerer, Wish]],
    videos: list[Path],
    output: Path,
    format_name: str,
    settings: dict[str, Any],
    *,
    overwrite: bool,
) -> int:
    """Write descriptions to a file, or go on with it; the number of videos that failed."""
    from st_llm_cli.stages.describe import describe_all
    from st_llm_cli.stages.description_file import FORMATS, DescriptionFile

    file = DescriptionFile(output, FORMATS[format_name], settings, overwrite=overwrite)
    # What is wrong with the output is said before the long wait; it is touched when the model is there.
    file.check()
    model, wish = load()
    with file:
        if file.count:
            note(f"{output}: going on after {_count(file)}")
        begin = partial(describe_all, model, videos, wish, is_done=file.has, keep=file.add)
        try:
            failed = _watch(begin, videos)
        except KeyboardInterrupt:
            note(f"interrupted; {_count(file)} so far are in {output}, the same command goes on")
            raise
        note(f"{output}: {_count(file)}")
    return failed


def _count(file: DescriptionFile) -> str:
    return "1 description" if file.count == 1 else f"{file.count} descriptions"


def _watch(begin: Callable[..., Iterator[VideoDone]], videos: list[Path]) -> int:
    """Show how far the work is, then what went wrong; the number of videos that failed."""
    errors: list[StllmError] = []
    failed = 0
    damages: dict[Path, str] = {}
    caveats: dict[Path, str] = {}
    with progress_of(len(videos), "describing") as progress:
        for outcome in begin(progress=progress):
            errors += outcome.errors
            failed += bool(outcome.errors)
            for said in outcome.descriptions:
                if said.damage:
                    damages.setdefault(outcome.video, said.damage)
                if said.caveat:
                    caveats.setdefault(outcome.video, said.caveat)
    _warn(damages, caveats, len(videos))
    _tell(errors, failed, len(videos))
    return failed


def _tell(errors: list[StllmError], failed: int, count: int) -> None:
    """Say what went wrong with how many of the videos."""
    if count == 1 and errors:
        show_error(errors[0])
    elif errors:
        note(f"{failed} of {count} videos could not be described:")
        for error in errors:
            show_error(error)


def _warn(damages: Mapping[Path, str], caveats: Mapping[Path, str], total: int) -> None:
    """Say what of which videos cannot be read, and about how many the answers are not to be trusted."""
    for video, damage in damages.items():
        note(f"{video}: damaged, {damage}")
    for caveat in dict.fromkeys(caveats.values()):
        videos = [str(video) for video, said in caveats.items() if said == caveat]
        note(f"{which_of(videos, total, 'videos')}: {caveat}")


def _format_name(given: str | None, as_json: bool, output: Path | None) -> str:
    """Form of the output: as asked, else by the output's ending, else text."""
    if as_json:
        if given not in (None, "jsonl"):
            raise UsageError(f"--json contradicts --format {given}", where="--json", fix="give one of them")
        return "jsonl"
    by_ending = output.suffix.lower().lstrip(".") if output is not None else ""
    name = given if given is not None else (by_ending if by_ending in FORMAT_NAMES else "text")
    if name not in FORMAT_NAMES:
        near = difflib.get_close_matches(name, FORMAT_NAMES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(FORMAT_NAMES)}"
        raise UsageError(f"unknown format '{name}'", where="--format", fix=hint)
    return name


def _check_output(output: Path, inputs: list[Path]) -> None:
    """Refuse to write over what is to be read."""
    written = {os.path.realpath(output), os.path.realpath(f"{output}.ledger")}
    for path in inputs:
        if path.is_dir():
            continue  # one that is also the output is refused as a folder
        if os.path.realpath(path) in written or _are_one_file(path, output):
            what = f"is among the inputs: {path}"
            raise UsageError(what, where=f"--output {output}", fix="choose another --output")


def _are_one_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _check_format(name: str, videos: list[Path]) -> None:
    from st_llm_cli.stages.description_file import FORMATS

    if FORMATS[name].one_video and len(videos) > 1:
        what = f"{name} holds the subtitles of one video, {len(videos)} were given"
        raise UsageError(what, where="--format", fix="describe one video at a time, or use --format jsonl")
