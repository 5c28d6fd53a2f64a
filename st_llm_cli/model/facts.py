"""What a checkpoint is, told from its configuration and the headers of its weight files."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from st_llm_cli.model import weight_files
from st_llm_cli.model.checkpoint import check_weights, read_config
from st_llm_cli.model.weight_files import Header


@dataclass(frozen=True)
class Part:
    """One part of a model."""

    name: str
    parameters: int
    num_bytes: int


@dataclass(frozen=True)
class CheckpointFacts:
    """What there is to know before loading a checkpoint."""

    folder: str
    parts: tuple[Part, ...]
    """In the order in which a frame passes through them."""
    dtype: str
    """Type of most of the weights."""
    language_model: str
    """transformers' name of its kind: `llama`."""
    vocabulary: int
    """Tokens the language model knows."""
    context: int | None
    """Tokens the language model reads at most, if its configuration says so."""
    image_size: int
    """Side of the pictures it looks at, in pixels."""
    num_frames: int
    """Frames of a clip it looks at unless told otherwise."""
    most_frames: int | None
    """Frames its BT-Adapter can tell apart; None without one."""
    tokens_per_frame: int
    tokens_per_clip: int
    """Video tokens the language model reads of a clip of `num_frames` frames."""
    video_input: str
    """`all`, `mean` or `residual`."""
    num_local_frames: int | None
    """Frames whose tokens the global-local input keeps; None for another input."""
    prompt_format: str
    reads_question: bool
    """Whether its Q-Former reads the question."""
    bt_adapter: bool
    masked_video_decoder: bool
    trained_on: str | None
    """`shapes` for a model that knows moving shapes only; None for others."""

    @property
    def parameters(self) -> int:
        """Parameters of all parts."""
        return sum(part.parameters for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights on disk."""
        return sum(part.num_bytes for part in self.parts)


def checkpoint_facts(folder: Path) -> CheckpointFacts:
    """Read what a checkpoint is; weights are not read, only their names and sizes.

    Args:
        folder: A checkpoint of ours.

    Raises:
        CheckpointError: If something is missing, damaged, or does not fit together.
    """
    config = read_config(folder)
    check_weights(folder, config)
    headers = weight_files.headers(folder)
    residual = config.video_input == "residual"
    return CheckpointFacts(
        folder=str(folder),
        parts=tuple(_parts(headers)),
        dtype=_main_type(headers),
        language_model=config.text_config.model_type,
        vocabulary=config.text_config.vocab_size,
        context=getattr(config.text_config, "max_position_embeddings", None),
        image_size=config.image_size,
        num_frames=config.num_frames,
        most_frames=config.bt_adapter_positions if config.mixes_frames else None,
        tokens_per_frame=config.num_queries,
        tokens_per_clip=config.tokens_per_clip(config.num_frames),
        video_input=config.video_input,
        num_local_frames=config.num_local_frames if residual else None,
        prompt_format=config.prompt_format,
        reads_question=config.reads_question,
        bt_adapter=config.mixes_frames,
        masked_video_decoder=config.masked_video_decoder,
        trained_on=config.trained_on,
    )


def _parts(headers: dict[str, Header]) -> list[Part]:
    parameters: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for name, header in headers.items():
        part = name.split(".")[0]
        parameters[part] += math.prod(header.shape)
        sizes[part] += header.num_bytes
    return [Part(PARTS[part], parameters[part], sizes[part]) for part in PARTS if part in sizes]


def _main_type(headers: dict[str, Header]) -> str:
    sizes: Counter[torch.dtype] = Counter()
    for header in headers.values():
        sizes[header.dtype] += header.num_bytes
    return str(sizes.most_common(1)[0][0]).removeprefix("torch.")


PARTS = {
    "vision_model": "vision encoder",
    "bt_adapter": "BT-Adapter",
    "qformer": "Q-Former",
    "projection": "projection",
    "global_local": "global-local",
    "masked_video_decoder": "masked-video decoder",
    "language_model": "language model",
}
"""Names of parts in our weight files → names for people."""
