"""Checkpoints on the way: each is whole or not there, and says by how many processes it was written.

A checkpoint is written under `.unfinished/` and has its own name only once all of it is on disk; the one
before is removed after that. Whatever ends a run, the last checkpoint is one to go on from. What became of
its files since is looked at before they are loaded.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.file_modes import follow_umask

log = logging.getLogger(__name__)

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
    files = sorted(path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file())
    facts = json.dumps({"processes": processes, "files": files})
    (written / PROCESSES).write_text(f"{facts}\n", encoding="utf-8")
    follow_umask(written)
    for path in [*written.rglob("*"), written]:
        _sync(path)
    final = folder / name
    shutil.rmtree(final, ignore_errors=True)
    os.replace(written, final)
    _sync(folder)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    for other in _folders(folder):
        if step_of(other) < step:
            shutil.rmtree(other)
    return final


def last_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint to go on from, None if there is none; a folder that lacks files is not one."""
    return max((path for path in _folders(folder) if not missing_file(path)), key=step_of, default=None)


def sound_checkpoint(folder: Path, processes: int) -> Path | None:
    """Find the checkpoint to go on from, as `last_checkpoint`, and look whether that can be.

    Raises:
        TrainingError: If one of its files is damaged, or it was written by another number of processes.
    """
    last = last_checkpoint(folder)
    for other in passed_over(folder):
        log.warning("%s is no whole checkpoint and is left out: it lacks %s", other, missing_file(other))
    if last is not None:
        check_whole(last)
        check_processes(last, processes)
    return last


def passed_over(folder: Path) -> list[Path]:
    """Find the folders that `last_checkpoint` would have taken, did they not lack files."""
    last = last_checkpoint(folder)
    return [path for path in sorted(_folders(folder), key=step_of) if step_of(path) > step_of(last)]


def missing_file(checkpoint: Path) -> str | None:
    """Name the first file that a checkpoint lacks of those it was written with; None if it has them all."""
    if not (checkpoint / PROCESSES).exists():
        return PROCESSES  # written last
    try:
        facts = json.loads((checkpoint / PROCESSES).read_text(encoding="utf-8"))
    except ValueError:
        return None  # the file is there; that it is damaged, `check_whole` says
    return next((name for name in facts.get("files", ()) if not (checkpoint / name).exists()), None)


def check_whole(checkpoint: Path) -> None:
    """Refuse to go on from a checkpoint with a damaged file: one cut short, or with something else in it.

    The middle of a file is left to `check_pickles`, since that takes as long as loading it.

    Raises:
        TrainingError: Naming the file, and what there is to go on from without this checkpoint.
    """
    for path in sorted(checkpoint.rglob("*")):
        look = LOOKS.get(path.suffix)
        if look is None:
            continue
        try:
            look(path)
        except (ValueError, SafetensorError, zipfile.BadZipFile) as error:
            raise _damaged(path, checkpoint, str(error)) from error


def check_pickles(checkpoint: Path) -> None:
    """Read all that `torch.save` wrote into a checkpoint, and refuse what was changed since.

    Raises:
        TrainingError: Naming the file.
    """
    for path in sorted(checkpoint.rglob("*")):
        if LOOKS.get(path.suffix) is not _look_at_pickle:
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                changed = archive.testzip()
        except zipfile.BadZipFile as error:
            raise _damaged(path, checkpoint, str(error)) from error
        if changed is not None:
            raise _damaged(path, checkpoint, f"{changed} is not as it was written")


def what_is_left(folder: Path) -> str:
    """Say whether a stage has a checkpoint on the way, and that it is whole."""
    last = last_checkpoint(folder)
    return "there is no checkpoint yet" if last is None else f"the last checkpoint, {last.name}, is intact"


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a stage that is done: its result says all that they do."""
    start_writing(folder)
    for checkpoint in _folders(folder):
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
        f"go on with --gpus {before}, or start a new run from its weights: stllm export {checkpoint} DEST, "
        "then --output NEW --set model.checkpoint=DEST (and --set model.new=null, if the recipe has it)"
    )
    raise TrainingError(what, where=str(checkpoint), fix=fix)


def _folders(folder: Path) -> list[Path]:
    """Folders that are named like checkpoints, whole or not."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if CHECKPOINT.fullmatch(path.name)]


def _damaged(path: Path, checkpoint: Path, reason: str) -> TrainingError:
    others = [other for other in _folders(checkpoint.parent) if step_of(other) < step_of(checkpoint)]
    before = max((other for other in others if not missing_file(other)), key=step_of, default=None)
    then = "the stage begins anew" if before is None else f"the run goes on from {before.name}"
    what = f"is damaged ({path.stat().st_size} bytes): {reason}"
    return TrainingError(what, where=str(path), fix=f"remove {checkpoint}, and {then}")


def _look_at_tensors(path: Path) -> None:
    with safe_open(path, "pt"):
        pass


def _look_at_pickle(path: Path) -> None:
    with zipfile.ZipFile(path):  # as torch.save writes it
        pass


def _look_at_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


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


LOOKS: dict[str, Callable[[Path], None]] = {
    ".safetensors": _look_at_tensors,
    ".pt": _look_at_pickle,
    ".pth": _look_at_pickle,
    ".json": _look_at_json,
}
"""How to see that a file is whole, by its ending."""
