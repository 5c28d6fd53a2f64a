"""Whether a training stage may take its clips' tokens from the cache, and if so, how far they have come."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Video
from st_llm_cli.stages.clip_tokens import ClipTokens, SeenClip, why_not_sound
from st_llm_cli.stages.familiar import looks_like_shapes
from st_llm_cli.training.scale import casts_weights, zero_stage
from st_llm_cli.video.transform import RandomResizedCrop, ResizeCenterCrop

LOOKED_UP = 32
"""Clips of a stage that are looked up before it begins; each costs a digest of its file."""

if TYPE_CHECKING:
    from st_llm_cli.model.config import StllmConfig
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.tokens.store import TokenCache
    from st_llm_cli.video.clip import Clip
    from st_llm_cli.video.request import Request


def tokens_for_training(
    recipe: Recipe,
    stage: Train,
    model: StllmForConditionalGeneration,
    cache: TokenCache | None,
    folder: Path | None,
) -> tuple[ClipTokens | None, str | None]:
    """Open the cache for a stage, where its tokens are those that the encoder would give.

    Args:
        recipe: The recipe.
        stage: The training stage.
        model: The model as the stage begins.
        cache: Where tokens are kept; None where the cache is turned off.
        folder: Checkpoint the model was loaded from; None for one made in memory.

    Returns:
        The tokens, or None and in one line why not; no line where nobody would expect them.

    Raises:
        RecipeError: If the recipe demands the cache and it would not be sound.
    """
    if stage.objective != "answers" or all(data.files is None for data in stage.data):
        return None, None
    if recipe.tokens.cache == "off" or (cache is None and recipe.tokens.cache == "auto"):
        return None, None
    level = training_level(recipe, stage, model.config)
    reason = why_not_in_training(recipe, stage, model.config, level)
    fix = "freeze the encoder and show clips in a fixed way, or use 'auto'"
    if cache is None:
        reason, fix = "no cache: it is turned off", "name a folder as --cache, or use 'auto'"
    if reason is not None and recipe.tokens.cache == "required":
        raise RecipeError(f"the recipe requires what cannot be: {reason}", where="tokens.cache", fix=fix)
    if reason is not None or cache is None:
        return None, reason
    if casts_weights(stage):
        return TokensBeside(model, cache, folder, level), None
    return ClipTokens(model, cache, looks_like_shapes, folder, level=level), None


class TokensBeside(ClipTokens):
    """The tokens that a model's encoder makes as it is now, whatever is done to the model's numbers later.

    DeepSpeed casts a whole model to 16 bits, the frozen encoder with it: its tokens would be other ones than
    those of every other command. So a copy of the encoder stands beside the model, in main memory until a
    clip comes that is not in the cache.

    Args:
        model: The model, before it is trained.
        cache: Where tokens are kept.
        folder: As of `ClipTokens`.
        level: How far tokens are kept.
    """

    def __init__(
        self, model: StllmForConditionalGeneration, cache: TokenCache, folder: Path | None, level: str
    ) -> None:
        super().__init__(_encoder_of(model), cache, looks_like_shapes, folder, level=level)
        self._trained = model

    def encode(self, clips: Sequence[Clip], batch_frames: int = 64) -> list[SeenClip]:
        """Encode clips where the model is trained; see `ClipTokens.encode`."""
        self.model.to(self._trained.device)  # type: ignore[arg-type]
        return super().encode(clips, batch_frames)


def _encoder_of(model: StllmForConditionalGeneration) -> StllmForConditionalGeneration:
    """Copy a model without its language model."""
    from torch import nn

    alone = copy.deepcopy(model, {id(model.language_model): nn.Identity()})
    return alone.eval()  # type: ignore[no-untyped-call]


def say_if_cold(tokens: ClipTokens, requests: Sequence[Request]) -> str | None:
    """Say in one line that the first epoch will be slower, if most of a stage's first clips are not kept yet.

    Args:
        tokens: The encoder and its cache.
        requests: The clips and pictures of the stage.
    """
    first = requests[:LOOKED_UP]
    kept = sum(tokens.look_up(request).known is not None for request in first)
    if 2 * kept > len(first):  # a few may be such as cannot be read
        return None
    return (
        f"{len(first) - kept} of the first {len(first)} clips are not in the token cache: the first epoch "
        "reads and encodes what is missing; `stllm extract-features RECIPE` does so faster, before"
    )


def training_level(recipe: Recipe, stage: Train, config: StllmConfig) -> str:
    """How far tokens are kept: as the recipe says, else as far as they stay the same."""
    if recipe.tokens.level != "auto":
        return recipe.tokens.level
    return "frames" if config.reads_question or "qformer" not in stage.freeze else "queries"


def why_not_in_training(recipe: Recipe, stage: Train, config: StllmConfig, level: str) -> str | None:
    """Say in one line why kept tokens would not be those the encoder gives; None if they would be."""
    if stage.objective != "answers":
        return f"no cache: the objective '{stage.objective}' learns from the pictures themselves"
    if level == "queries" and config.reads_question:
        return "no cache: the Q-Former reads the question, 'queries' differ with it; use level 'frames'"
    if "random" in recipe.video.sampler:
        return f"no cache: the sampler '{recipe.video.sampler}' takes other frames in every epoch"
    if zero_stage(stage) == 3:
        return "no cache: ZeRO-3 spreads the encoder over processes that each need other clips"
    trained = trained_parts(stage, config, level)
    return why_not_sound(config, _transform(recipe.video, config.image_size), trained)


def trained_parts(stage: Train, config: StllmConfig, level: str) -> set[str]:
    """Name the parts of the encoder, up to a level of tokens, that a stage trains."""
    parts = {"vision"} if level == "frames" else {"vision", "qformer"}
    # The BT-Adapter goes with the projection.
    adapter = {"bt_adapter"} if config.mixes_frames and "projection" not in stage.freeze else set()
    return (parts - set(stage.freeze)) | adapter


def _transform(video: Video, side: int) -> ResizeCenterCrop | RandomResizedCrop:
    return RandomResizedCrop(side, seed=0) if video.crop == "random" else ResizeCenterCrop(side)
