"""The sizes of a model, read off its tensors: what checkpoints without a configuration leave unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.released_names import their_name

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor by our name; the halves of an attention bias as `….qkv.bias:q` and `:v`."""


@dataclass(frozen=True)
class Hidden:
    """What no tensor tells. The defaults are those of the released models."""

    vision_heads: int = 16
    qformer_heads: int = 12
    num_local_frames: int = 16


def vision_sizes(shapes: Shapes, hidden: Hidden) -> dict[str, Any]:
    """Configuration of the vision tower.

    Raises:
        CheckpointError: If there is none.
    """
    patch = _shape(shapes, "vision_model.embeddings.patch_embedding.weight")[-1]
    patches = _shape(shapes, "vision_model.embeddings.position_embedding")[1] - 1
    return {
        "model_type": "instructblip_vision_model",
        "hidden_size": _shape(shapes, "vision_model.embeddings.class_embedding")[-1],
        "num_hidden_layers": count(shapes, r"vision_model\.encoder\.layers\.(\d+)\..*"),
        "num_attention_heads": hidden.vision_heads,
        "intermediate_size": _shape(shapes, "vision_model.encoder.layers.0.mlp.fc1.weight")[0],
        "patch_size": patch,
        "image_size": patch * round(patches**0.5),
        "layer_norm_eps": 1e-6,
    }


def qformer_sizes(shapes: Shapes, hidden: Hidden, *, reads_question: bool) -> dict[str, Any]:
    """Configuration of the Q-Former.

    Raises:
        CheckpointError: If there is none, or it lacks what it takes to read the question.
    """
    layers = count(shapes, r"qformer\.model\.encoder\.layer\.(\d+)\..*")
    crossed = sorted(_numbers(shapes, r"qformer\.model\.encoder\.layer\.(\d+)\.crossattention\..*"))
    sizes = {
        "model_type": "instructblip_qformer" if reads_question else "blip_2_qformer",
        "hidden_size": _shape(shapes, "qformer.query_tokens")[-1],
        "num_hidden_layers": layers,
        "num_attention_heads": hidden.qformer_heads,
        "intermediate_size": _shape(shapes, "qformer.model.encoder.layer.0.intermediate_query.dense.weight")[
            0
        ],
        "cross_attention_frequency": crossed[1] - crossed[0] if len(crossed) > 1 else layers,
        "encoder_hidden_size": _shape(shapes, "vision_model.embeddings.class_embedding")[-1],
    }
    if reads_question:
        embeddings = "qformer.model.embeddings."
        sizes["vocab_size"] = _shape(shapes, f"{embeddings}word_embeddings.weight")[0]
        sizes["max_position_embeddings"] = _shape(shapes, f"{embeddings}position_embeddings.weight")[0]
    return sizes


@contextmanager
def read_off(source: Path) -> Iterator[None]:
    """Say of what lacks a part, where that was looked for."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(error.what, where=error.where or str(source), fix=error.fix) from error


def count(shapes: Shapes, pattern: str) -> int:
    """Count what is numbered from 0 in the names that match."""
    return max(_numbers(shapes, pattern), default=-1) + 1


def _numbers(shapes: Shapes, pattern: str) -> set[int]:
    return {int(found[1]) for name in shapes if (found := re.fullmatch(pattern, name))}


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    if name in shapes:
        return shapes[name]
    part = {"vision_model": "the vision encoder", "qformer": "the Q-Former"}[name.split(".")[0]]
    there = any(known.startswith(name.split(".")[0]) for known in shapes)
    raise CheckpointError(
        f"{part} is {'not whole' if there else 'missing'}: no {their_name(name, reads_question=True)},"
        f" here {name}",
        # Frozen parts are not in files saved without DeepSpeed, nor in those of LAVIS.
        fix="give a file or folder that has it as `base`",
    )
