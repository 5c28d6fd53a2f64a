"""The 'wide' model (recipes/wide.yaml) for what is measured here: made once, then found again.

from tests.performance.wide import wide_checkpoint
model = load_model(str(wide_checkpoint()))
long = load_model(str(wide_checkpoint(*RESIDUAL)))
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from st_llm_cli.recipe import dump_recipe, load_recipe
from st_llm_cli.stages.models import make_new

RESIDUAL = ("video.num_frames=64", "model.video_input=residual", "model.num_local_frames=16")
"""Global-local input: 64 frames looked at, the tokens of 16 given to the language model."""


def wide_checkpoint(*settings: str) -> Path:
    """Folder of a checkpoint of the wide model, 224 MB among the temporary files, the same from run to run.

    Args:
        settings: Changes to the recipe, `key=value`.
    """
    recipe = load_recipe("wide", settings)
    name = hashlib.sha256(dump_recipe(recipe).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"stllm-wide-{name}"
    if not folder.exists():
        make_new(recipe, folder)
    return folder
