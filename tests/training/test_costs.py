from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.training.costs import passes, step_flops
from st_llm_cli.training.step import StepShape, TextSizes


def small_model(**settings: Any) -> StllmForConditionalGeneration:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    vision = {"model_type": "instructblip_vision_model", "image_size": 28, "patch_size": 14, **sizes}
    qformer = {"cross_attention_frequency": 2, "vocab_size": 50, **sizes}
    qformer |= {"model_type": "instructblip_qformer"}
    text = {"model_type": "llama", "vocab_size": 64, "num_key_value_heads": 2, **sizes}
    config = StllmConfig(
        vision_config=vision, qformer_config=qformer, text_config=text, num_queries=4, **settings
    )
    return StllmForConditionalGeneration(config).eval()


@pytest.mark.parametrize("bt_adapter_depth", [0, 2])
def test_the_encoder_costs_what_its_operations_add_up_to(bt_adapter_depth: int) -> None:
    model = small_model(video_input="all", bt_adapter_depth=bt_adapter_depth, num_frames=3)
    model.requires_grad_(False)
    shape = StepShape(2, 3, TextSizes(10, 4, question=5), 12, 12, teacher=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        features = model.encode_vision(torch.zeros(2, 3, 3, 28, 28))
        model.encode_queries(features, torch.ones(2, 5, dtype=torch.long))
    assert step_flops(model, shape).encoder == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_causal_sequence_costs_half_of_its_pairs() -> None:
    model = small_model(video_input="all")
    model.requires_grad_(False)
    shape = StepShape(1, 3, TextSizes(20, 4), 12, 12, teacher=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.language_model.get_decoder()(inputs_embeds=torch.zeros(1, 32, 32), use_cache=False)
    pairs = 2 * 2 * 32 * 32**2  # the counter counts those that the mask leaves out too
    assert step_flops(model, shape).student == pytest.approx(counter.get_total_flops() - pairs, rel=0.01)


def test_training_costs_three_passes_and_four_with_checkpointing() -> None:
    model = small_model(video_input="all")
    shape = StepShape(1, 3, TextSizes(20, 4), 12, 6, teacher=True)
    forward = step_flops(model.requires_grad_(False), shape)
    learnt = step_flops(model.requires_grad_(True), shape)
    again = step_flops(model, shape, checkpointing=True)
    assert learnt.student == 3 * forward.student and again.student == 4 * forward.student
    assert learnt.teacher == forward.teacher > 0


def test_a_frozen_part_behind_one_that_learns_costs_the_gradient_through_it() -> None:
    assert passes(trains=False, carries=True, again=False) == 2
    assert passes(trains=False, carries=False, again=True) == 1
