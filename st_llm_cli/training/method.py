"""What a recipe says of the method → the configuration of the checkpoint it starts from."""

from __future__ import annotations

from st_llm_cli.errors import RecipeError
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.published import published_config
from st_llm_cli.recipe.schema import Recipe


def apply_method(config: StllmConfig, recipe: Recipe) -> None:
    """Let a checkpoint be used as the recipe says.

    Args:
        config: Its configuration; changed in place.
        recipe: The recipe that starts from it.

    Raises:
        RecipeError: If it lacks weights for that, or is not of the variant that the recipe says.
    """
    model = recipe.model
    if model.variant is not None:
        _check_variant(config, model.variant)
    if model.video_input == "residual" and config.video_input != "residual":
        what = "'residual' needs the global-local adapter, which the checkpoint lacks"
        raise RecipeError(what, where="model.video_input", fix="start from a checkpoint of such a variant")
    if model.mvm is not None and model.mvm.decoder and not config.masked_video_decoder:
        what = "asks for the decoder of masked video modelling, which the checkpoint lacks"
        raise RecipeError(what, where="model.mvm", fix="set decoder: false, or start from one that has it")
    config.num_frames = recipe.video.num_frames
    config.video_input = model.video_input
    config.num_local_frames = model.num_local_frames or config.num_local_frames
    config.positions = model.positions
    if model.mvm is not None:
        config.masked_video_loss = model.mvm.loss
        config.masked_video_weight = model.mvm.weight
    if any(source.shapes is None for stage in recipe.training for source in stage.data):
        config.trained_on = None  # it will know more than the moving shapes


def _check_variant(config: StllmConfig, variant: str) -> None:
    """Hold the kinds of parts of a checkpoint against those of a variant, whatever their sizes."""
    wanted = published_config(variant)
    for name, about in _KINDS.items():
        found, meant = getattr(config, name), getattr(wanted, name)
        if found != meant:
            what = f"the checkpoint is not of variant '{variant}': {about} is {found!r} there, not {meant!r}"
            fix = f"make one with `stllm models import SOURCE DEST --variant {variant}`, or drop `variant`"
            raise RecipeError(what, where="model.checkpoint", fix=fix)


_KINDS = {
    "reads_question": "whether its Q-Former reads the question",
    "mixes_frames": "whether it has a BT-Adapter",
    "masked_video_decoder": "whether it has a decoder of masked video modelling",
    "prompt_format": "its prompt format",
}
