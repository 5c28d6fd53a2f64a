"""Four things, one after another: variants of one budget on rich clips (recipes/claims/events.yaml)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from statistics import mean

from st_llm_cli.shapes.world import EVAL_SEEDS, TRAIN_SEEDS
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.tokens.store import TokenCache
from tests.performance.claims_files import cache_beside, fill_cache, held_out, train_on, write_clips
from tests.performance.claims_rows import Places, Row, answers, trained
from tests.performance.claims_start import Budget
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
"""That results are asked with."""
TRAINED_ON = 8
"""Frames."""
HELD_OUT = EVAL_SEEDS[:300]
"""Seeds of the clips that are asked about."""


class EventRuns:
    """The runs on clips in which four things happen.

    Args:
        start: Checkpoint of a model that knows pictures of the rich world.
        output: Folder of runs, clips and tokens; clips are made.
        budget: Of each run.
    """

    def __init__(self, start: str, output: Path, budget: Budget) -> None:
        self.start, self.output, self.budget = start, output, budget
        self.clips = output / "events"
        write_clips(self.clips, TRAIN_SEEDS[: budget.clips], "train", event_clip, drawn=budget.drawn)
        self.asked = write_clips(self.clips, HELD_OUT, "held-out", event_clip, drawn=budget.drawn)

    def fill(self, jobs: int) -> None:
        """See `Runs`."""
        wanted = [(self.clips / "train.json", TRAINED_ON), *((self.asked, frames) for frames in FRAMES)]
        drawn = event_clip if self.budget.drawn else None
        fill_cache(wanted, self.start, cache_beside(self.clips), jobs, drawn)

    def measure(self, variant: str, seed: int) -> Row:
        """Train a variant and ask its result about held-out clips."""
        folder = self.output / f"events-{variant.replace(' ', '')}-{seed}"
        own = [*self.budget.settings, *VARIANTS[variant]]
        train_on("events", folder, self.clips, self.start, seed, own)
        model = load_model(str(folder), cache=TokenCache(cache_beside(folder)))
        right = {str(frames): answers(model, held_out(model, self.asked, frames)) for frames in FRAMES}
        return Row(variant, seed, *trained(folder), right)


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
            best.append(mean(order_blind(scene, asked, TRAINED_ON)))
    return mean(best)
