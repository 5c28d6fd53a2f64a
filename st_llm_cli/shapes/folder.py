"""Folders of clips with questions, laid out like MVBench, and the truth beside them.

FOLDER/
├── json/<kind>.json    multiple-choice questions: rows of video, question, candidates, answer, ceilings
├── video/<seed>.<ext>  the clips, each with a size, frame rate, codec and container of its own
├── questions.jsonl     the same clips' free-form questions: rows of video, kind, question, answer, ceilings
├── scenes.jsonl        the truth: rows of video, encoding, scene
└── settings.json       what the folder was asked to be; another request for it must agree

Ceilings are `order_blind` and `single_frame` of eight evenly spread frames, see `ceilings.py`.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

from st_llm_cli.errors import DataError
from st_llm_cli.shapes import rich
from st_llm_cli.shapes.ceilings import NUM_FRAMES, Ceilings, observers_of_file
from st_llm_cli.shapes.encode import (
    MOST_PIXELS,
    Encoding,
    draw_encoding,
    draw_rich_encoding,
    longest_seconds,
    write_video,
)
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.scene import Backdrop, MovingShape, Scene, Segment, in_rhythm
from st_llm_cli.shapes.world import EVAL_SEEDS, TRAIN_SEEDS, WORLD_VERSION, make_scene
from st_llm_cli.shapes.worlds import WORLDS, World


@dataclass(frozen=True)
class Clip:
    """One clip of a folder: its file, how it was written and what is true of it."""

    video: str
    """File name below `video/`."""
    encoding: Encoding
    scene: Scene


@dataclass(frozen=True)
class FolderReport:
    """What `write_folder` has done."""

    clips: int
    """Clips in the folder."""
    written: int
    """Clips that were not there before."""
    choice_questions: Mapping[str, int]
    """Multiple-choice questions of each kind."""
    free_questions: int
    """Free-form questions of all kinds."""


@dataclass(frozen=True)
class Asked:
    """What is asked about one clip."""

    free: Sequence[Mapping[str, Any]]
    """Rows of `questions.jsonl`."""
    choices: Sequence[tuple[Question, Ceilings]]
    """Multiple-choice questions, their right option in front."""


class Mapper(Protocol):
    """Calls a function with each of some clips and gives what it returns, in their order, as `map` does."""

    def __call__(self, function: Callable[[Clip], Asked], clips: Sequence[Clip], /) -> Iterable[Asked]:
        """Call it with each."""


def write_folder(
    folder: Path,
    num_clips: int,
    *,
    split: str = "eval",
    first: int = 0,
    num_objects: int | None = None,
    num_movements: int | None = None,
    world: str = "plain",
    slots: int = 1,
    most_pixels: int = MOST_PIXELS,
    step: Callable[[str], None] = lambda video: None,
    each: Mapper = map,
) -> FolderReport:
    """Write clips, questions and truth; clips that are there already are kept.

    The same arguments give the same scenes and the same bytes of json, whether written at once or after
    interruptions. A folder can grow: ask again for more clips.

    Args:
        folder: Where to write; made where missing.
        num_clips: Clips the folder shall hold.
        split: A key of `SPLITS`; no scene of one split can be in another.
        first: Number of the split's seeds to leave out.
        num_objects: Objects in each clip, 1 or 2; drawn for each clip if None.
        num_movements: Successive movements, 1 to 3; drawn for each clip, mostly 2, if None. Plain world only.
        world: A key of `WORLDS`.
        slots: How brief what happens is, see `rich.make_scene`. Rich world only.
        most_pixels: Pixels of all frames of a file together; with fewer, clips are shorter, smaller and
            quicker to draw. Rich world only.
        step: Called with the name of each clip that is there.
        each: Has the clips drawn, the `map` of a pool of processes several at a time.

    Raises:
        ValueError: If the world has no scenes of such a kind.
        DataError: If the folder holds something else, or cannot be written.
    """
    if num_movements is not None and world != "plain":
        raise ValueError(f"num_movements is {num_movements}, the {world} world draws it")
    settings: dict[str, Any] = {
        "world_version": WORLD_VERSION,
        "split": split,
        "first": first,
        "num_objects": num_objects,
        "num_movements": num_movements,
    }
    if world != "plain":
        settings |= {"world": world, "world_version": rich.WORLD_VERSION, "slots": slots}
    if most_pixels != MOST_PIXELS:
        settings["most_pixels"] = most_pixels
    videos = folder / "video"
    _prepare(folder, settings)
    seeds = SPLITS[split][first : first + num_clips]
    if world == "plain":
        clips = [_plain_clip(seed, num_objects, num_movements) for seed in seeds]
    else:
        clips = [_rich_clip(seed, num_objects, slots, most_pixels) for seed in seeds]
    there = {path.name for path in videos.iterdir()}
    asked = {}
    for clip, own in zip(clips, each(partial(_asked, videos, world), clips), strict=True):
        asked[clip.video] = own
        step(clip.video)
    choices = _choice_rows(asked, list(WORLDS[world].kinds))
    _write_rows(folder / "questions.jsonl", [row for own in asked.values() for row in own.free])
    for kind, rows in choices.items():
        _write_text(folder / "json" / f"{kind}.json", json.dumps(rows, indent=1) + "\n")
    # The truth comes last: where it stands, the folder is complete.
    _write_rows(folder / TRUTH, [asdict(clip) for clip in clips])
    written = sum(clip.video not in there for clip in clips)
    counts = {kind: len(rows) for kind, rows in choices.items()}
    return FolderReport(len(clips), written, counts, sum(len(own.free) for own in asked.values()))


def is_complete(folder: Path) -> bool:
    """Whether `write_folder` got to its end here."""
    return (folder / TRUTH).exists()


def world_in(folder: Path) -> str | None:
    """Name the world whose clips a folder holds, also where they are not complete; None if it holds none.

    Raises:
        DataError: If the file that says so is damaged.
    """
    path = folder / SETTINGS
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("world", "plain"))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"cannot be used: {error}", where=str(path), fix="write the folder anew") from error


def read_clips(folder: Path) -> list[Clip]:
    """Read the truth of a folder back.

    Raises:
        DataError: If the file is missing or is not what `write_folder` writes.
    """
    path = folder / TRUTH
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            "cannot be read", where=str(path), fix="give a folder written by this program"
        ) from error
    clips = []
    for number, line in enumerate(lines, start=1):
        try:
            clips.append(_clip_from_row(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not the truth of a clip: {error!r}", where=f"{path}:{number}", fix="write the folder anew"
            ) from error
    return clips


def _plain_clip(seed: int, num_objects: int | None, num_movements: int | None) -> Clip:
    scene = make_scene(seed, num_objects=num_objects, num_movements=num_movements)
    encoding = draw_encoding(Random(f"{seed} encoding"))
    return Clip(f"{seed}{encoding.suffix}", encoding, scene)


def _rich_clip(seed: int, num_objects: int | None, slots: int, most_pixels: int) -> Clip:
    longest = min(rich.LONGEST_SECONDS, longest_seconds(most_pixels))
    scene = rich.make_scene(seed, num_objects=num_objects, slots=slots, longest_seconds=longest)
    encoding = draw_rich_encoding(Random(f"{seed} encoding"), scene.duration_seconds, most_pixels)
    return Clip(f"{seed}{encoding.suffix}", encoding, in_rhythm(scene, encoding.fps))


def _asked(videos: Path, world_name: str, clip: Clip) -> Asked:
    """Draw a clip, unless it is there, and its questions; all that takes time."""
    if not (videos / clip.video).exists():
        write_video(clip.scene, videos / clip.video, clip.encoding)
    world, scene = WORLDS[world_name], clip.scene
    observers = observers_of_file(scene, NUM_FRAMES, clip.encoding.fps)
    free, choices = [], []
    for item in _all_questions(world, scene):
        row = {"video": clip.video, "kind": item.kind, "question": item.text, "answer": item.answer}
        free.append(row | asdict(observers.ceilings(replace(item, candidates=()))))
        question = world.with_options(item, scene, Random(f"{scene.seed} {item.kind} options"), 0)
        if question is not None:
            choices.append((question, observers.ceilings(question)))
    return Asked(free, choices)


def _all_questions(world: World, scene: Scene) -> Iterator[Question]:
    for kind in world.asked_of(scene):
        # One generator for each kind: another kind more or less leaves the rest of a folder as it was.
        question = world.kinds[kind](scene, Random(f"{scene.seed} {kind}"))
        if question is not None:
            yield question


def _choice_rows(asked: Mapping[str, Asked], kinds: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Multiple-choice rows of each kind; among so many options the right one takes every letter in turn.

    Args:
        asked: What is asked about each video.
        kinds: All kinds of the world. Each begins a letter after the one before: if all began at A, it would
            be right more often than the others. Where a kind begins depends on nothing else, so that more
            clips leave the rows before them as they were.
    """
    first = {kind: number for number, kind in enumerate(kinds)}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    turns: Counter[tuple[str, int]] = Counter()  # by kind and number of options
    for video, own in asked.items():
        for question, ceilings in own.choices:
            right, *wrong = question.candidates
            turn = turns[question.kind, len(wrong)]
            turns[question.kind, len(wrong)] += 1
            place = (first[question.kind] + turn) % len(question.candidates)
            row: dict[str, Any] = {
                "video": video,
                "question": question.text,
                "candidates": [*wrong[:place], right, *wrong[place:]],
                "answer": question.answer,
            }
            rows[question.kind].append(row | asdict(ceilings))
    return dict(rows)


