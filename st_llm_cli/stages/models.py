"""Getting a checkpoint: import what others released, make one from nothing, and look at what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from st_llm_cli.errors import RecipeError, UsageError
from st_llm_cli.model import weight_files
from st_llm_cli.model.checkpoint import named_dtype
from st_llm_cli.model.conversion import Conversion, appearing_whole, refuse_taken, write
from st_llm_cli.model.facts import CheckpointFacts, checkpoint_facts
from st_llm_cli.model.layouts import is_released
from st_llm_cli.model.locate import HUB_ID, fetch, locate
from st_llm_cli.model.official import plan_released
from st_llm_cli.model.starting_points import plan_start
from st_llm_cli.model.tokenizers import save_tokenizers
from st_llm_cli.recipe import Recipe

ALL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")
"""What is fetched of a Hub repository that is to be imported."""


def plan_import(
    source: str,
    destination: Path,
    variant: str,
    *,
    bert_tokenizer: Path | None = None,
    base: Sequence[Path] = (),
    language_model: Path | None = None,
    dtype: str = "auto",
) -> Conversion:
    """Settle everything about an import before anything is written.

    Args:
        source: File, folder or Hub id of a released ST-LLM checkpoint, or of a starting point of training.
        destination: Folder the checkpoint is to be written to.
        variant: Name in `VARIANTS`.
        bert_tokenizer: Folder with the Q-Former's vocabulary, for variants that read the question.
        base: Further files and folders to take missing parts from.
        language_model: Folder of a causal language model, for starting points.
        dtype: `auto` (as found), `float32`, `bfloat16` or `float16`.

    Raises:
        CheckpointError: If the destination is taken, or source and variant do not fit together.
        UsageError: If options do not go together.
    """
    refuse_taken(destination)
    stored = named_dtype(dtype)
    path = Path(source).expanduser()
    if not path.exists() and HUB_ID.fullmatch(source):
        path = fetch(source, ALL_FILES)
    if not is_released(weight_files.headers(path)):
        return plan_start(
            path,
            variant,
            language_model=language_model,
            bert_tokenizer=bert_tokenizer,
            base=base,
            dtype=stored,
        )
    if language_model is not None:
        what = "a released ST-LLM checkpoint has its own language model"
        raise UsageError(what, where="language_model", fix="leave it out")
    return plan_released(path, variant, bert_tokenizer=bert_tokenizer, base=base, dtype=stored)


def run_import(conversion: Conversion, destination: Path, step: Callable[[str], None]) -> None:
    """Write a settled import.

    Args:
        conversion: From `plan_import`.
        destination: Folder that does not exist, or is empty.
        step: Told the name of every weight file that is through.

    Raises:
        CheckpointError: If a file cannot be read or written, or the disk is too small.
    """
    write(conversion, destination, step)


def make_new(recipe: Recipe, destination: Path, seed: int = 0) -> None:
    """Write the model that a recipe starts from, before any training.

    Args:
        recipe: A recipe with a `model.new`, random weights of the sizes it names, or with a `model.auto`,
            published parts that are joined.
        destination: Folder that does not exist, or is empty.
        seed: Of the weights.

    Raises:
        RecipeError: If the recipe starts from a checkpoint.
        CheckpointError: If the destination is taken, or cannot be written.
    """
    from st_llm_cli.training.pair import start_pair
    from st_llm_cli.training.scale import choose_accelerator
    from st_llm_cli.training.start import start_new

    if recipe.model.checkpoint is not None:
        what = f"starts from {recipe.model.checkpoint!r}: there is nothing to make"
        raise RecipeError(what, where="model", fix="name a recipe with a 'model.new' or 'model.auto' block")
    refuse_taken(destination)
    choose_accelerator()
    model, tokenizers = (start_new if recipe.model.auto is None else start_pair)(recipe, seed)
    with appearing_whole(destination) as folder:
        model.save_pretrained(folder)
        save_tokenizers(tokenizers, folder)


def show(name: str) -> CheckpointFacts:
    """Say what a checkpoint is.

    Args:
        name: As `--model` takes it.

    Raises:
        CheckpointError: If there is none of that name, or it is damaged.
    """
    return checkpoint_facts(locate(name))
