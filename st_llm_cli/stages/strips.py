"""Small pictures of the clips a run was about, for its report.

Rule: clips come task by task in turn, in each task those of wrong answers first, until there are 240 clips or
6 MB of pictures; each shows up to 8 of the frames the model was given, 80 pixels high. They are kept in the
run's folder, so that a report can be written again where the clips are not.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from st_llm_cli.bench.record import Strip, strip_key
from st_llm_cli.bench.sample import Media, Prediction
from st_llm_cli.bench.scoring import judge_reply
from st_llm_cli.errors import DataError
from st_llm_cli.json_text import parse_json
from st_llm_cli.stages.run_folder import write_run_file
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import Thumbnail

NAME = "strips.jsonl"
HEIGHT = 80
WIDEST = 2 * HEIGHT
MOST_FRAMES = 8
MOST_CLIPS = 240
MOST_BYTES = 6_000_000
QUALITY = 72


def strips_of(
    predictions: Sequence[Prediction],
    settings: Mapping[str, Any],
    folder: Path,
    *,
    scorer: str = "strict",
    most_clips: int = MOST_CLIPS,
    most_bytes: int = MOST_BYTES,
    step: Callable[[str], None] = lambda key: None,
) -> dict[str, Strip]:
    """Take the pictures of a run's clips from its folder, and add those that are not there yet.

    Args:
        predictions: Of the run; clips whose place on disk is not known are only looked for in the folder.
        settings: Of the run: `sampler` and `num_frames`.
        folder: The run's.
        scorer: Which answers count as wrong.
        most_clips: Clips to show.
        most_bytes: Size of all pictures.
        step: Called with each clip that is through.

    Returns:
        Pictures by `strip_key`, within the limits.

    Raises:
        DataError: If the pictures in the folder are damaged, or cannot be written.
    """
    known = read_strips(folder / NAME)
    wanted = _wanted(predictions, known, scorer, most_clips)
    made = _made(_request(media, settings) for key, media in wanted.items() if key not in known)
    found: dict[str, Strip] = {}
    size = 0
    for key in wanted:
        strip = known[key] if key in known else next(made)
        if key not in known:
            step(key)
        if strip is None:
            continue
        if size + len(strip.jpeg) > most_bytes:
            break
        found[key] = strip
        size += len(strip.jpeg)
    made.close()
    if any(key not in known for key in found):
        _write(folder / NAME, {**known, **found})
    return found


def wanted_strips(
    predictions: Sequence[Prediction], folder: Path, scorer: str, most_clips: int = MOST_CLIPS
) -> list[str]:
    """Give the clips whose pictures are yet to be made."""
    known = read_strips(folder / NAME)
    return [key for key in _wanted(predictions, known, scorer, most_clips) if key not in known]


def _wanted(
    predictions: Sequence[Prediction], known: Mapping[str, Strip], scorer: str, most: int
) -> dict[str, Media]:
    """Choose the clips to show, of those whose pictures are there or whose place on disk is known."""
    clips = {strip_key(media): media for media in in_turn(predictions, scorer)}
    there = [key for key, media in clips.items() if key in known or media.path is not None]
    return {key: clips[key] for key in there[:most]}


def in_turn(predictions: Sequence[Prediction], scorer: str) -> Iterator[Media]:
    """Give clips of one task after the other, over and over, those of wrong answers first."""
    tasks: dict[str, tuple[list[Media], list[Media]]] = {}
    for each in predictions:
        if each.error is not None:
            continue
        verdict = judge_reply(each, scorer)
        wrong, right = tasks.setdefault(each.sample.task, ([], []))
        (right if verdict is not None and verdict.correct else wrong).extend(each.sample.clips)
    columns = ([*wrong, *right] for wrong, right in tasks.values())
    return (media for media in chain.from_iterable(zip_longest(*columns)) if media is not None)


def _request(media: Media, settings: Mapping[str, Any]) -> Request:
    """Ask for the frames the model was given."""
    assert media.path is not None
    return Request(
        media.path,
        sampler=settings.get("sampler", "uniform"),
        num_frames=settings.get("num_frames", MOST_FRAMES),
        start=media.start_seconds,
        end=media.end_seconds,
        transform=Thumbnail(HEIGHT, WIDEST),
        folder_fps=media.folder_fps or Request.folder_fps,
    )


def _made(requests: Iterable[Request]) -> Generator[Strip | None, None, None]:
    """Read clips and draw them; None for one that cannot be read (its question says so)."""
    for _, clip in read_clips(requests):
        yield strip_of(clip) if isinstance(clip, Clip) else None


def strip_of(clip: Clip) -> Strip:
    """Put evenly spaced frames of a clip side by side."""
    total = len(clip.frames)
    count = min(total, MOST_FRAMES)
    places = [round(place * (total - 1) / max(count - 1, 1)) for place in range(count)]
    picture = Image.fromarray(np.concatenate([clip.frames[place] for place in places], axis=1))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    return Strip(out.getvalue(), tuple(clip.times_seconds[place] for place in places))


def read_strips(path: Path) -> dict[str, Strip]:
    """Read the pictures kept in a run's folder; none where there is no such file.

    Raises:
        DataError: If a line is damaged.
    """
    if not path.exists():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = parse_json(line)
            found[row["clip"]] = Strip(base64.b64decode(row["jpeg"]), tuple(row["times_seconds"]))
        except (ValueError, KeyError, TypeError) as error:
            fix = "remove the file; the next stllm eval draws it again"
            raise DataError(f"line {number} is damaged", where=str(path), fix=fix) from error
    return found


def _write(path: Path, strips: Mapping[str, Strip]) -> None:
    lines = []
    for key, strip in strips.items():
        jpeg = base64.b64encode(strip.jpeg).decode("ascii")
        row = {"clip": key, "times_seconds": list(strip.times_seconds), "jpeg": jpeg}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_run_file(path, "".join(lines))
