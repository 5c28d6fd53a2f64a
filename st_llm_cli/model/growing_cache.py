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
        self.rooms = key_states[..., :0, :], value_states[..., :0, :]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values behind those that are there; all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        self.make_room(end)
        for room, states in zip(self.rooms, (key_states, value_states), strict=True):
            room[..., length:end, :] = states
        self.reach(end)
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def make_room(self, end: int) -> None:
        """Move to a larger room if so many positions do not fit into this one."""
        if end > self.rooms[0].shape[-2]:
            length = self.get_seq_length()
            size = -(-max(end, length + length // 2) // STEP) * STEP
            self.rooms = _larger(self.rooms[0], length, size), _larger(self.rooms[1], length, size)
            self.reach(length)

    def reach(self, end: int) -> None:
        """Count what stands at the first so many positions of the room as keys and values."""
        self.keys, self.values = (room[..., :end, :] for room in self.rooms)


class GrowingCache(DynamicCache):
    """A cache of such layers, for one sequence: beams, which reorder sequences, need another."""

    layers: list[GrowingLayer]  # type: ignore[assignment]  # no others

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer

    @property
    def room(self) -> Tensor | None:
        """Room of the first layer's keys, which is another one once all layers moved; None before any."""
        return self.layers[0].rooms[0] if self.layers and self.layers[0].is_initialized else None

    def prepare(self, positions: int) -> None:
        """Make room for so many more positions, with numbers wherever there is nothing yet.

        Hidden positions have no weight, but what is not a number stays so at any weight.
        """
        length = self.get_seq_length()
        for layer in self.layers:
            layer.make_room(length + positions)
            for room in layer.rooms:
                room[..., length:, :] = 0

    def reach(self, end: int) -> None:
        """Count what stands at the first so many positions of the rooms as keys and values."""
        for layer in self.layers:
            layer.reach(end)


def _larger(room: Tensor, length: int, size: int) -> Tensor:
    """Room for so many positions with what stands at the beginning of another."""
    new = torch.empty((*room.shape[:-2], size, room.shape[-1]), dtype=room.dtype, device=room.device)
    new[..., :length, :] = room[..., :length, :]
    return new
