import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from st_llm_cli.training.memory import Setup, memory_of, setup_of
from st_llm_cli.training.optimizer import Muon
from st_llm_cli.training.rehearsal import Footprint
from tests.training.small import small_recipe

MODEL = nn.Linear(1000, 1000, bias=False)
STEP = Footprint(forward=5e6, early=5e6, late=4e6, backward=5e6, gradients=4e6)


def test_plain_training_keeps_sixteen_bytes_a_weight() -> None:
    memory = memory_of(MODEL, STEP, Setup("bfloat16"))
    assert (memory.weights, memory.gradients, memory.optimizer) == (4e6, 4e6, 8e6)
    assert memory.peak == 4e6 + 8e6 + 5e6  # gradients grow while activations go


def test_accumulated_gradients_stay_beside_the_activations() -> None:
    assert memory_of(MODEL, STEP, Setup("bfloat16", accumulate=2)).peak == 4e6 + 8e6 + 4e6 + 5e6


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are made, and those of them alive at the worst moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {each.untyped_storage()._cdata for each in tree_leaves(args) if isinstance(each, Tensor)}
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and each.untyped_storage()._cdata not in given | self.known:
                storage = each.untyped_storage()
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
        self.most = max(self.most, self.now)
        return made

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@pytest.mark.parametrize("shape", [(96, 32), (32, 64), (64, 64)])
def test_a_step_of_muon_takes_what_is_planned(shape: tuple[int, int]) -> None:
    model = nn.ModuleList([nn.Linear(*shape, bias=False) for _ in range(4)])
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer = Muon([{"params": list(model.parameters()), "orthogonal": True}], lr=1e-3)
    optimizer.step()
    with Alive() as alive:
        optimizer.step()
    setup = Setup("float32", optimizer="muon", cpu=True)
    memory = memory_of(model, Footprint(), setup)
    assert memory.peak - memory.weights - memory.optimizer == pytest.approx(alive.most, rel=0.1)


@pytest.mark.parametrize(
    ("setup", "weights", "gradients", "optimizer"),
    [
        (Setup("bfloat16", zero=2, processes=4), 2e6, 1e6, 3e6),
        (Setup("bfloat16", zero=3, processes=4), 0.5e6, 1e6, 3e6),
        (Setup("bfloat16", zero=2, processes=4, offload=True), 2e6, 1e6, 0),
        (Setup("bfloat16", zero=3, processes=4, offload=True), 0, 1e6, 0),
    ],
)
def test_zero_shares_what_it_says(setup: Setup, weights: float, gradients: float, optimizer: float) -> None:
    memory = memory_of(MODEL, STEP, setup)
    assert (memory.weights, memory.gradients, memory.optimizer) == (weights, gradients, optimizer)


def test_frozen_weights_are_kept_in_sixteen_bits_or_four() -> None:
    model = nn.ModuleDict({"language_model": nn.ModuleDict({"layers": nn.Linear(1000, 1000, bias=False)})})
    model.requires_grad_(False)
    assert memory_of(model, Footprint(), Setup("bfloat16")).weights == 2e6
    model = nn.Module()
    model.language_model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(1000, 1000, bias=False)])})
    model.requires_grad_(False)
    assert memory_of(model, Footprint(), Setup("bfloat16", quantized=True)).weights < 0.6e6


@pytest.mark.parametrize(
    ("zero", "weights", "gradients", "optimizer"),
    [(0, 2e6, 4e6, 12e6), (1, 2e6, 4e6, 3e6), (3, 0.5e6, 1e6, 3e6)],
)
def test_a_configuration_of_ones_own_is_planned_by_its_stage(
    tmp_path: Path, zero: int, weights: float, gradients: float, optimizer: float
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": zero}}))
    (stage,) = small_recipe({"deepspeed": str(path), "precision": "bfloat16"}).training
    memory = memory_of(MODEL, STEP, setup_of(stage, processes=4, quantized=False))
    assert (memory.weights, memory.gradients, memory.optimizer) == (weights, gradients, optimizer)


def test_offloading_is_read_from_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    for device, offload in (("cpu", True), ("none", False)):
        block = {"stage": 2, "offload_optimizer": {"device": device}}
        path.write_text(json.dumps({"zero_optimization": block}))
        (stage,) = small_recipe({"deepspeed": str(path)}).training
        assert setup_of(stage, processes=1, quantized=False).offload is offload
