"""What a training step takes in memory on one device, in bytes.

Per weight that learns, plain training keeps 4 for itself, 4 for its gradient and 8 for AdamW's two means;
DeepSpeed in 16 bits keeps 2, 2 and 12 (a copy in 32 bits with the means). Of those, ZeRO-2 shares the last
two numbers among the devices and ZeRO-3 all three; offloading takes the last off the device (of ZeRO-3, all).
A weight that does not learn takes 4, 2 in mixed precision, and half a byte and a bit more in four bits.
What passes through, `Footprint`, is rehearsed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from st_llm_cli.recipe.schema import Train
from st_llm_cli.training.rehearsal import Footprint, Precision
from st_llm_cli.training.scale import offloads, zero_stage

FOUR_BITS = 0.5 + 4 / 64 / 8 * 2
"""Bytes per weight in four bits, with its share of the scales of blocks of 64 (themselves in eight bits)."""
ZERO_BUFFERS = 2 * 2 * 5e8
"""Bytes of the two buckets, of 5e8 numbers in 16 bits, that DeepSpeed collects and spreads through."""


@dataclass(frozen=True)
class Setup:
    """How a stage is run, as far as it matters for memory."""

    precision: str
    zero: int | None = None
    """Stage of ZeRO; None without DeepSpeed."""
    offload: bool = False
    processes: int = 1
    accumulate: int = 1
    optimizer: str = "adamw"
    quantized: bool = False
    """Whether the language model's own matrices are in four bits."""
    cpu: bool = False
    """Whether it trains on a CPU, whose heap keeps the room that activations had."""

    @property
    def numbers(self) -> Precision:
        """Types of weights and arithmetic."""
        if self.precision == "float32":
            return Precision()
        half = getattr(torch, self.precision)
        if self.zero is not None:
            return Precision(trained=half, frozen=half)
        return Precision(frozen=half, autocast=half)


def setup_of(stage: Train, *, processes: int, quantized: bool, cpu: bool = False) -> Setup:
    """Read off a stage, and the DeepSpeed configuration it names, how it is run.

    Raises:
        RecipeError: If that configuration cannot be read.
    """
    return Setup(
        precision=stage.precision,
        zero=zero_stage(stage),
        offload=offloads(stage),
        processes=processes,
        accumulate=stage.accumulate,
        optimizer=stage.optimizer,
        quantized=quantized,
        cpu=cpu,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the worst moment of a step."""

    weights: float
    gradients: float
    optimizer: float
    """Its state, with DeepSpeed's copy of the weights in 32 bits."""
    activations: float
    buffers: float
    """Of communication, of the optimiser's own step, and what the device loses by itself."""
    peak: float
    """Less than the sum where gradients grow while activations go."""


def memory_of(model: nn.Module, footprint: Footprint, setup: Setup, overhead: float = 0.0) -> Memory:
    """Add up a step.

    Args:
        model: The model, ready for training; on the meta device if need be.
        footprint: What passes through it.
        setup: How it is run.
        overhead: Bytes of the device that belong to nobody.
    """
    share = 1 / setup.processes
    learnt = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    weights, optimizer = _weights(model, setup), _optimizer_state(model, setup)
    gradients = footprint.gradients
    buffers = overhead
    if setup.zero is not None:
        weights *= share if setup.zero == 3 else 1
        weights = 0.0 if setup.zero == 3 and setup.offload else weights
        gradients *= share if setup.zero >= 2 else 1
        optimizer *= share if setup.zero >= 1 else 1
        optimizer = 0.0 if setup.offload else optimizer
        buffers += min(ZERO_BUFFERS, 4.0 * learnt)
        return _sum(weights, gradients, optimizer, footprint.activations, buffers)
    if setup.processes > 1:
        buffers += gradients  # DDP's buckets
        return _sum(weights, gradients, optimizer, footprint.activations, buffers)
    if setup.accumulate > 1:
        return _sum(weights, gradients, optimizer, footprint.activations, buffers)
    step = _optimizer_step(model, setup)
    passing = footprint.together + step if setup.cpu else max(footprint.together, gradients + step)
    peak = weights + optimizer + passing + buffers
    return Memory(weights, gradients, optimizer, footprint.activations, buffers, peak)


def _sum(weights: float, gradients: float, optimizer: float, activations: float, buffers: float) -> Memory:
    total = weights + gradients + optimizer + activations + buffers
    return Memory(weights, gradients, optimizer, activations, buffers, total)


def _weights(model: nn.Module, setup: Setup) -> float:
    numbers = setup.numbers
    total = 0.0
    for name, weight in model.named_parameters():
        each = float((numbers.trained if weight.requires_grad else numbers.frozen).itemsize)
        if setup.quantized and _in_four_bits(name, weight):
            each = FOUR_BITS
        total += weight.numel() * each
    return total


def _in_four_bits(name: str, weight: nn.Parameter) -> bool:
    """Whether QLoRA quantizes it: matrices of the language model's blocks, not its embedding or head."""
    blocks = name.startswith("language_model.") and ".layers." in name
    return blocks and weight.ndim == 2 and not weight.requires_grad


def _optimizer_state(model: nn.Module, setup: Setup) -> float:
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    if setup.zero is not None:
        return 12.0 * sum(weight.numel() for weight in learnt)
    if setup.optimizer == "muon":
        return float(sum(weight.numel() * (4 if weight.ndim >= 2 else 8) for weight in learnt))
    return 8.0 * sum(weight.numel() for weight in learnt)


def _optimizer_step(model: nn.Module, setup: Setup) -> float:
    """What the optimiser makes and forgets in its step: Muon works on all matrices of one shape at once."""
    if setup.optimizer != "muon":
        return 0.0
    counts = Counter(
        weight.flatten(1).shape for weight in model.parameters() if weight.requires_grad and weight.ndim >= 2
    )
    size = 4 if setup.cpu else 2  # of the numbers it is done in
    return max(
        (count * _orthogonal_bytes(min(shape), max(shape), size) for shape, count in counts.items()),
        default=0.0,
    )


def _orthogonal_bytes(short: int, long: int, size: int) -> float:
    """Alive at once while a matrix's update, in 32 bits, is made orthogonal: copies of it, and squares."""
    whole, square = short * long, short * short
    return 4.0 * whole + size * max(4 * whole + square, 3 * (whole + square))
