"""Short events in long clips: all 64 frames, 16 of them, and global-local (recipes/claims/long.yaml)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import save_tokenizers
from st_llm_cli.shapes.world import EVAL_SEEDS, TRAIN_SEEDS
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.tokens.store import TokenCache
from tests.performance.claims_files import cache_beside, fill_cache, held_out, requests, train_on, write_clips
from tests.performance.claims_rows import Row, answers, trained
from tests.performance.claims_start import Budget
from tests.performance.long_clips import FRAMES, long_clip

LOCAL = 16
VARIANTS: dict[str, list[str]] = {
    "all 64": [],
    "16 of 64": [f"video.num_frames={LOCAL}"],
    "global-local": ["model.video_input=residual", f"model.num_local_frames={LOCAL}"],
}
"""Settings of each variant."""
HELD_OUT = EVAL_SEEDS[:200]
"""Seeds of the clips that are asked about."""
LOOKED_AT = 40
"""Held-out clips that are decoded and encoded again to see what that takes."""


@dataclass(frozen=True)
class LongRow(Row):
    """What one run on long clips came to."""

    video_tokens: int
    """That the language model reads of a clip."""
    look_seconds: float
    """Decoding and encoding a held-out clip; 0 where clips are drawn."""
    answer_seconds: float
    """The language model's time for all questions about it at once."""


class LongRuns:
    """The runs on long clips.

    Args:
        start: Checkpoint of a model that knows pictures.
        output: Folder of runs, clips and tokens; clips and a start with the global-local adapter are made.
        budget: Of each run.
    """

    def __init__(self, start: str, output: Path, budget: Budget) -> None:
        self.output, self.budget = output, budget
        self.clips = output / "long"
        self.starts = {name: start for name in VARIANTS}
        self.starts["global-local"] = str(with_adapter(start, output / "start-global-local"))
        write_clips(self.clips, TRAIN_SEEDS[: budget.clips], "train", long_clip, drawn=budget.drawn)
        self.asked = write_clips(self.clips, HELD_OUT, "held-out", long_clip, drawn=budget.drawn)

    def fill(self, jobs: int) -> None:
        """See `Runs`."""
        files = (self.clips / "train.json", self.asked)
        wanted = [(file, frames) for file in files for frames in (FRAMES, LOCAL)]
        drawn = long_clip if self.budget.drawn else None
        fill_cache(wanted, self.starts["all 64"], cache_beside(self.clips), jobs, drawn)

    def measure(self, variant: str, seed: int) -> LongRow:
        """Train a variant and ask its result about held-out clips."""
        folder = self.output / f"{variant.replace(' ', '')}-{seed}"
        own = [*self.budget.settings, *VARIANTS[variant]]
        train_on("long", folder, self.clips, self.starts[variant], seed, own)
        return LongRow(variant, seed, *trained(folder), *self._asked(folder, variant))

    def _asked(self, folder: Path, variant: str) -> tuple[dict[str, str], int, float, float]:
        """What a run answers about held-out clips, and what a clip takes."""
        frames = LOCAL if variant == "16 of 64" else FRAMES
        look_seconds = 0.0 if self.budget.drawn else self._look_seconds(folder, frames)
        model = load_model(str(folder), cache=TokenCache(cache_beside(folder)))
        clips = held_out(model, self.asked, frames)
        asked = time.monotonic()
        right = answers(model, clips)
        answer_seconds = (time.monotonic() - asked) / len(clips)
        tokens = model.model.config.tokens_per_clip(frames)
        return {str(frames): right}, tokens, round(look_seconds, 4), round(answer_seconds, 4)

    def _look_seconds(self, folder: Path, frames: int) -> float:
        """What it takes a run to decode and encode a clip."""
        model = load_model(str(folder))
        began = time.monotonic()
        for _, clip in islice(model.read_clips(requests(model, self.asked, frames)), LOOKED_AT):
            model.looked(clip)
        return (time.monotonic() - began) / LOOKED_AT


def with_adapter(start: str, folder: Path) -> Path:
    """Give a model the adapter of the global-local input, as it is before training: it adds nothing yet."""
    model, tokenizers, _ = load_checkpoint(start)
    config = StllmConfig.from_dict({**model.config.to_dict(), "video_input": "residual"})
    torch.manual_seed(0)
    wider = StllmForConditionalGeneration(config)
    lacking = wider.load_state_dict(model.state_dict(), strict=False)
    assert all(name.startswith("global_local.") for name in lacking.missing_keys)
    wider.save_pretrained(folder)
    save_tokenizers(tokenizers, folder)
    return folder
