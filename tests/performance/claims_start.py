"""What the runs behind docs/claims.md start from: eyes that have learnt, and a new language model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import save_tokenizers
from tests.performance.claims_processes import settings, stllm
from tests.performance.claims_rows import say

HEAD_DIM = 64
"""Of the new language model's attention."""


@dataclass(frozen=True)
class Budget:
    """How much a run is taught."""

    clips: int
    """Clips to learn from."""
    steps: int
    batch_size: int
    """Clips of a step."""
    drawn: bool = False
    """Whether clips are looked at as they are drawn: a GPU would wait long for so many files."""

    @property
    def settings(self) -> list[str]:
        """As a recipe of `recipes/claims` takes it."""
        return [f"stages.1.train.{name}={getattr(self, name)}" for name in ("steps", "batch_size")]


@dataclass(frozen=True)
class Size:
    """How large the new language model is, and how much it is taught."""

    layers: int
    width: int
    """Hidden size."""
    pictures: int
    """Pictures of a step of the start."""
    events: Budget
    long: Budget


SIZES = {
    "small": Size(4, 256, 32, Budget(4800, 400, 16), Budget(1600, 280, 8)),
    "large": Size(8, 320, 128, Budget(14400, 600, 64, True), Budget(4800, 600, 32, True)),
}
"""By name: for a CPU, and for a GPU."""


def knows_pictures(output: Path, size: Size) -> str:
    """Train the language model that runs start from, unless it is there; give its run folder."""
    blank, folder = output / "blank", output / "pictures"
    if not blank.exists():
        with_new_language("tiny", output / "blank.part", size).replace(blank)
    own = settings([f"model.checkpoint={blank}", f"stages.0.train.batch_size={size.pictures}"])
    _train(
        folder / "checkpoints" / "pictures-1", "recipes/claims/pictures.yaml", "--output", str(folder), *own
    )
    return str(folder)


def knows_plain_pictures(folder: Path) -> str:
    """Train a model on pictures of the plain world, unless it is there; give its checkpoint."""
    result = folder / "checkpoints" / "images-2"
    _train(result, "tiny/shapes", "--until", "images", "--output", str(folder))
    return str(result)


def _train(result: Path, *arguments: str) -> None:
    if not result.exists():
        say(f"training what runs start from, minutes: {result} …")
    stllm("train", *arguments)


def with_new_language(start: str, folder: Path, size: Size) -> Path:
    """Put a new language model, and a new projection to it, behind the eyes of another model."""
    model, tokenizers, _ = load_checkpoint(start)
    values = model.config.to_dict()
    heads = size.width // HEAD_DIM
    values["text_config"] |= {
        "num_hidden_layers": size.layers,
        "hidden_size": size.width,
        "intermediate_size": 3 * size.width,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD_DIM,
    }
    torch.manual_seed(0)
    new = StllmForConditionalGeneration(StllmConfig.from_dict(values))
    new.vision_model.load_state_dict(model.vision_model.state_dict())
    new.qformer.load_state_dict(model.qformer.state_dict())
    new.save_pretrained(folder)
    save_tokenizers(tokenizers, folder)
    return folder
