"""Frames → vision features: the vision tower, with a BT-Adapter beside it if there is one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, InstructBlipVisionModel, PreTrainedModel

from st_llm_cli.model.bt_adapter import BTAdapter
from st_llm_cli.model.config import StllmConfig


def build_vision(config: StllmConfig) -> PreTrainedModel:
    """Make the vision tower, [images, 3, size, size] → [images, patches(+1), dim], with random weights."""
    if config.vision_config.model_type == "instructblip_vision_model":
        tower = InstructBlipVisionModel(config.vision_config)
        # The tower knows one eps for all its norms; set here because a reload would lose it.
        tower.post_layernorm.eps = config.vision_final_norm_eps
        return tower
    return AutoModel.from_config(config.vision_config)


def build_bt_adapter(config: StllmConfig) -> BTAdapter | None:
    """Make the BT-Adapter the configuration asks for, if any.

    Raises:
        ValueError: If the vision tower is of a kind the adapter cannot stand beside.
    """
    if not config.mixes_frames:
        return None
    if config.vision_config.model_type != "instructblip_vision_model":
        raise ValueError(
            f"a BT-Adapter needs an InstructBLIP vision tower, not {config.vision_config.model_type}"
        )
    return BTAdapter(
        config.vision_config,
        depth=config.bt_adapter_depth,
        max_frames=config.bt_adapter_positions,
        drop_path=config.bt_adapter_drop_path,
    )


def encode_clips(vision: Any, bt_adapter: BTAdapter | None, clips: list[Tensor]) -> list[Tensor]:
    """Encode every frame of every clip.

    Args:
        vision: The vision tower.
        bt_adapter: Branch that mixes the frames of a clip, or None.
        clips: Normalised frames, each [frames, 3, height, width].

    Returns:
        Features after the last vision norm, each [frames, patches(+1), dim].
    """
    counts = [len(clip) for clip in clips]
    frames = torch.cat(clips)  # [all frames, 3, height, width]
    if bt_adapter is None:
        return list(vision(frames).last_hidden_state.split(counts))
    trunk = [hidden.split(counts) for hidden in _last_blocks(vision, frames, depth=len(bt_adapter.spatial))]
    positions = vision.embeddings.position_embedding
    groups = [range(len(clips))] if len(set(counts)) == 1 else [[i] for i in range(len(clips))]
    features: list[Tensor] = []
    for group in groups:  # clips of one length share a pass
        blocks = [
            torch.stack([hidden[i] for i in group]) for hidden in trunk
        ]  # [clips, frames, 1+patches, dim]
        features.extend(vision.post_layernorm(bt_adapter(blocks, positions)))
    return features


def _last_blocks(vision: Any, frames: Tensor, depth: int) -> list[Tensor]:
    hidden = vision.embeddings(frames)
    outputs = []
    for layer in vision.encoder.layers:
        hidden = layer(hidden)
        outputs.append(hidden)
        del outputs[:-depth]  # only the last blocks are read: the others' memory is free to go
    return outputs
