"""What a training step costs in floating-point operations; a multiply-add counts two.

A matrix of P weights costs 2·P per token that passes it; attention costs 4·width per pair of tokens, half of
that where it is causal. A forward pass counts once; a backward pass once more for the gradient that passes
through, and once more for that of the weights; recomputing what was not kept is another forward pass. So a
model that is trained in full costs 6·P per token, 8·P with checkpointing, LoRA 4·P and 6·P.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.training.step import StepShape, patches_of


@dataclass(frozen=True)
class StepFlops:
    """Floating-point operations of one forward and backward pass, by part of the model."""

    vision: float
    bt_adapter: float
    qformer: float
    projection: float
    student: float
    """The language model on what masking leaves."""
    teacher: float
    """The language model on the whole video, for masked video modelling."""
    head: float
    """From hidden states to words, at answers only."""

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def encoder(self) -> float:
        """What a cache of tokens may save."""
        return self.vision + self.bt_adapter + self.qformer


def step_flops(
    model: StllmForConditionalGeneration, shape: StepShape, *, checkpointing: bool = False
) -> StepFlops:
    """Count one forward and backward pass.

    Args:
        model: The model, on any device and without contents if need be; frozen where it will be.
        shape: What goes through it.
        checkpointing: Whether activations are computed again in the backward pass.
    """
    images = shape.clips * shape.frames
    # A part carries a gradient as soon as anything before it in the forward pass learns.
    carries = False
    parts: dict[str, float] = {}
    for name, module, forward in (
        ("vision", model.vision_model, vision_flops(model, images)),
        ("bt_adapter", model.bt_adapter, bt_adapter_flops(model, shape.clips, shape.frames)),
        ("qformer", model.qformer, qformer_flops(model, shape)),
        ("projection", model.projection, 2 * model.projection.weight.numel() * images * _queries(model)),
        (
            "student",
            model.language_model.get_decoder(),
            shape.rows * language_flops(model, shape.sequence),
        ),
    ):
        learns = module is not None and any(weight.requires_grad for weight in module.parameters())
        in_full = module is not None and _trains_matrices(module)
        carries = carries or learns
        again = checkpointing and name != "projection"
        parts[name] = forward * passes(trains=in_full, carries=carries, again=again)
    if shape.source != "frames":
        parts["vision"] = parts["bt_adapter"] = 0.0
    if shape.source == "queries":
        parts["qformer"] = 0.0
    if not shape.language:
        return StepFlops(**parts | {"projection": 0.0, "student": 0.0}, teacher=0.0, head=0.0)
    teacher = shape.rows * language_flops(model, shape.video_tokens) if shape.teacher else 0.0
    head = model.get_output_embeddings().weight
    answers = 2 * head.numel() * shape.rows * shape.text.answer  # type: ignore[operator]
    scored = answers * passes(trains=bool(head.requires_grad), carries=True, again=False)
    return StepFlops(**parts, teacher=teacher, head=scored)


def passes(*, trains: bool, carries: bool, again: bool) -> int:
    """How many forward passes' worth a part costs.

    Args:
        trains: Whether its own weights learn.
        carries: Whether a gradient passes through it.
        again: Whether its forward pass is done again in the backward pass.
    """
    return 1 + trains + carries + (again and carries)


def vision_flops(model: StllmForConditionalGeneration, images: int) -> float:
    """Forward pass of the vision tower: 2·P·n + 4·layers·n²·width for n patches an image."""
    vision: Any = model.vision_model
    config = vision.config
    patches, tokens = (config.image_size // config.patch_size) ** 2, patches_of(model.config)
    matrices = 2 * matrix_weights(vision.encoder) * tokens
    embedding = 2 * 3 * config.patch_size**2 * config.hidden_size * patches
    attention = 4 * config.num_hidden_layers * tokens**2 * config.hidden_size
    return float(images * (matrices + embedding + attention))


def bt_adapter_flops(model: StllmForConditionalGeneration, clips: int, frames: int) -> float:
    """Forward pass of the BT-Adapter: each patch looks along time, then each frame across space."""
    if model.bt_adapter is None:
        return 0.0
    config = model.config.vision_config
    patches = (config.image_size // config.patch_size) ** 2
    along_time = matrix_weights(model.bt_adapter.temporal) * patches
    across_space = matrix_weights(model.bt_adapter.spatial) * (patches + 1)
    matrices = 2 * frames * (along_time + across_space)
    pairs = patches * frames**2 + frames * (patches + 1) ** 2
    return float(clips * (matrices + 4 * model.config.bt_adapter_depth * pairs * config.hidden_size))


def qformer_flops(model: StllmForConditionalGeneration, shape: StepShape) -> float:
    """Forward pass of the Q-Former: queries (and question) among themselves, and towards the patches.

    One pass a frame; where it reads the question, one a frame and question.
    """
    config = model.config.qformer_config
    reads = model.config.reads_question
    patches = patches_of(model.config)
    queries, question = _queries(model), shape.text.question if reads else 0
    cost = 0.0
    for name, module in model.qformer.model.encoder.named_modules():
        if isinstance(module, nn.Linear):
            cost += 2 * module.weight.numel() * _qformer_tokens(name, queries, question, patches)
    crossed = -(-config.num_hidden_layers // config.cross_attention_frequency)
    pairs = config.num_hidden_layers * (queries + question) ** 2 + crossed * queries * patches
    passes_made = shape.frames * (shape.rows if reads else shape.clips)
    return float(passes_made * (cost + 4 * pairs * config.hidden_size))


def _qformer_tokens(name: str, queries: int, question: int, patches: int) -> int:
    """How many tokens pass a matrix of the Q-Former."""
    if "crossattention" in name:
        return patches if name.endswith((".key", ".value")) else queries
    if "_query." in name:
        return queries
    if ".attention." in name:
        return queries + question
    return question


def language_flops(model: StllmForConditionalGeneration, tokens: int) -> float:
    """Forward pass of the language model over one sequence, without its head: 2·P·S + 2·layers·width·S²."""
    config: Any = model.config.text_config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    matrices = matrix_weights(model.language_model.get_decoder())
    return float(2 * matrices * tokens + 2 * config.num_hidden_layers * width * tokens**2)


def matrix_weights(module: nn.Module) -> int:
    """Weights of all matrices that tokens are multiplied with."""
    linear = (each for each in module.modules() if isinstance(each, nn.Linear))
    # By their sizes: weights in four bits, or shared out among devices, are fewer numbers.
    return sum(each.in_features * each.out_features for each in linear)


def _trains_matrices(module: nn.Module) -> bool:
    """Whether the bulk of a part learns, not only small matrices beside frozen ones (LoRA)."""
    matrices = [each.weight for each in module.modules() if isinstance(each, nn.Linear)]
    learnt = sum(weight.numel() for weight in matrices if weight.requires_grad)
    return 2 * learnt > sum(weight.numel() for weight in matrices)


def _queries(model: StllmForConditionalGeneration) -> int:
    return model.config.num_queries
