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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from st_llm_cli.errors import DataError
from st_llm_cli.shapes.ceilings import NUM_FRAMES, Observers, observers_of_file
from st_llm_cli.shapes.encode import Encoding, draw_encoding, draw_rich_encoding, write_video
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.rich import WORLD_VERSION as RICH_WORLD_VERSION
from st_llm_cli.shapes.scene import Backdrop, MovingShape, Scene, Segment, in_rhythm
from st_llm_cli.shapes.world import EVAL_SEEDS, TRAIN_SEEDS, WORLD_VERSION
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
    step: Callable[[str], None] = lambda video: None,
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
        step: Called with the name of each clip that is there.

    Raises:
        ValueError: If the world has no scenes of such a kind.
        DataError: If the folder holds something else, or cannot be written.
    """
    settings = {
        "world_version": WORLD_VERSION,
        "split": split,
        "first": first,
        "num_objects": num_objects,
        "num_movements": num_movements,
    }
    if world != "plain":
        settings |= {"world": world, "world_version": RICH_WORLD_VERSION, "slots": slots}
    chosen = {"num_movements": num_movements} if world == "plain" else {"slots": slots}
    if num_movements is not None and world != "plain":
        raise ValueError(f"num_movements is {num_movements}, the {world} world draws it")
    videos = folder / "video"
    _prepare(folder, settings)
    clips = []
    written = 0
    for seed in SPLITS[split][first : first + num_clips]:
        scene = WORLDS[world].make_scene(seed, num_objects=num_objects, **chosen)
        rng = Random(f"{seed} encoding")
        if world == "plain":
            encoding = draw_encoding(rng)
        else:
            encoding = draw_rich_encoding(rng, scene.duration_seconds)
            scene = in_rhythm(scene, encoding.fps)
        clips.append(Clip(f"{seed}{encoding.suffix}", encoding, scene))
        if not (videos / clips[-1].video).exists():
            write_video(scene, videos / clips[-1].video, encoding)
            written += 1
        step(clips[-1].video)
    free = {clip.video: list(_all_questions(WORLDS[world], clip.scene)) for clip in clips}
    observers = {clip.video: observers_of_file(clip.scene, NUM_FRAMES, clip.encoding.fps) for clip in clips}
    choices = _choice_rows(WORLDS[world], clips, free, observers)
    _write_rows(folder / "questions.jsonl", list(_free_rows(free, observers)))
    for kind, rows in choices.items():
        _write_text(folder / "json" / f"{kind}.json", json.dumps(rows, indent=1) + "\n")
    # The truth comes last: where it stands, the folder is complete.
    _write_rows(folder / TRUTH, [asdict(clip) for clip in clips])
    counts = {kind: len(rows) for kind, rows in choices.items()}
    return FolderReport(len(clips), written, counts, sum(map(len, free.values())))


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


def _all_questions(world: World, scene: Scene) -> Iterator[Question]:
    for kind in world.asked_of(scene):
        # One generator for each kind: another kind more or less leaves the rest of a folder as it was.
        question = world.kinds[kind](scene, Random(f"{scene.seed} {kind}"))
        if question is not None:
            yield question


def _free_rows(
    questions: Mapping[str, Sequence[Question]], observers: Mapping[str, Observers]
) -> Iterator[dict[str, Any]]:
    for video, own in questions.items():
        for item in own:
            row = {"video": video, "kind": item.kind, "question": item.text, "answer": item.answer}
            yield row | asdict(observers[video].ceilings(replace(item, candidates=())))


def _choice_rows(
    world: World,
    clips: Sequence[Clip],
    questions: Mapping[str, Sequence[Question]],
    observers: Mapping[str, Observers],
) -> dict[str, list[dict[str, Any]]]:
    """Multiple-choice rows of each kind; among so many options the right one takes every letter in turn."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    asked: Counter[tuple[str, int]] = Counter()  # by kind and number of options
    for clip in clips:
        for free in questions[clip.video]:
            rng = Random(f"{clip.scene.seed} {free.kind} options")
            question = world.with_options(free, clip.scene, rng, 0)
            if question is None:
                continue
            right, *wrong = question.candidates
            place = asked[free.kind, len(wrong)] % len(question.candidates)
            asked[free.kind, len(wrong)] += 1
            row: dict[str, Any] = {
                "video": clip.video,
                "question": question.text,
                "candidates": [*wrong[:place], right, *wrong[place:]],
                "answer": question.answer,
            }
            rows[free.kind].append(row | asdict(observers[clip.video].ceilings(question)))
    return {kind: found for kind, found in rows.items() if found}


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


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
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
