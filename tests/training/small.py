"""A recipe small enough to train in a test."""

from __future__ import annotations

from typing import Any

from st_llm_cli.recipe.schema import Recipe


def small_recipe(*stages: dict[str, Any], **model: Any) -> Recipe:
    """Make a recipe of a model with some 30 thousand weights and stages of a few steps.

    Args:
        stages: Settings of each training stage, in place of the defaults below.
        model: Settings of the model block.
    """
    part = {"hidden_dim": 32, "num_layers": 1, "num_heads": 2}
    new = {
        "vision": {"image_size": 16, "patch_size": 8, **part},
        "qformer": {"num_queries": 4, **part},
        "language": part,
    }
    defaults = {"data": [{"shapes": {"questions_per_clip": 2}}], "steps": 2, "batch_size": 4, "threads": 1}
    named = [{"name": f"stage{number}", **defaults, **stage} for number, stage in enumerate(stages)]
    return Recipe.model_validate(
        {
            "video": {"num_frames": 3},
            "model": {"new": new, **model},
            "stages": [{"train": {"log_every": 1, **stage}} for stage in named],
        }
    )
