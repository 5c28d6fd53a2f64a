import copy

import pytest
import torch

from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.training import rehearsal
from st_llm_cli.training.rehearsal import Footprint, Precision, rehearse
from st_llm_cli.training.step import StepShape, TextSizes
from tests.training.test_costs import small_model

SHAPE = StepShape(2, 3, TextSizes(10, 4, question=5), 12, 6, teacher=True)


def train_all(model: StllmForConditionalGeneration) -> None:
    model.requires_grad_(True)


def test_gradients_are_those_of_the_weights_that_learn() -> None:
    model = small_model(video_input="all")
    found = rehearse(model.config, SHAPE, train_all, Precision())
    used = [p for n, p in model.named_parameters() if ".embeddings.LayerNorm" not in n]
    assert found.gradients == pytest.approx(4 * sum(weight.numel() for weight in used), rel=0.02)
    assert found.together < found.activations + found.gradients


def test_a_deep_model_lies_on_the_line_of_two_shallow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    config = copy.deepcopy(small_model(video_input="all").config)
    config.text_config.num_hidden_layers = 8
    line = rehearse(config, SHAPE, train_all, Precision())
    monkeypatch.setattr(rehearsal, "SHALLOW", (2, 8))
    whole = rehearse(config, SHAPE, train_all, Precision())
    assert line == whole


def test_checkpointing_keeps_less_and_mixed_precision_has_its_copies() -> None:
    def checkpointed(model: StllmForConditionalGeneration) -> None:
        model.gradient_checkpointing_enable({"use_reentrant": False})

    config = small_model(video_input="all").config
    shape = StepShape(8, 3, TextSizes(40, 4, question=5), 12, 12, teacher=False)
    plain, less, mixed = (
        rehearse(config, shape, get_ready, precision)
        for get_ready, precision in (
            (train_all, Precision()),
            (checkpointed, Precision()),
            (train_all, Precision(autocast=torch.bfloat16)),
        )
    )
    assert less.activations < 0.8 * plain.activations
    assert mixed.activations < plain.activations


def test_the_worst_moment_is_the_largest_of_all_parts() -> None:
    found = Footprint(encoding=1, forward=5, early=7, late=6, backward=4, gradients=3)
    assert (found.together, found.activations) == (7, 5)
