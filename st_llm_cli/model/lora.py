"""LoRA (peft): small matrices beside the language model's own, kept on disk apart from what they belong to.

A checkpoint with `adapter.json` holds what was trained and names the model it was trained on:

    config.json           of the whole model
    adapter.json          base model and settings of the matrices
    adapter.safetensors   the matrices, and what was trained of the other parts
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.locate import remedy
from st_llm_cli.model.st_llm import StllmForConditionalGeneration

SETTINGS = "adapter.json"
WEIGHTS = "adapter.safetensors"
INSTALL = "pip install 'stllm[train]'"


@dataclass(frozen=True)
class Adapter:
    """What is to be added to which model."""

    base: str
    """Name of the model, as `--model` takes it."""
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...] | None = None
    """Ends of the layers' names; every linear layer of the language model but its head if None."""


def is_adapter(folder: Path) -> bool:
    """Whether a checkpoint holds matrices to be added to another model."""
    return (folder / SETTINGS).exists()


def has_lora(model: StllmForConditionalGeneration) -> bool:
    """Whether matrices were added to a model."""
    return any("lora_" in name for name, _ in model.named_parameters())


def read_adapter(folder: Path) -> Adapter:
    """Read which model an adapter belongs to.

    Raises:
        CheckpointError: If that is missing or damaged.
    """
    content = weight_files.read_json(folder / SETTINGS)
    try:
        targets = content.pop("targets")
        return Adapter(targets=None if targets is None else tuple(targets), **content)
    except (KeyError, TypeError) as error:
        what = f"does not say what it belongs to: {error}"
        raise CheckpointError(what, where=str(folder / SETTINGS), fix="train again") from error


def add_lora(model: StllmForConditionalGeneration, adapter: Adapter) -> None:
    """Add the matrices; at first they change nothing, and the language model's own weights stay frozen.

    Raises:
        CheckpointError: If no layer has such a name, or peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise CheckpointError("peft is not installed", where="model.lora", fix=INSTALL) from error
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=adapter.dropout,
        target_modules="all-linear" if adapter.targets is None else list(adapter.targets),
    )
    try:
        inject_adapter_in_model(config, model.language_model)
    except ValueError as error:
        names = {name.rpartition(".")[2] for name, part in _linear_layers(model.language_model)}
        fix = f"some of: {', '.join(sorted(names))}"
        what = f"no layer of the language model is called {', '.join(adapter.targets or ())}"
        raise CheckpointError(what, where="model.lora.targets", fix=fix) from error


def save_adapter(
    model: StllmForConditionalGeneration,
    adapter: Adapter,
    folder: Path,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write what was trained.

    Args:
        model: The model with its matrices.
        adapter: Their settings.
        folder: Where to; made where missing.
        state: The weights, where the model itself holds pieces only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    (folder / SETTINGS).write_text(json.dumps(asdict(adapter), indent=2) + "\n", encoding="utf-8")
    weights = model.state_dict() if state is None else state
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    save_file({name: weights[name].contiguous() for name in trained}, folder / WEIGHTS)


def load_adapter(model: StllmForConditionalGeneration, folder: Path) -> None:
    """Put what was trained into a model that has the matrices.

    Raises:
        CheckpointError: If the file is damaged, or holds tensors that have no place.
    """
    where = str(folder / WEIGHTS)
    try:
        weights = load_file(where)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=where, fix=remedy(folder)) from error
    own = {name: parameter.shape for name, parameter in model.named_parameters()}
    wrong = [name for name, tensor in weights.items() if own.get(name) != tensor.shape]
    wrong += [name for name in own if "lora_" in name and name not in weights]
    if wrong:
        what = f"{len(wrong)} tensors do not fit the base model, such as {wrong[0]}"
        raise CheckpointError(what, where=where, fix="name the base model it was trained on in adapter.json")
    model.load_state_dict(weights, strict=False)


def merge_lora(model: StllmForConditionalGeneration) -> None:
    """Work the matrices into the language model's own weights, and leave a model like any other."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(model.language_model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.language_model.get_submodule(parent), child, layer.get_base_layer())
    if hasattr(model.language_model, "peft_config"):
        del model.language_model.peft_config  # peft would warn of it when matrices are added again


def _linear_layers(model: Any) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
