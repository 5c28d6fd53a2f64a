"""The folder of a run: whose it is, and files in it that are whole or not there."""

from __future__ import annotations

import logging
from pathlib import Path

from st_llm_cli.errors import DataError, RecipeError, TrainingError
from st_llm_cli.recipe import Recipe, dump_recipe, load_recipe
from st_llm_cli.recipe.schema import Stage, Train
from st_llm_cli.tokens.atomic import put_whole

log = logging.getLogger(__name__)

CHANGEABLE = ("save_every", "log_every", "report_to", "max_failures", "gradient_checkpointing")
"""Settings of a training stage that say how it goes, not what it learns."""


def claim(output: Path, recipe: Recipe) -> None:
    """Make the run folder, or make sure that it belongs to this recipe.

    What a run learns stays as it began. How it goes may change on the way: `CHANGEABLE`, and `batch_size`
    with `accumulate` while their product stays.

    Raises:
        TrainingError: If it belongs to another.
        DataError: If it cannot be written to.
    """
    path, text = output / "recipe.yaml", dump_recipe(recipe)
    if not path.exists():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            what = "exists, and is not a run folder"
            raise TrainingError(what, where=str(output), fix="give a new folder as --output")
    elif path.read_text(encoding="utf-8") == text:
        return
    elif _learns_the_same(path, recipe):
        log.warning("%s goes on with other settings, which leave what is learnt as it is", output)
    else:
        what = "holds a run of another recipe, or of other settings"
        raise TrainingError(what, where=str(output), fix="give another --output")
    write_run_file(path, text)


def write_run_file(path: Path, text: str) -> None:
    """Write a file, in a folder made where missing; nothing has its name before all of it is on disk.

    Raises:
        DataError: If it cannot be written; what was there before is still there, unchanged.
    """
    try:
        put_whole(path, [text.encode()])
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise DataError(what, where=str(path), fix="make room, or give another --output") from error


def _learns_the_same(before: Path, recipe: Recipe) -> bool:
    try:
        began = load_recipe(before)
    except RecipeError:  # of another version of this program
        return False
    return _what_is_learnt(began) == _what_is_learnt(recipe)


def _what_is_learnt(recipe: Recipe) -> Recipe:
    """The recipe, each step in one pass and all that is changeable left at its default."""
    stages = tuple(
        stage if stage.train is None else Stage(train=_in_one_pass(stage.train)) for stage in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})


def _in_one_pass(train: Train) -> Train:
    defaults = {name: Train.model_fields[name].default for name in CHANGEABLE}
    samples = train.batch_size * train.accumulate
    return train.model_copy(update={**defaults, "batch_size": samples, "accumulate": 1})
