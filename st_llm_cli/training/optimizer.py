"""Optimisers by name, and which parameter learns how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from st_llm_cli.model.lora import has_lora
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe.schema import Model, Part, Train


class Muon(Optimizer):
    """Momentum whose every update of a matrix is made orthogonal; AdamW for all else.

    A group with `orthogonal: True` holds matrices; a convolution is one of flattened kernels. Their updates
    are scaled to the size of AdamW's, so that one learning rate serves both kinds of groups. PyTorch's own
    takes nothing but matrices, so needs a second optimiser beside it, and is in bfloat16 everywhere;
    `precision` is that of the Newton-Schulz steps.

    Source: Jordan et al. 2024, "Muon"; scale and weight decay of Liu et al. 2025 (arXiv 2502.16982).
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay, "eps": eps}
        super().__init__(groups, {**defaults, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            (self._step_matrices if group["orthogonal"] else self._step_others)(parameters, group)
        return loss

    def _step_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            by_shape.setdefault(parameter.flatten(1).shape, []).append(parameter)
        for (rows, columns), same in by_shape.items():
            pushes = torch.stack([push.flatten(1) for push in self._push(same, group)])
            updates = orthogonalise(pushes, self.precision)
            # AdamW's updates have a root mean square of about 0.2.
            rate = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
            laid = [update.view_as(each) for each, update in zip(same, updates, strict=True)]
            torch._foreach_mul_(same, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(same, laid, alpha=-rate)

    def _push(self, parameters: list[Tensor], group: dict[str, Any]) -> Sequence[Tensor]:
        """Add the gradients to the momentum and look one step ahead (Nesterov)."""
        (momentums,) = self._kept(parameters, "momentum")
        torch._foreach_lerp_(momentums, _gradients(parameters), 1 - group["momentum"])
        return torch._foreach_lerp(_gradients(parameters), momentums, group["momentum"])

    def _step_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        if not parameters:
            return
        beta1, beta2 = group["betas"]
        means, squares = self._kept(parameters, "mean", "square")
        gradients = _gradients(parameters)
        for parameter in parameters:
            self.state[parameter]["step"] = self.state[parameter].get("step", 0) + 1
        steps = [self.state[parameter]["step"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        scales = torch._foreach_div(squares, [1 - beta2**step for step in steps])
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, group["eps"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        rates = [-group["lr"] / (1 - beta1**step) for step in steps]
        torch._foreach_addcdiv_(parameters, means, scales, rates)

    def _kept(self, parameters: list[Tensor], *names: str) -> list[list[Tensor]]:
        """What is remembered of each parameter under each name, zero at first."""
        for parameter in parameters:
            for name in set(names) - set(self.state[parameter]):
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [[self.state[parameter][name] for parameter in parameters] for name in names]


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def orthogonalise(matrices: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Bring all singular values of each matrix close to one, by five Newton-Schulz steps.

    Args:
        matrices: [count, rows, columns].
        precision: Of the steps, which bear bfloat16; many a CPU is ten times slower in it than in float32.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    result = (matrices.mT if tall else matrices).to(precision)
    result = result / result.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        square = result @ result.mT  # [count, short side, short side]
        result = (
            _NEWTON_SCHULZ[0] * result
            + (_NEWTON_SCHULZ[1] * square + _NEWTON_SCHULZ[2] * square @ square) @ result
        )
    return (result.mT if tall else result).to(matrices.dtype)


def frozen_parts(stage: Train) -> tuple[Part, ...]:
    """Parts that a stage does not train: `cells` reads no further than the Q-Former."""
    beyond: tuple[Part, ...] = ("projection", "language") if stage.objective == "cells" else ()
    return (*stage.freeze, *beyond)


def freeze_for(model: StllmForConditionalGeneration, method: Model, stage: Train) -> None:
    """Let only the parts learn that a stage trains.

    Args:
        model: The model; parameters frozen before are released.
        method: The recipe's model block.
        stage: The stage.
    """
    freeze(model, frozen_parts(stage))
    masks = method.masking is not None and stage.mask and stage.objective == "answers"
    if model.masked_video_decoder is not None and not (masks and method.mvm is not None):
        # It would get no gradient, but a place in the optimiser, and from DeepSpeed weight decay.
        model.masked_video_decoder.requires_grad_(False)


def freeze(model: StllmForConditionalGeneration, parts: Iterable[Part]) -> None:
    """Let only the parts that are not named learn; of a language model with LoRA only what was added.

    Args:
        model: The model; parameters frozen before are released.
        parts: Keys of `PARTS`.
    """
    frozen = set(parts)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in frozen)
    if has_lora(model):
        for name, parameter in model.language_model.named_parameters():
            parameter.requires_grad_("lora_" in name)


def part_of(name: str) -> Part:
    """Part of the model that a parameter belongs to; what joins the parts is `projection`."""
    for part, prefix in PARTS.items():
        if name.startswith(prefix):
            return part
    return "projection"


def build_optimizer(
    model: StllmForConditionalGeneration, train: Train, heads: Iterable[nn.Module] = ()
) -> Optimizer:
    """Make the optimiser that a stage asks for, over the parameters that are not frozen.

    Args:
        model: The model.
        train: The stage.
        heads: What is trained beside the model and does not belong to it.
    """
    groups: dict[tuple[Part, bool, bool], list[nn.Parameter]] = {}
    embeddings = {id(each) for each in (model.get_input_embeddings(), model.get_output_embeddings())}
    tables = {id(p) for module in model.modules() if id(module) in embeddings for p in module.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # Position codes, queries, word tables, norms and biases are not maps from one space to another.
            matrix = name.endswith("weight") and parameter.ndim >= 2 and id(parameter) not in tables
            decays = parameter.ndim >= 2
            groups.setdefault((part_of(name), matrix, decays), []).append(parameter)
    learnt_beside = [parameter for head in heads for parameter in head.parameters()]
    beside: list[dict[str, Any]] = []
    if learnt_beside:
        beside = [{"params": learnt_beside, "lr": train.lr, "weight_decay": 0.0, "orthogonal": False}]
    return OPTIMIZERS[train.optimizer](
        [
            {
                "params": parameters,
                "lr": train.part_lr.get(part, train.lr),
                "weight_decay": train.weight_decay if decays else 0.0,
                "orthogonal": matrix,
            }
            for (part, matrix, decays), parameters in groups.items()
        ]
        + beside,
        train,
    )


def _adamw(groups: list[dict[str, Any]], train: Train) -> Optimizer:
    plain = [{name: value for name, value in group.items() if name != "orthogonal"} for group in groups]
    return AdamW(plain, lr=train.lr, betas=train.betas, fused=True)


def _muon(groups: list[dict[str, Any]], train: Train) -> Optimizer:
    precision = torch.bfloat16 if train.precision == "bfloat16" else torch.float32
    return Muon(groups, lr=train.lr, betas=train.betas, precision=precision)


_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)

PARTS: dict[Part, str] = {
    "vision": "vision_model.",
    "qformer": "qformer.",
    "projection": "projection.",
    "language": "language_model.",
}
"""Prefix of the parameters' names of each part; the BT-Adapter, the global-local adapter and the decoder of
masked video modelling go with the projection."""
OPTIMIZERS = {"adamw": _adamw, "muon": _muon}
