"""Keys and values that grow in place.

transformers' `DynamicCache` copies all of them for every token. In a long conversation that costs more than
the token itself, and ever new sizes leave holes in memory: a session grows although its context is full.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

STEP = 256
"""Positions for which room is made at least, and of which room is a multiple."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, [1, heads, length, dim], at the beginning of a larger room."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin with no room."""
        super().lazy_initialization(key_states, value_states)
        self._rooms = key_states[..., :0, :], value_states[..., :0, :]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values behind those that are there; all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if end > self._rooms[0].shape[-2]:
            size = -(-max(end, length + length // 2) // STEP) * STEP
            self._rooms = _larger(self._rooms[0], length, size), _larger(self._rooms[1], length, size)
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[..., length:end, :] = states
        self.keys, self.values = (room[..., :end, :] for room in self._rooms)
        return self.keys, self.values


class GrowingCache(DynamicCache):
    """A cache of such layers, for one sequence: beams, which reorder sequences, need another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer


def _larger(room: Tensor, length: int, size: int) -> Tensor:
    """Room for so many positions with what stands at the beginning of another."""
    new = torch.empty((*room.shape[:-2], size, room.shape[-1]), dtype=room.dtype, device=room.device)
    new[..., :length, :] = room[..., :length, :]
    return new
