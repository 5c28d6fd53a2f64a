"""A published vision encoder and a published language model → one model, with a new Q-Former between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.initialization import no_init_weights

from st_llm_cli.model import chat_template
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.parts import language_config, load_language, load_vision, part_folder, vision_part
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers, any_language_tokenizer
from st_llm_cli.recipe import Recipe
from st_llm_cli.training.build import qformer_config


def config_of_pair(recipe: Recipe) -> StllmConfig:
    """Configuration of the model that a recipe joins, as far as it is known without a tokenizer.

    Raises:
        CheckpointError: If a part is not there, or is none.
    """
    model = recipe.model
    assert model.auto is not None, "the caller looks whether the recipe joins published parts"
    vision, text = vision_part(model.auto.vision), language_config(model.auto.language)
    new = model.auto.qformer
    local: dict[str, Any] = {}
    if model.num_local_frames is not None:
        local["num_local_frames"] = model.num_local_frames
    return StllmConfig(
        vision_config=vision.config,
        qformer_config=qformer_config(new, vision.config.hidden_size, text.vocab_size),
        text_config=text,
        num_queries=new.num_queries,
        video_input=model.video_input,
        positions=model.positions,
        masked_video_decoder=model.mvm is not None and model.mvm.decoder,
        masked_video_loss="cosine" if model.mvm is None else model.mvm.loss,
        masked_video_weight=1.0 if model.mvm is None else model.mvm.weight,
        prompt_format=chat_template.NAME,
        image_mean=vision.image_mean,
        image_std=vision.image_std,
        num_frames=recipe.video.num_frames,
        **local,
    )


def start_pair(recipe: Recipe, seed: int) -> tuple[StllmForConditionalGeneration, Tokenizers]:
    """Load both parts and join them.

    Args:
        recipe: A recipe with a `model.auto`.
        seed: Of the weights that are new.

    Raises:
        CheckpointError: If a part is not there or incomplete, or the language model has no chat template.
    """
    auto = recipe.model.auto
    assert auto is not None, "the caller looks whether the recipe joins published parts"
    config = config_of_pair(recipe)
    tokenizer = any_language_tokenizer(part_folder(auto.language))
    marks, end = chat_template.read_marks(tokenizer, auto.language)
    config.chat_marks = marks
    config.eos_token_id = list(dict.fromkeys([end, tokenizer.eos_token_id]))
    config.pad_token_id = tokenizer.pad_token_id
    vision = load_vision(auto.vision, config.vision_config)
    language = load_language(auto.language, config.text_config)
    if len(tokenizer) > config.text_config.vocab_size:  # it was given a padding token
        language.resize_token_embeddings(len(tokenizer))
    model = _joined(config, vision, language, seed)
    return model, Tokenizers(tokenizer, tokenizer if config.reads_question else None)


def _joined(config: StllmConfig, vision: Any, language: Any, seed: int) -> StllmForConditionalGeneration:
    with no_init_weights():  # most of it is exchanged at once
        model = StllmForConditionalGeneration(config)
    model.vision_model, model.language_model = vision, language
    new: list[nn.Module | None] = [
        model.qformer,
        model.projection,
        model.global_local,
        model.masked_video_decoder,
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in new:
            if part is not None:
                part.apply(model._init_weights)
    model.eval()  # type: ignore[no-untyped-call]
    return model
