"""What a model can take in, known from its configuration alone: checked before anything long begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st_llm_cli.errors import UsageError
from st_llm_cli.model.checkpoint import read_config
from st_llm_cli.model.locate import locate
from st_llm_cli.stages.describe import Wish

if TYPE_CHECKING:
    from st_llm_cli.model.config import StllmConfig

MOST_FRAMES = 4096
"""Most frames of a clip where the model itself sets no limit: 0.6 GB of pictures at 224 x 224."""


def check_model(name: str, wish: Wish, compat: str | None = None) -> int:
    """Find a model, and refuse what it could not take in.

    Args:
        name: As for `load_model`.
        wish: What is asked of it.
        compat: As for `load_model`.

    Returns:
        The most frames of a clip that it can read.

    Raises:
        CheckpointError: If there is no such model.
        UsageError: If more frames or words are asked for than it can read or write.
    """
    config = read_config(locate(name))
    config.compat = compat or config.compat
    most = most_frames(config)
    check_num_frames(wish.num_frames, most)
    length = text_length(config)
    new = wish.generation.max_new_tokens
    if length is not None and new >= length:
        what = f"{new} new tokens, and the language model reads and writes {length} at most"
        raise UsageError(what, where="max_new_tokens", fix="give fewer; 128 is a long description")
    return most


def check_num_frames(wanted: int | None, most: int) -> None:
    """Refuse a number of frames that a model cannot read; None is the model's own.

    Raises:
        UsageError: If it is larger.
    """
    if wanted is not None and wanted > most:
        what = f"{wanted} frames, and this model reads {most} at most"
        raise UsageError(what, where="num_frames", fix=f"give at most {most}")


def most_frames(config: StllmConfig) -> int:
    """Most frames of a clip that leave room for at least one word."""
    most = MOST_FRAMES
    if config.mixes_frames:
        most = min(most, config.bt_adapter_positions)
    length = text_length(config)
    if length is not None and config.video_input == "all":
        most = min(most, (length - 1) // config.num_queries)
    return most


def text_length(config: StllmConfig) -> int | None:
    """Tokens the language model can read and write together; None if it names no limit."""
    if config.compat == "released":
        return None  # the released code drops what is too long, so nothing is
    length = getattr(config.text_config, "max_position_embeddings", None)
    return None if length is None else int(length)
