"""Parts of the model that a starting point lacks, as training is to find them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from st_llm_cli.model.bt_adapter import start_bt_adapter
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration


def read_by_new_parts(config: StllmConfig, names: Collection[str]) -> set[str]:
    """Name the tensors that new parts are made from.

    Args:
        config: Configuration of the model.
        names: The new tensors.
    """
    if not any(name.startswith("bt_adapter.") for name in names):
        return set()
    with torch.device("meta"):
        vision = StllmForConditionalGeneration(config).vision_model
    last = range(config.vision_config.num_hidden_layers)[-config.bt_adapter_depth :]
    blocks = tuple(f"encoder.layers.{number}." for number in last)
    read = {name for name in vision.state_dict() if name.startswith(blocks)}
    return {f"vision_model.{name}" for name in read | {"embeddings.class_embedding"}}


def new_tensors(
    config: StllmConfig, names: Collection[str], vision: dict[str, Tensor], seed: int = 0
) -> dict[str, Tensor]:
    """Make the values of new parts.

    Args:
        config: Configuration of the model.
        names: The new tensors; those of whole parts of the model.
        vision: What `read_by_new_parts` names.
        seed: Seed of what is random.
    """
    if not names:
        return {}
    with torch.device("meta"):
        model: Any = StllmForConditionalGeneration(config)
    parts = {part: getattr(model, part) for part in sorted({name.split(".")[0] for name in names})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in parts.values():
            module.to_empty(device="cpu")
            module.apply(model._init_weights)
    if "bt_adapter" in parts:
        found = {name.removeprefix("vision_model."): tensor for name, tensor in vision.items()}
        # Only the blocks that are copied exist; the rest of the tower stays on the meta device.
        result = model.vision_model.load_state_dict(found, strict=False, assign=True)
        assert not result.unexpected_keys
        start_bt_adapter(parts["bt_adapter"], model.vision_model)
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
