"""Which encoder made the tokens: a digest of its weights and of the settings that decide what it does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def encoder_identity(tensors: Iterable[tuple[str, Tensor]], settings: Mapping[str, Any]) -> str:
    """Digest of an encoder.

    Args:
        tensors: Its weights and buffers by name, in any order, on any device.
        settings: What its computation depends on beside the weights; JSON values.

    Returns:
        `sha256:` and 64 hexadecimal digits.
    """
    import torch

    whole = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        whole.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        whole.update(flat.view(torch.uint8).numpy().data)
    return f"sha256:{whole.hexdigest()}"
