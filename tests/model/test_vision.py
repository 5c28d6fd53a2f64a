from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, SiglipVisionConfig

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.vision import build_bt_adapter, build_vision, encode_clips
from tests.micro import micro_config, micro_frames, micro_model

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


def deep_vision() -> dict[str, Any]:
    """Settings of a tower with more blocks than its BT-Adapter reads."""
    vision = {"model_type": "instructblip_vision_model", **SIZES, "num_hidden_layers": 4}
    return {**vision, "image_size": 16, "patch_size": 8, "initializer_range": 0.5}


def test_last_norm_has_an_eps_of_its_own() -> None:
    tower: Any = build_vision(micro_config(vision_final_norm_eps=1e-3))
    assert tower.post_layernorm.eps == 1e-3
    assert tower.encoder.layers[0].layer_norm1.eps == 1e-6


@torch.no_grad()
def test_last_norm_is_computed_with_its_eps() -> None:
    model, _ = micro_model(vision_final_norm_eps=0.5)
    tower: Any = model.vision_model
    hidden = tower.embeddings(micro_frames())
    for layer in tower.encoder.layers:
        hidden = layer(hidden)
    mean, variance = hidden.mean(-1, keepdim=True), hidden.var(-1, keepdim=True, unbiased=False)
    plain = (hidden - mean) / (variance + 0.5).sqrt()
    plain = plain * tower.post_layernorm.weight + tower.post_layernorm.bias
    (features,) = model.encode_vision(micro_frames()[None])
    assert torch.allclose(features, plain, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("lengths", [(3, 3), (4, 2), (1, 5, 1)])
def test_clips_are_encoded_as_if_alone(depth: int, lengths: tuple[int, ...]) -> None:
    model, _ = micro_model(bt_adapter_depth=depth)
    clips = [micro_frames(seed, length) for seed, length in enumerate(lengths)]
    together = model.encode_vision(clips)
    for features, clip in zip(together, clips, strict=True):
        (alone,) = model.encode_vision([clip])
        assert features.shape == (len(clip), 5, 16)
        assert torch.allclose(features, alone, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("depth", "mixes"), [(0, False), (1, True)])
def test_frames_see_each_other_only_through_a_bt_adapter(depth: int, mixes: bool) -> None:
    model, _ = micro_model(bt_adapter_depth=depth)
    clip = micro_frames()
    changed = clip.clone()
    changed[-1] += 1
    (first,), (second,) = model.encode_vision(clip[None]), model.encode_vision(changed[None])
    assert torch.allclose(first[0], second[0], atol=1e-5) != mixes


@torch.no_grad()
def test_adapter_reads_the_last_blocks_of_the_tower() -> None:
    config = StllmConfig(
        **{**micro_config().to_dict(), "vision_config": deep_vision(), "bt_adapter_depth": 2}
    )
    vision: Any = build_vision(config)
    adapter = build_bt_adapter(config)
    assert adapter is not None
    adapter.eval()
    seen: list[torch.Tensor] = []
    adapter.register_forward_pre_hook(lambda module, given: seen.extend(given[0]))
    clip = micro_frames()
    (features,) = encode_clips(vision, adapter, [clip])

    hidden, outputs = vision.embeddings(clip), []
    for layer in vision.encoder.layers:
        hidden = layer(hidden)
        outputs.append(hidden)
    assert len(seen) == 2
    assert torch.allclose(seen[0][0], outputs[-2], atol=1e-5)
    assert torch.allclose(seen[1][0], outputs[-1], atol=1e-5)
    joined = adapter([output[None] for output in outputs[-2:]], vision.embeddings.position_embedding)
    assert torch.allclose(features, vision.post_layernorm(joined)[0], atol=1e-5)


@pytest.mark.parametrize("kind", [CLIPVisionConfig, SiglipVisionConfig])
@torch.no_grad()
def test_other_vision_towers(kind: Any) -> None:
    settings = micro_config().to_dict() | {"vision_config": kind(**SIZES, image_size=16, patch_size=8)}
    model = StllmForConditionalGeneration(StllmConfig(**settings)).eval()
    (video,), counts = model.encode_video(frames=[micro_frames()])
    assert counts == [4]
    assert video.shape == (4 * 3, 16)


def test_bt_adapter_needs_the_tower_it_was_made_for() -> None:
    vision = CLIPVisionConfig(**SIZES, image_size=16, patch_size=8)
    config = StllmConfig(**{**micro_config().to_dict(), "vision_config": vision, "bt_adapter_depth": 1})
    with pytest.raises(
        ValueError, match="a BT-Adapter needs an InstructBLIP vision tower, not clip_vision_model"
    ):
        build_bt_adapter(config)


def test_pictures_are_brought_to_the_towers_type() -> None:
    model = micro_model()[0].bfloat16()
    (features,) = model.encode_vision(micro_frames()[None])
    assert features.dtype == torch.bfloat16
