from pathlib import Path

import pytest
import torch
from torch import nn

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.stages.starting_point import starting_point
from st_llm_cli.stages.train import run
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.training.deepen import deepen
from tests.training.small import small_recipe
from tests.training.test_build import build


def logits(model: StllmForConditionalGeneration) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(1, 3, 3, 16, 16, generator=generator)
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([[1, -200, 5, 6, 7]]), frames=frames).logits


def test_new_layers_change_nothing() -> None:
    model = build(small_recipe({}))
    before = logits(model)
    deeper = deepen(model, 2, seed=0)
    assert deeper.config.text_config.num_hidden_layers == 3
    assert torch.equal(logits(deeper), before)


def test_a_seed_gives_the_same_layers_and_leaves_the_global_randomness_alone() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again, other = (deepen(build(small_recipe({})), 1, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    new = "language_model.model.layers.1.mlp.up_proj.weight"
    assert not torch.equal(first[new], other[new])


def test_a_stage_adds_layers_that_learn_and_that_its_result_keeps(tmp_path: Path) -> None:
    recipe = small_recipe({}, {"add_layers": 2, "optimizer": "muon"}, {})
    start = run(recipe, tmp_path / "run", until="stage0").checkpoint
    begun = starting_point(recipe, recipe.training[1], start)
    silent = begun.model.language_model.get_decoder().layers[2].self_attn.o_proj.weight
    assert not silent.any()
    last = load_model(str(run(recipe, tmp_path / "run").checkpoint)).model
    layers = last.language_model.get_decoder().layers
    assert len(layers) == 3 and layers[2].self_attn.o_proj.weight.any()


def test_layers_of_another_make_are_refused() -> None:
    model = build(small_recipe({}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("st_llm_cli.training.deepen._ENDS", ("attention.dense",))
        with pytest.raises(TrainingError, match=r"have no 'attention\.dense'"):
            deepen(model, 1, seed=0)
    assert isinstance(model.language_model, nn.Module)
