"""Keys and tokens to keep."""

from dataclasses import replace

import torch
from torch import Tensor

from st_llm_cli.tokens.key import Key

KEY = Key(
    media="sha256:00",
    indices=(0, 1, 2),
    reader="pyav",
    transform="ResizeCenterCrop(resolution=8)",
    encoder="sha256:ee",
    level="queries",
    question=None,
    dtype="float16",
)


def key(number: int = 0, dtype: str = "float16") -> Key:
    """A key unlike those of other numbers."""
    return replace(KEY, media=f"sha256:{number:02x}", dtype=dtype)


def tokens(number: int = 0, dtype: torch.dtype = torch.float16, shape: tuple[int, ...] = (3, 4, 5)) -> Tensor:
    """Tokens unlike those of other numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(number)).to(dtype)
