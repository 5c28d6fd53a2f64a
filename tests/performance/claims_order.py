"""What happens when: variants of one budget on clips of one moving shape (recipes/claims/order.yaml)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from statistics import mean

import torch

from st_llm_cli.shapes.ceilings import Observers
from st_llm_cli.shapes.questions import ask
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.world import EVAL_SEEDS, make_scene
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.video.transform import normalize
from tests.performance.claims_rows import Row, answers, settings, stllm, trained

NO_MASK = "stages.0.train.mask=false"
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
ORDER = ("first_movement", "last_movement", "movement", "first_place", "last_place")
STILL = ("color", "shape")
ASKED = ORDER + STILL
"""Kinds of questions about each clip."""
CLIPS = 200


def measure(variant: str, seed: int, start: str, output: Path, clips: dict[int, list[Example]]) -> Row:
    """Train a variant and ask its result about held-out clips."""
    folder = output / f"{variant.replace(' ', '')}-{seed}"
    own = [f"model.checkpoint={start}", f"stages.0.train.seed={seed}", *VARIANTS[variant]]
    stllm("train", "recipes/claims/order.yaml", "--output", str(folder), *settings(own))
    model = load_model(str(folder))
    right = {str(frames): answers(model, shown) for frames, shown in clips.items()}
    return Row(variant, seed, *trained(folder), right)


def held_out(start: str) -> dict[int, list[Example]]:
    """Clips that no run has seen, with all questions, by the number of frames; vision sees them once."""
    model = load_model(start)
    return {frames: [clip(model, scene, frames) for scene in _scenes()] for frames in FRAMES}


def order_blind(kinds: Sequence[str] = ORDER) -> float:
    """Best share of right answers for one who knows all frames of the held-out clips, but not their order.

    To whom a clip and the same run backwards look alike.
    """
    best = []
    for scene in _scenes():
        observers = Observers(scene)
        questions = [ask(scene, kind, Random(scene.seed)) for kind in kinds]
        best += [observers.ceilings(asked).order_blind for asked in questions if asked is not None]
    return mean(best)


@cache
def _scenes() -> list[Scene]:
    return [make_scene(seed, num_objects=1) for seed in EVAL_SEEDS[:CLIPS]]


@torch.no_grad()
def clip(model: VideoModel, scene: Scene, num_frames: int) -> Example:
    """A clip by its tokens, with all questions."""
    config = model.model.config
    questions = [ask(scene, kind, Random(scene.seed)) for kind in ASKED]
    tasks = tuple(Task(asked.text, asked.answer) for asked in questions if asked is not None)
    frames = sample_frames(scene, num_frames, config.image_size)
    features = model.model.encode_vision([normalize(frames, config.image_mean, config.image_std)])
    (tokens,) = model.model.encode_queries(features)
    return Example(None, tasks, tokens, "queries")
