"""The benchmark `shapes`: its clips are drawn where there are none, and it is known what needs time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from st_llm_cli.bench.report import Ceiling
from st_llm_cli.bench.sample import Sample
from st_llm_cli.errors import DataError, StllmError, UsageError, nearest
from st_llm_cli.shapes.ceilings import Ceilings, Observers, observers_of_file
from st_llm_cli.shapes.encode import MOST_PIXELS
from st_llm_cli.shapes.folder import is_complete, read_clips, world_in, write_folder
from st_llm_cli.shapes.questions import Question
from st_llm_cli.stages.file_lock import lock
from st_llm_cli.stages.helper_process import end_with_command
from st_llm_cli.stages.progress import Begin, unseen

DEFAULT_WORLD = "rich"
CLIPS = {"plain": 40, "rich": 112}
"""Clips to draw, by world: a plain one is asked about ten multiple-choice questions, a rich one 1.2."""
FILE_PIXELS = {"plain": MOST_PIXELS, "rich": 10_000_000}
"""Pixels of all frames of a clip; in the rich world they keep it below 11 seconds, and drawing quick."""
PATIENCE_SECONDS = 3600.0
"""How long to wait for another process that draws the same clips."""


def check_world(folder: Path, world: str) -> None:
    """Refuse a world that is not there, or not the one whose clips a folder holds.

    Raises:
        UsageError: Saying which it is.
        DataError: If the folder's settings are damaged.
    """
    if world not in CLIPS:
        raise UsageError(f"unknown world '{world}'", where="world", fix=nearest(world, CLIPS))
    held = world_in(folder)
    if held not in (None, world):
        what, fix = f"holds clips of the {held} world", f"choose another folder for the {world} one"
        raise UsageError(what, where=str(folder), fix=fix)


def draw(folder: Path, world: str | None, begin: Begin = unseen, processes: int = 1) -> None:
    """Draw the clips, unless the folder holds them already; what was interrupted is gone on with.

    Args:
        folder: The benchmark's.
        world: Key of `CLIPS`; None takes that of the folder, else rich.
        begin: Told of the clips, unless nothing is to be drawn.
        processes: How many draw. With more than one, the main module of the program must start nothing where
            it is imported.

    Raises:
        UsageError: If another process draws there and does not come to an end.
        DataError: If the folder holds other things, or cannot be written.
        StllmError: If one of the processes was ended.
    """
    if is_complete(folder):
        return
    whole = folder.resolve()
    beside = whole.with_name(f"{whole.name}.lock")  # the folder itself must be empty before
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            lock(file, beside, PATIENCE_SECONDS)  # processes of one launcher come here at the same time
            if not is_complete(folder):
                _draw(folder, world_in(folder) or world or DEFAULT_WORLD, begin, processes)
            beside.unlink(missing_ok=True)
    except OSError as error:
        what = f"clips cannot be drawn here: {error.strerror}"
        raise DataError(what, where=str(folder), fix="choose another folder") from error


def _draw(folder: Path, world: str, begin: Begin, processes: int) -> None:
    count, pixels, step = CLIPS[world], FILE_PIXELS[world], begin(CLIPS[world])
    if min(processes, count) == 1:
        write_folder(folder, count, world=world, most_pixels=pixels, step=step)
        return
    # A fork of a process in which torch has threads can deadlock.
    pool = ProcessPoolExecutor(min(processes, count), get_context("spawn"), initializer=end_with_command)
    try:
        write_folder(folder, count, world=world, most_pixels=pixels, step=step, each=pool.map)
    except BrokenProcessPool as error:
        what, fix = "a process that draws clips was ended", "the same command goes on where it stopped"
        raise StllmError(what, where=str(folder), fix=fix) from error
    finally:
        pool.shutdown(cancel_futures=True)


def ceilings_of(folder: Path, samples: Sequence[Sample], num_frames: int) -> dict[str, Ceiling]:
    """Say of each task how often its questions can be answered without the order of the frames.

    Args:
        folder: The benchmark's.
        samples: Its questions.
        num_frames: Frames of each clip, evenly spread, as the uniform sampler takes them.

    Returns:
        Means over the questions of each task; nothing of tasks with questions that were added or changed by
        hand: of them it is not known.
    """
    known = ceilings_of_questions(folder, samples, num_frames)
    found: dict[str, list[Ceilings | None]] = {}
    for sample in samples:
        found.setdefault(sample.task, []).append(known.get(sample.id))
    means = {}
    for task, all_of_them in found.items():
        own = [each for each in all_of_them if each is not None]
        if len(own) == len(all_of_them):
            means[task] = Ceiling(
                sum(each.order_blind for each in own) / len(own),
                sum(each.single_frame for each in own) / len(own),
            )
    return means


def ceilings_of_questions(folder: Path, samples: Sequence[Sample], num_frames: int) -> dict[str, Ceilings]:
    """Say of each question how often it can be answered without the order of the frames, by its id.

    Args:
        folder: As for `ceilings_of`.
        samples: As for `ceilings_of`.
        num_frames: As for `ceilings_of`.

    Returns:
        Nothing of questions that were added or changed by hand.
    """
    if world_in(folder) is None:
        return {}
    clips = {clip.video: clip for clip in read_clips(folder)}
    asked = {_clip_of(each) for each in samples} & set(clips)
    observers = {
        name: observers_of_file(clips[name].scene, num_frames, clips[name].encoding.fps) for name in asked
    }
    counted = {each.id: _ceilings(each, observers.get(_clip_of(each))) for each in samples}
    return {id: own for id, own in counted.items() if own is not None}


def _ceilings(sample: Sample, observers: Observers | None) -> Ceilings | None:
    """Count for one question; None where it was not drawn with the clips but added or changed by hand."""
    question = Question(sample.task, sample.question, sample.answer, sample.candidates)
    try:
        return None if observers is None else observers.ceilings(question)
    except ValueError:
        return None


def _clip_of(sample: Sample) -> str:
    return sample.clips[0].name
