"""A new model from a recipe, started so that a few minutes of training are enough to see.

transformers' defaults leave a vision tower made from nothing nearly dead (`initializer_range` 1e-10), and a
Q-Former's queries all alike. Here patches begin with sinusoidal codes of their places, queries with the codes
of the cells of a grid, and cross-attention by comparing the two: every query first looks at its own part of
the frame. docs/tiny-model.md has what this was measured to be worth.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    Blip2QFormerConfig,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe.schema import Model, NewLanguage, NewModel, NewQFormer, NewVision


def new_config(
    model: Model, new: NewModel, tokenizer: PreTrainedTokenizerFast, num_frames: int
) -> StllmConfig:
    """Write the configuration of a new model.

    Args:
        model: The recipe's model block.
        new: Its `new` block.
        tokenizer: Tokenizer of the language model.
        num_frames: Frames the model is to be shown.
    """
    words = len(tokenizer)
    special: dict[str, Any] = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    special["pad_token_id"] = tokenizer.pad_token_id
    local: dict[str, Any] = {}
    if model.num_local_frames is not None:
        local["num_local_frames"] = model.num_local_frames
    return StllmConfig(
        vision_config=_vision(new.vision),
        qformer_config=qformer_config(new.qformer, new.vision.hidden_dim, words),
        text_config=_language(new.language, words, special),
        num_queries=new.qformer.num_queries,
        video_input=model.video_input,
        positions=model.positions,
        adapter_dim=new.language.hidden_dim // 4,
        masked_video_decoder=model.mvm is not None and model.mvm.decoder,
        masked_video_loss="cosine" if model.mvm is None else model.mvm.loss,
        masked_video_weight=1.0 if model.mvm is None else model.mvm.weight,
        prompt_format="plain",
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        num_frames=num_frames,
        # A model made from nothing knows what it is trained on, and recipes can only name shapes for that.
        trained_on="shapes",
        **local,
        **special,
    )


def new_model(config: StllmConfig, seed: int) -> StllmForConditionalGeneration:
    """Make a model with fresh weights, the same for the same seed; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = StllmForConditionalGeneration(config)
        _initialise(model)
    return model


def random_model(config: StllmConfig, seed: int) -> StllmForConditionalGeneration:
    """Make a model of any parts with the random weights that transformers gives them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StllmForConditionalGeneration(config)


def place_codes(rows: int, columns: int, dim: int) -> Tensor:
    """Sinusoidal codes of the cells of a grid over the unit square: near cells have similar codes.

    Args:
        rows: Cells from top to bottom.
        columns: Cells from left to right.
        dim: Length of a code, a multiple of 4.

    Returns:
        Row by row, [rows*columns, dim].
    """
    # From half a wave over the picture to half a wave per patch of a 6x6 grid.
    waves = torch.pi * torch.logspace(0, math.log10(6), dim // 4)
    y, x = torch.meshgrid(_centers(rows), _centers(columns), indexing="ij")  # [rows, columns]
    angles = [place.flatten()[:, None] * waves for place in (x, y)]  # [rows*columns, dim/4] each
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


@torch.no_grad()
def _initialise(model: StllmForConditionalGeneration) -> None:
    vision: Any = model.vision_model
    qformer: Any = model.qformer.model
    for module in (*vision.encoder.modules(), *qformer.modules()):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    vision.embeddings.patch_embedding.reset_parameters()
    vision.embeddings.patch_embedding.weight.mul_(_CONTENT)
    positions = vision.embeddings.position_embedding  # [1, 1+patches, dim]
    side = math.isqrt(positions.shape[1] - 1)
    positions[0, 0] = 0
    positions[0, 1:] = place_codes(side, side, positions.shape[2])
    queries = model.qformer.query_tokens  # [1, queries, dim]
    rows, columns = grid_shape(queries.shape[1])
    queries[0] = place_codes(rows, columns, queries.shape[2])
    if positions.shape[2] == queries.shape[2]:
        for layer in qformer.encoder.layer:
            if layer.has_cross_attention:
                _compare_places(layer.crossattention.attention)


def grid_shape(cells: int) -> tuple[int, int]:
    """Rows and columns of the squarest grid with so many cells, no fewer columns than rows."""
    rows = max(count for count in range(1, math.isqrt(cells) + 1) if cells % count == 0)
    return rows, cells // rows


def _compare_places(attention: Any) -> None:
    """Let attention begin as a comparison of what queries and patches have in common."""
    nn.init.orthogonal_(attention.query.weight, gain=_SHARPNESS)
    attention.key.weight.copy_(attention.query.weight)


def _centers(cells: int) -> Tensor:
    return (torch.arange(cells) + 0.5) / cells


def _vision(new: NewVision) -> InstructBlipVisionConfig:
    return InstructBlipVisionConfig(
        hidden_size=new.hidden_dim,
        intermediate_size=_MLP_RATIO * new.hidden_dim,
        num_hidden_layers=new.num_layers,
        num_attention_heads=new.num_heads,
        image_size=new.image_size,
        patch_size=new.patch_size,
        initializer_range=0.02,
    )


def qformer_config(
    new: NewQFormer, vision_dim: int, words: int
) -> Blip2QFormerConfig | InstructBlipQFormerConfig:
    """Write the configuration of a new Q-Former.

    Args:
        new: Its block in the recipe.
        vision_dim: Width of the vision encoder.
        words: Tokens of the question that it may read.
    """
    kind = InstructBlipQFormerConfig if new.reads_question else Blip2QFormerConfig
    return kind(
        vocab_size=words,
        hidden_size=new.hidden_dim,
        intermediate_size=_MLP_RATIO * new.hidden_dim,
        num_hidden_layers=new.num_layers,
        num_attention_heads=new.num_heads,
        encoder_hidden_size=vision_dim,
        cross_attention_frequency=1,
        # Every sample is seen once: there is nothing to overfit.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def _language(new: NewLanguage, words: int, special: dict[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=words,
        hidden_size=new.hidden_dim,
        intermediate_size=_MLP_RATIO * new.hidden_dim,
        num_hidden_layers=new.num_layers,
        num_attention_heads=new.num_heads,
        num_key_value_heads=new.num_heads,
        **special,
    )


_MLP_RATIO = 3
"""Width of the hidden layers between attention layers, in widths of the model."""
_SHARPNESS = 1.5
"""How sharply a query first looks at its own part of the frame."""
_CONTENT = 3.0
"""How loud a patch's pixels are beside the code of its place; at 1 shapes are learnt much later."""
