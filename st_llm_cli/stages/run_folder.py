"""The folder of a run: whose it is, and files in it that are whole or not there."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from st_llm_cli.errors import DataError, RecipeError, TrainingError, UsageError
from st_llm_cli.recipe import Recipe, dump_recipe, load_recipe
from st_llm_cli.recipe.differences import Difference, differences
from st_llm_cli.recipe.reading import dotted
from st_llm_cli.recipe.schema import Stage, Train
from st_llm_cli.stages.file_lock import lock
from st_llm_cli.tokens.atomic import put_whole

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"
LOCK = ".lock"
"""A file that whoever writes to the run folder has locked; it stays, and says nothing by being there."""
STOP = "stop"
"""A file that tells whoever trains in the folder to save and stop, on whichever machine it is made."""
SECONDS_TO_END = 8.0
"""How long a run that was just killed may take to be gone, with processes that draw samples for it."""
START = "start"
"""Folder of the small model that a run in small begins with; it follows from the recipe."""
DONE = ("metrics.jsonl", "checkpoints/*", "work/*/checkpoint-*", "eval/*", "extracted/*")
"""What is in a run folder once anything was done; until then a new recipe may have it."""
CHANGEABLE = ("save_every", "log_every", "report_to", "max_failures", "gradient_checkpointing")
"""Settings of a training stage that say how it goes, not what it learns."""
NAMED = 3
"""Settings that the refusal of another recipe names."""
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR)
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def claimed(output: Path, recipe: Recipe) -> Iterator[None]:
    """Make the run folder, or make sure that it belongs to this recipe, and keep it from others meanwhile.

    What a run learns stays as it began, once anything is done. How it goes may change on the way:
    `CHANGEABLE`, and `batch_size` with `accumulate` while their product stays.

    Raises:
        TrainingError: If it belongs to another recipe, or another process writes to it.
        DataError: If it cannot be written to.
    """
    _refuse_foreign(output)
    with _held(output):
        _claim(output, recipe)
        yield


def forget_stop(output: Path) -> None:
    """Remove the file that told a run to stop, where that one is over.

    Raises:
        TrainingError: If a process still writes to the folder, to which the file may be addressed, or it is
            no run's.
        DataError: If it cannot be written to.
    """
    if output.exists():
        _refuse_foreign(output)
        with _held(output):
            (output / STOP).unlink(missing_ok=True)


def is_of(output: Path, recipe: Recipe) -> bool:
    """Whether what a run folder holds was learnt by this recipe, if not with each setting of how it goes."""
    path = output / RECIPE
    return _holds(output, RECIPE) and (_says(path, recipe) or _learns_the_same(path, recipe))


def refuse_other(output: Path, recipe: Recipe) -> None:
    """Refuse a folder of other things, or in which something was done by another recipe.

    Raises:
        TrainingError: If so, with the settings that differ.
    """
    _refuse_foreign(output)
    if not _holds(output, RECIPE) or is_of(output, recipe):
        return
    if any(next(output.glob(pattern), None) for pattern in DONE):
        raise _of_another(output, recipe)


def _of_another(output: Path, recipe: Recipe) -> TrainingError:
    what, where = "holds a run of another recipe, or of other settings", str(output)
    began = _recipe_in(output / RECIPE)
    if began is None:
        return TrainingError(what, where=where, fix="give another --output")
    found = differences(_what_is_learnt(began), _what_is_learnt(recipe))
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    fix = _how_to_go_on_from(output, began, found) or "give another --output, or repeat those settings"
    return TrainingError(f"{what}: {'; '.join(map(str, found[:NAMED]))}{more}", where=where, fix=fix)


def _how_to_go_on_from(output: Path, began: Recipe, found: list[Difference]) -> str | None:
    """Say how a run that is complete may be followed by another, where no more than more steps are wanted."""
    if len(began.training) != 1 or not (output / "checkpoints" / f"{began.training[0].name}-1").exists():
        return None
    if len(found) != 1 or found[0].place[-1] != "steps" or found[0].is_ < found[0].was:
        return None
    steps = found[0].is_ - found[0].was
    settings = [f"model.checkpoint={_in_yaml(str(output))}", f"{dotted(found[0].place)}={steps}"]
    settings += [f"model.{name}=null" for name in ("new", "auto") if getattr(began.model, name) is not None]
    added = " ".join(f"--set {shlex.quote(setting)}" for setting in settings)
    return f"for {steps} more steps from its weights: --output NEW {added}"


def _in_yaml(text: str) -> str:
    """Write a text so that YAML reads it as it is, in quotation marks where it must."""
    try:
        return text if yaml.safe_load(text) == text else json.dumps(text)
    except yaml.YAMLError:
        return json.dumps(text)


def _refuse_foreign(output: Path) -> None:
    """Refuse what was not made by a run, before anything is written to it."""
    if any(_holds(output, name) for name in (RECIPE, LOCK)) or not output.exists():
        return
    if not output.is_dir() or any(output.iterdir()):
        what = "exists, and is not a run folder"
        raise TrainingError(what, where=str(output), fix="give a new folder as --output")


@contextmanager
def _held(output: Path) -> Iterator[None]:
    """Keep other processes from writing to a run folder, for as long as this one lives."""
    path = output / LOCK
    make_folder(output)  # an old lock in one that is not ours might be written to all the same
    try:
        file = path.open("ab")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        try:
            lock(file, path, SECONDS_TO_END)
        except UsageError as error:
            what = "another process trains or measures in this run folder"
            fix = f"wait for it, let it save and stop (touch {output / STOP}), or give another --output"
            raise TrainingError(what, where=str(output), fix=fix) from error
        except OSError as error:  # some network file systems are mounted without
            log.warning("%s: no locks here (%s), so start one run at a time", output, error.strerror)
        yield


def _claim(output: Path, recipe: Recipe) -> None:
    refuse_other(output, recipe)
    path = output / RECIPE
    if path.exists():
        if _says(path, recipe):
            return
        if _learns_the_same(path, recipe):
            log.warning("%s goes on with other settings, which leave what is learnt as it is", output)
        else:
            shutil.rmtree(output / START, ignore_errors=True)
    write_run_file(path, dump_recipe(recipe))


def write_run_file(path: Path, text: str) -> None:
    """Write a file, in a folder made where missing; nothing has its name before all of it is on disk.

    Raises:
        DataError: If it cannot be written; what was there before is still there, unchanged.
    """
    try:
        put_whole(path, [text.encode()])
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder that a run writes to, where it is missing.

    Raises:
        DataError: If it cannot be made, written to, or named by everything that writes to it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        what, fix = "cannot be written: its name is not UTF-8", "give another --output"
        raise DataError(what, where=str(path), fix=fix) from error
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise cannot_write(path, error) from error


def _holds(output: Path, name: str) -> bool:
    """Whether a run folder, which need not be there, holds a file."""
    try:
        return (output / name).exists()
    except OSError as error:  # a name too long, or a folder that may not be looked into
        raise cannot_write(output, error) from error


def cannot_write(path: Path, error: OSError) -> DataError:
    """Turn the system's refusal of a file of a run into what was found, where, and what to do."""
    fix = "give another --output"
    if error.errno in FULL:
        fix = f"make room, or {fix}"
    elif error.errno in FORBIDDEN:
        fix = f"make it writable, or {fix}"
    elif error.errno in IN_THE_WAY:
        there = next(place for place in (path, *path.parents) if os.path.lexists(place))
        fix = f"move away {there}, which is no folder, or {fix}"
    return DataError(f"cannot be written: {error.strerror}", where=str(path), fix=fix)


def _says(path: Path, recipe: Recipe) -> bool:
    return path.read_text(encoding="utf-8") == dump_recipe(recipe)


def _learns_the_same(before: Path, recipe: Recipe) -> bool:
    began = _recipe_in(before)
    return began is not None and _what_is_learnt(began) == _what_is_learnt(recipe)


def _recipe_in(path: Path) -> Recipe | None:
    """Read the recipe that a run began with; None for one of another version of this program."""
    try:
        return load_recipe(path)
    except RecipeError:
        return None


def _what_is_learnt(recipe: Recipe) -> Recipe:
    """The recipe, each step in one pass, and all that is changeable left at its default."""
    stages = tuple(
        stage if stage.train is None else Stage(train=_in_one_pass(stage.train)) for stage in recipe.stages
    )
    return recipe.model_copy(update={"description": "", "stages": stages})


def _in_one_pass(train: Train) -> Train:
    defaults = {name: Train.model_fields[name].default for name in CHANGEABLE}
    samples = train.batch_size * train.accumulate
    return train.model_copy(update={**defaults, "batch_size": samples, "accumulate": 1})
