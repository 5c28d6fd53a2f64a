"""Checkpoints on the way: each is whole or not there, and says by how many processes it was written.

A checkpoint is written under `.unfinished/` and has its own name only once all of it is on disk; the one
before is removed after that. Whatever ends a run, the last checkpoint is one to go on from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from st_llm_cli.errors import TrainingError

UNFINISHED = ".unfinished"
PROCESSES = "processes.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def start_writing(folder: Path) -> None:
    """Clear away what an earlier run left half-written."""
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


def finish_writing(folder: Path, step: int, processes: int) -> Path:
    """Give a checkpoint its name, now that all of it is written, and remove the ones before.

    Args:
        folder: Where the checkpoints of a stage are.
        step: Optimiser steps done.
        processes: Processes that wrote it.

    Returns:
        The checkpoint.
    """
    name = f"checkpoint-{step}"
    written = folder / UNFINISHED / name
    (written / PROCESSES).write_text(json.dumps({"processes": processes}) + "\n", encoding="utf-8")
    for path in [*written.rglob("*"), written]:
        _sync(path)
    final = folder / name
    shutil.rmtree(final, ignore_errors=True)
    os.replace(written, final)
    _sync(folder)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    for other in _checkpoints(folder):
        if other != final:
            shutil.rmtree(other)
    return final


def last_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint to go on from; None if there is none."""
    return max(_checkpoints(folder), key=step_of, default=None)


def what_is_left(folder: Path) -> str:
    """Say whether a stage has a checkpoint on the way, and that it is whole."""
    last = last_checkpoint(folder)
    return "there is no checkpoint yet" if last is None else f"the last checkpoint, {last.name}, is intact"


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a stage that is done: its result says all that they do."""
    start_writing(folder)
    for checkpoint in _checkpoints(folder):
        shutil.rmtree(checkpoint)


def step_of(checkpoint: Path | None) -> int:
    """Optimiser steps done when a checkpoint was written; 0 for none."""
    found = None if checkpoint is None else CHECKPOINT.fullmatch(checkpoint.name)
    return 0 if found is None else int(found[1])


def check_processes(checkpoint: Path, processes: int) -> None:
    """Refuse to go on with another number of processes than the checkpoint was written by.

    The samples of a step, and with DeepSpeed the pieces of the optimiser's state, are dealt out to them.

    Raises:
        TrainingError: If the number is another.
    """
    before = json.loads((checkpoint / PROCESSES).read_text(encoding="utf-8"))["processes"]
    if before == processes:
        return
    what = f"was written by {_count(before)}, and this is a run of {_count(processes)}"
    fix = (
        f"go on with --gpus {before}, or start a new run from its weights: --output NEW "
        f"--set model.checkpoint={checkpoint}"
    )
    raise TrainingError(what, where=str(checkpoint), fix=fix)


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if CHECKPOINT.fullmatch(path.name)]


def _count(processes: int) -> str:
    return "one process" if processes == 1 else f"{processes} processes"


def _sync(path: Path) -> None:
    """Make a file or the names in a folder survive a power cut."""
    if os.name == "nt" and path.is_dir():  # Windows keeps its names by itself
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
