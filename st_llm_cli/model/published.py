"""Sizes of the models that recipes start from, as published: to plan before anything is downloaded."""

from __future__ import annotations

from typing import Any

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.official import BT_ADAPTER_DEPTH
from st_llm_cli.model.variants import named_variant


def published_config(variant: str) -> StllmConfig:
    """Configuration of a released variant at its full size: EVA ViT-g, Q-Former, Vicuna-7B.

    Raises:
        UsageError: If there is no such variant.
    """
    settings = named_variant(variant)
    qformer: dict[str, Any] = {"model_type": "blip_2_qformer", "encoder_hidden_size": 1408}
    if settings.reads_question:  # its vocabulary has one token more than BERT's
        qformer |= {"model_type": "instructblip_qformer", "vocab_size": 30523}
    return StllmConfig(
        vision_config=EVA_VIT_G,
        qformer_config=qformer,
        text_config=VICUNA_7B | {"vocab_size": 32001 if settings.reads_question else 32000},
        bt_adapter_depth=BT_ADAPTER_DEPTH if settings.bt_adapter else 0,
        video_input=settings.video_input,
        masked_video_decoder=settings.masked_video_decoder,
        num_frames=settings.num_frames,
        prompt_format=settings.prompt_format,
    )


EVA_VIT_G = {
    "model_type": "instructblip_vision_model",
    "hidden_size": 1408,
    "num_hidden_layers": 39,
    "num_attention_heads": 16,
    "intermediate_size": 6144,
    "patch_size": 14,
    "image_size": 224,
    "layer_norm_eps": 1e-6,
}
VICUNA_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
