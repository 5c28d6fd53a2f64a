"""Four things, one after another: variants of one budget on rich clips (recipes/claims/events.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

import torch

from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import save_tokenizers
from st_llm_cli.shapes.world import EVAL_SEEDS, TRAIN_SEEDS
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.tokens.store import TokenCache
from tests.performance.claims_files import cache_beside, held_out, train_on, write_clips
from tests.performance.claims_rows import Places, Row, answers, settings, stllm, trained
from tests.performance.event_clips import ORDER, event_clip, event_questions, event_scene, order_blind

NO_MASK = "stages.1.train.mask=false"
FIXED = '{"mean": 0.5, "std": 0, "low": 0.5, "high": 0.5}'
VARIANTS: dict[str, list[str]] = {
    "all": [NO_MASK],
    "mean": [NO_MASK, "model.video_input=mean"],
    "fixed": [f"model.masking={FIXED}"],
    "dynamic": ["model.masking=released"],
    "dynamic + MVM": ["model.masking=released", "model.mvm=released"],
    "from 0.3": ['model.masking={"low": 0.3, "high": 0.7}', "model.mvm=released"],
    "MSE": ["model.masking=released", "model.mvm=paper"],
    "compact": ["model.masking=released", "model.mvm=released", "model.positions=compact"],
}
"""Settings of each variant."""
FRAMES = (4, 8, 16, 32)
HELD_OUT = EVAL_SEEDS[:300]
"""Seeds of the clips that are asked about."""
HEAD_DIM = 64
"""Of the new language model's attention."""


@dataclass(frozen=True)
class Size:
    """How large the new language model is, and how much it is taught."""

    layers: int
    width: int
    """Hidden size."""
    clips: int
    """Clips to learn from."""
    steps: int
    batch_size: int
    """Clips of a step."""


SIZES = {"small": Size(4, 256, 4800, 400, 16), "large": Size(8, 320, 14400, 600, 64)}
"""By name: for a CPU, and for a GPU."""


class EventRuns:
    """The runs on clips in which four things happen.

    Args:
        output: Folder of runs, clips and tokens, and of the start that all runs share; they are made.
        size: Of the language model and of the training.
    """

    def __init__(self, output: Path, size: Size) -> None:
        self.output, self.size = output, size
        self.clips = output / "events"
        self.start = _pictures(output, size)
        write_clips(self.clips, TRAIN_SEEDS[: size.clips], "train", event_clip)
        self.asked = write_clips(self.clips, HELD_OUT, "held-out", event_clip)

    def measure(self, variant: str, seed: int) -> Row:
        """Train a variant and ask its result about held-out clips."""
        folder = self.output / f"events-{variant.replace(' ', '')}-{seed}"
        own = [f"stages.1.train.{key}={getattr(self.size, key)}" for key in ("steps", "batch_size")]
        train_on("events", folder, self.clips, self.start, seed, [*own, *VARIANTS[variant]])
        model = load_model(str(folder), cache=TokenCache(cache_beside(folder)))
        right = {str(frames): answers(model, held_out(model, self.asked, frames)) for frames in FRAMES}
        return Row(variant, seed, *trained(folder), right)


def _pictures(output: Path, size: Size) -> str:
    """Train the language model that all runs start from, unless it is there."""
    blank, folder = output / "blank", output / "pictures"
    if not blank.exists():
        with_new_language("tiny", blank, size)
    own = settings([f"model.checkpoint={blank}", f"stages.0.train.batch_size={2 * size.batch_size}"])
    stllm("train", "recipes/claims/pictures.yaml", "--output", str(folder), *own)
    return str(folder)


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


def places(kinds: tuple[str, ...]) -> Places:
    """Which of the answers are to questions of some kinds."""
    found: list[list[int]] = []
    begin = 0
    for asked in _kinds_asked():
        found.append([begin + place for place, kind in enumerate(asked) if kind in kinds])
        begin += len(asked)
    return found


@cache
def _kinds_asked() -> list[list[str]]:
    """Kinds of the questions about each held-out clip."""
    return [[each.kind for each in event_questions(event_scene(seed))] for seed in HELD_OUT]


@cache
def without_order(kinds: tuple[str, ...] = ORDER) -> float:
    """Best share of right answers for one who knows the eight frames of each clip, and not their order."""
    best = []
    for seed in HELD_OUT:
        scene = event_scene(seed)
        asked = [each for each in event_questions(scene) if each.kind in kinds]
        if asked:
            best.append(mean(order_blind(scene, asked, 8)))
    return mean(best)
