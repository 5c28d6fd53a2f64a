"""BT-Adapter: a temporal branch beside the last blocks of a frozen image encoder.

Source: BT-Adapter (arXiv 2309.15785) as the released ST-LLM uses it. The trunk is never changed; the branch
reads the output of each of the last blocks, mixes frames, and is averaged with the trunk at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import InstructBlipVisionConfig, InstructBlipVisionModel
from transformers.models.instructblip.modeling_instructblip import (
    InstructBlipAttention,
    InstructBlipEncoderLayer,
)


class TemporalLayer(nn.Module):
    """Attention over time at each patch, with a projection that starts at zero."""

    def __init__(self, config: InstructBlipVisionConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.attention = InstructBlipAttention(config)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, patches: Tensor) -> Tensor:
        """Return what to add to the patches, [batch, patches, frames, dim]."""
        batch = patches.shape[0]
        sequences = self.norm(patches).flatten(0, 1)  # [batch*patches, frames, dim]
        mixed, _ = self.attention(sequences)
        change: Tensor = self.output(mixed).unflatten(0, (batch, -1))  # [batch, patches, frames, dim]
        return change


def _spatial_layer(config: InstructBlipVisionConfig) -> InstructBlipEncoderLayer:
    layer = InstructBlipEncoderLayer(config)  # type: ignore[arg-type]
    layer.layer_norm1.eps = layer.layer_norm2.eps = 1e-5
    return layer


class BTAdapter(nn.Module):
    """Branch of `depth` layers, each a temporal and a spatial attention.

    Args:
        config: Configuration of the tower the branch stands beside.
        depth: Number of layers; they read the last `depth` blocks of the tower.
        max_frames: Longest clip, in frames.
        drop_path: Probability of skipping the last layer in training, rising linearly from 0 in the first.
    """

    def __init__(
        self, config: InstructBlipVisionConfig, depth: int, max_frames: int, drop_path: float = 0.1
    ) -> None:
        super().__init__()
        self.temporal = nn.ModuleList(TemporalLayer(config) for _ in range(depth))
        self.spatial: Any = nn.ModuleList(_spatial_layer(config) for _ in range(depth))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.time_embedding = nn.Embedding(max_frames, config.hidden_size)
        self.drop_path = [drop_path * i / max(depth - 1, 1) for i in range(depth)]

    def forward(self, trunk: list[Tensor], position_embedding: Tensor) -> Tensor:
        """Join the branch with the trunk.

        Args:
            trunk: Outputs of the tower's last `depth` blocks, each [batch, frames, 1+patches, dim].
            position_embedding: The tower's own position embedding, [1, 1+patches, dim].

        Returns:
            Mean of trunk and branch, [batch, frames, 1+patches, dim], before the last vision norm.

        Raises:
            ValueError: If the clip has more frames than the time embedding.
        """
        num_frames = trunk[0].shape[1]
        if num_frames > self.time_embedding.num_embeddings:
            most = self.time_embedding.num_embeddings
            raise ValueError(f"the BT-Adapter knows {most} frames, the clip has {num_frames}")
        cls, patches = _split(trunk[0])  # [batch, 1, dim], [batch, patches, frames, dim]
        cls = (cls + self.cls_token + position_embedding[:, :1]) / 2
        patches = patches + position_embedding[:, 1:, None] + self.time_embedding.weight[:num_frames]
        for i in range(len(self.temporal)):
            if i > 0:
                next_cls, next_patches = _split(trunk[i])
                cls, patches = cls + next_cls, patches + next_patches
            patches = patches + self._drop(self.temporal[i](patches), self.drop_path[i])
            cls, patches = self._spatial(i, cls, patches)
        branch_cls = cls[:, None].expand(-1, num_frames, -1, -1)  # [batch, frames, 1, dim]
        branch = torch.cat([branch_cls, patches.transpose(1, 2)], dim=2)  # [batch, frames, 1+patches, dim]
        return (trunk[-1] + branch) / 2

    def _spatial(self, i: int, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within each frame; the frames' class tokens are averaged before the MLP, not after."""
        layer, probability = self.spatial[i], self.drop_path[i]
        batch, num_patches, num_frames, dim = patches.shape
        frames = patches.transpose(1, 2).flatten(0, 1)  # [batch*frames, patches, dim]
        frames = torch.cat([cls.repeat_interleave(num_frames, dim=0), frames], dim=1)
        change, _ = layer.self_attn(layer.layer_norm1(frames))  # [batch*frames, 1+patches, dim]
        cls_change, change = _split(change.view(batch, num_frames, 1 + num_patches, dim))
        # The released code drops the whole stream here, residual included; only the layer's change may go.
        cls, patches = cls + self._drop(cls_change, probability), patches + self._drop(change, probability)
        cls_change, change = layer.mlp(layer.layer_norm2(cls)), layer.mlp(layer.layer_norm2(patches))
        return cls + self._drop(cls_change, probability), patches + self._drop(change, probability)

    def _drop(self, change: Tensor, probability: float) -> Tensor:
        if not self.training or probability == 0.0:
            return change
        keep = torch.rand(change.shape[0], *[1] * (change.ndim - 1), device=change.device) >= probability
        return change * keep / (1 - probability)


def start_bt_adapter(adapter: BTAdapter, vision: InstructBlipVisionModel) -> None:
    """Set the branch to its starting point: copies of the last blocks, and no change over time.

    Args:
        adapter: The branch, changed in place.
        vision: The tower whose last blocks are copied.
    """
    depth = len(adapter.spatial)
    for layer, block in zip(adapter.spatial, vision.encoder.layers[-depth:], strict=True):
        layer.load_state_dict(block.state_dict())
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if name.startswith("temporal.") and ".output." in name:
                parameter.zero_()
        adapter.time_embedding.weight.zero_()
        adapter.cls_token.copy_(vision.embeddings.class_embedding)


def _split(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """[batch, frames, 1+patches, dim] → class token averaged over time, patches with time innermost."""
    return tokens[:, :, 0].mean(dim=1, keepdim=True), tokens[:, :, 1:].transpose(1, 2)
