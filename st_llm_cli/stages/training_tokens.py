"""Whether a training stage may take its clips' tokens from the cache, and if so, how far they have come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Video
from st_llm_cli.stages.clip_tokens import ClipTokens, why_not_sound
from st_llm_cli.stages.familiar import looks_like_shapes
from st_llm_cli.training.scale import zero_stage
from st_llm_cli.video.transform import RandomResizedCrop, ResizeCenterCrop

if TYPE_CHECKING:
    from st_llm_cli.model.config import StllmConfig
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.tokens.store import TokenCache


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
    return ClipTokens(model, cache, looks_like_shapes, folder, level=level), None


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
