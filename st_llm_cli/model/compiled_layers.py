"""Layers of a language model compiled for one token, for GPUs that are to read weights as fast as they can.

A recorded step still is hundreds of small operations, and its products of one row with a matrix leave a third
of the bandwidth unused. torch.compile makes a handful of kernels of a layer, products included. The layers
differ in their weights only, so one compilation serves all of them, and rooms of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

BACKEND = "inductor"


@contextmanager
def compiled_layers(layers: Sequence[nn.Module], rooms: Sequence[Any]) -> Iterator[None]:
    """Let layers read one token by compiled code, each with keys and values of its own.

    Args:
        layers: Those of a decoder.
        rooms: For each a `CacheLayerMixin` with keys and values, [1, heads, positions, dim].

    Raises:
        RuntimeError: On the first reading, if it cannot be compiled.
    """
    for layer, room in zip(layers, rooms, strict=True):
        layer.forward = partial(_read_compiled, layer, room)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _read_compiled(layer: nn.Module, room: Any, hidden: Tensor, attention_mask: Tensor, **given: Any) -> Any:
    for tensor, positions in ((room.keys, 2), (room.values, 2), (attention_mask, 3)):
        torch._dynamo.maybe_mark_dynamic(tensor, positions)
    return _compiled(BACKEND)(layer, room, hidden, attention_mask=attention_mask, **given)


@cache
def _compiled(backend: str) -> Callable[..., Any]:
    # Without this tuning, inductor leaves products with a matrix to cuBLAS.
    options: dict[str, Any] | None = {"coordinate_descent_tuning": True} if backend == "inductor" else None
    return torch.compile(_read, fullgraph=True, backend=backend, options=options)


def _read(layer: nn.Module, room: Any, hidden: Tensor, **given: Any) -> Any:
    """A layer, which gives its own number to the cache of all: what knows no number serves every layer."""
    return type(layer).forward(layer, hidden, **{**given, "past_key_values": room})
