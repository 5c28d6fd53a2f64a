"""What a training stage begins with: the result of the one before, a checkpoint, or a new model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.checkpoint import DTYPES, load_checkpoint
from st_llm_cli.model.locate import locate
from st_llm_cli.model.lora import Adapter, add_lora, has_lora
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.training.deepen import deepen
from st_llm_cli.training.method import apply_method
from st_llm_cli.training.pair import start_pair
from st_llm_cli.training.saving import CHECKPOINT
from st_llm_cli.training.start import start_new


@dataclass(frozen=True)
class Begun:
    """A model about to be trained."""

    model: StllmForConditionalGeneration
    tokenizers: Tokenizers
    folder: Path | None
    """Where it was loaded from; None for a new one."""
    adapter: Adapter | None
    """What was added to its language model, if that is all of it that learns."""


def starting_point(recipe: Recipe, stage: Train, start: Path | None) -> Begun:
    """Load or make the model of a stage, with the input and the objective that the recipe asks for.

    Layers that the stage adds to the language model are there.

    Args:
        recipe: The recipe.
        stage: The stage.
        start: Result of the stage before; None for the first.

    Raises:
        CheckpointError: If a checkpoint cannot be loaded.
        RecipeError: If the checkpoint cannot be used as the recipe says.
        TrainingError: If layers cannot be added.
    """
    begun = _begin(recipe, stage, start)
    return replace(begun, model=deepen(begun.model, stage.add_layers, stage.seed))


def _begin(recipe: Recipe, stage: Train, start: Path | None) -> Begun:
    if start is None and recipe.model.new is not None:
        model, tokenizers = start_new(recipe, stage.seed)
        return Begun(model, tokenizers, None, None)
    if start is None and recipe.model.auto is not None:
        model, tokenizers = start_pair(recipe, stage.seed)
        return Begun(model, tokenizers, None, None)
    source = recipe.model.checkpoint if start is None else str(start)
    assert source is not None, "the schema asks for one origin"
    lora = recipe.model.lora
    adapter = None
    if lora is not None:
        assert recipe.model.checkpoint is not None, "the linter asks for one"
        base = _lasting_name(recipe.model.checkpoint)
        adapter = Adapter(base, lora.rank, lora.alpha, lora.dropout, lora.targets)
    checkpoint = load_checkpoint(source, device="cpu", dtype="float32", merged=lora is None or start is None)
    model = checkpoint.model
    if start is None:
        apply_method(model.config, recipe)
    if lora is not None and adapter is not None and not has_lora(model):
        _shrink(model, stage, lora.quantize)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stage.seed)
            add_lora(model, adapter)
    return Begun(model, checkpoint.tokenizers, checkpoint.folder, adapter)


def _lasting_name(name: str) -> str:
    """Name of a model that means the same from every folder, and for good.

    Raises:
        TrainingError: If the model is removed as soon as its own stage is done.
    """
    path = Path(name).expanduser()
    if CHECKPOINT.fullmatch(path.name) and path.parent.parent.name == "work":
        what = "is removed when its stage is done, and LoRA keeps no more than what it adds to it"
        fix = f"keep it: stllm export {name} DEST, and give model.checkpoint=DEST"
        raise TrainingError(what, where=f"model.checkpoint: {name}", fix=fix)
    return str(locate(name).resolve()) if path.is_dir() else name


def _shrink(model: StllmForConditionalGeneration, stage: Train, quantize: str | None) -> None:
    """Keep the language model's own weights, which do not learn, in the type that is computed in."""
    if quantize is not None:
        _to_four_bits(model.language_model)
    elif torch.cuda.is_available():
        model.language_model.to(DTYPES[stage.precision])


def _to_four_bits(language_model: Any) -> None:
    """Put bitsandbytes' layers in place of the linear ones, the head excepted; moving them packs them."""
    import bitsandbytes

    head = language_model.get_output_embeddings()
    for name, layer in list(language_model.named_modules()):
        if not isinstance(layer, torch.nn.Linear) or layer is head:
            continue
        packed = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=torch.bfloat16,
            quant_type="nf4",
        )
        packed.weight = bitsandbytes.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        # On some CPUs a pass without gradients, such as the teacher's, would lay weights out anew, for good.
        packed.support_avx512bf16_for_cpu = False
        parent, _, child = name.rpartition(".")
        setattr(language_model.get_submodule(parent), child, packed)
