"""How much of the device's peak training uses: the operations of a step, by the planner's count (MFU)."""

from __future__ import annotations

from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.training.costs import step_flops
from st_llm_cli.training.devices import peak_here
from st_llm_cli.training.ready import seen_text
from st_llm_cli.training.step import step_shape


def seconds_at_peak(
    model: StllmForConditionalGeneration, recipe: Recipe, stage: Train, level: str | None
) -> float | None:
    """How long an optimiser step would take at the peak of this device.

    What checkpointing does again does not count.

    Args:
        model: The model, frozen as the stage says, before anything is shared out.
        recipe: The recipe.
        stage: The stage.
        level: How far clips from the cache have come, `frames` or `queries`; None where they are encoded.

    Returns:
        Seconds; None where the peak is not known, as on a CPU, whose speed others share.
    """
    peak = peak_here()
    if peak is None:
        return None
    source = {None: "frames", "frames": "features", "queries": "queries"}[level]
    text = seen_text(recipe, stage, model.config)
    shape = step_shape(model.config, recipe.model, stage, stage.batch_size, text, source)
    return stage.accumulate * step_flops(model, shape).total / peak