def _clip_from_row(row: dict[str, Any]) -> Clip:
    scene = row["scene"]
    objects = tuple(
        MovingShape(
            **{
                **item,
                "rgb": tuple(item["rgb"]),
                "start": tuple(item["start"]),
                "segments": tuple(map(_segment_from_row, item["segments"])),
            }
        )
        for item in scene["objects"]
    )
    backdrops = tuple(
        Backdrop(**{**each, "colors": tuple(map(tuple, each["colors"])), "drift": tuple(each["drift"])})
        for each in scene.get("backdrops", ())
    )
    parts = {
        "background": tuple(scene["background"]),
        "objects": objects,
        "backdrops": backdrops,
        "camera": tuple(map(_segment_from_row, scene.get("camera", ()))),
        "sway": tuple(scene.get("sway", (0.0, 0.0))),
    }
    return Clip(row["video"], Encoding(**row["encoding"]), Scene(**{**scene, **parts}))


def _segment_from_row(row: dict[str, Any]) -> Segment:
    return Segment(**{**row, "toward": tuple(row.get("toward", (0.0, 0.0)))})


def _prepare(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or make sure that it was written with the same settings."""
    path = folder / SETTINGS
    text = json.dumps(settings, indent=1) + "\n"
    try:
        if path.exists():
            if path.read_text(encoding="utf-8") != text:
                raise DataError(
                    "the folder holds clips made with other settings",
                    where=str(path),
                    fix="choose another folder, or ask for the settings written in this file",
                )
        elif folder.exists() and any(folder.iterdir()):
            raise DataError("the folder holds other things", where=str(folder), fix="choose an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        # Settings come first: with them an interrupted folder is known as one of ours.
        _write_text(path, text)
        for part in ("json", "video"):
            (folder / part).mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write here: {error.strerror}", where=str(folder), fix="choose another folder"
        ) from error


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    _write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _write_text(path: Path, text: str) -> None:
    """Write a text so that an interruption leaves the old file or the new one, never half of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


SETTINGS = "settings.json"
TRUTH = "scenes.jsonl"
SPLITS = {"train": TRAIN_SEEDS, "eval": EVAL_SEEDS}
"""Seeds of the splits; they have none in common."""
