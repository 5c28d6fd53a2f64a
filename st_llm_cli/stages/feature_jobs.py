"""What an extraction is to do: which clips, looked at as which command will look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from st_llm_cli.errors import UsageError
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.stages.clip_tokens import ClipTokens, default_level
from st_llm_cli.stages.eval import clip_request
from st_llm_cli.stages.eval_plan import Plan, askable, load, missing_media, plan_of, without_clips
from st_llm_cli.stages.extract_features import Outcome, Tally, Wish, extract
from st_llm_cli.stages.familiar import looks_like_shapes
from st_llm_cli.stages.training_tokens import trained_parts, training_level, why_not_in_training
from st_llm_cli.training.data.draw import view_of
from st_llm_cli.training.data.sources import open_checked
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop, Transform

if TYPE_CHECKING:
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.tokens.store import TokenCache


@dataclass(frozen=True, eq=False)
class Job:
    """Clips whose tokens are kept equally far."""

    tokens: ClipTokens
    """The encoder and its cache."""
    requests: Sequence[Request]
    """Each once."""


def recipe_jobs(
    recipe: Recipe,
    model: StllmForConditionalGeneration,
    folder: Path | None,
    cache: TokenCache,
    *,
    is_result: bool = False,
) -> list[Job]:
    """Find the clips that a recipe's training and measuring will look at, where their tokens can be kept.

    Args:
        recipe: The recipe, or what is left of it.
        model: What its stages start from.
        folder: Where the model was loaded from; None for one made in memory.
        cache: Where tokens are kept.
        is_result: Whether the model is what the stages have led to, rather than what they start from.

    Raises:
        UsageError: If no stage could use kept tokens, saying why.
        DataError: If annotations are missing or have mistakes.
    """
    config = model.config
    wanted: dict[str, dict[Request, None]] = {}
    reasons = []
    trained: set[str] = set()
    num_frames = config.num_frames
    for stage in recipe.stages:
        if stage.train is not None and any(data.files is not None for data in stage.train.data):
            level = training_level(recipe, stage.train, config)
            reason = why_not_in_training(recipe, stage.train, config, level)
            if reason is not None:
                reasons.append(f"stage '{stage.train.name}': {reason}")
            else:
                requests = training_requests(recipe, stage.train, config.image_size)
                wanted.setdefault(level, {}).update(dict.fromkeys(requests))
        if stage.train is not None and not is_result:
            trained |= trained_parts(stage.train, config, default_level(config))
            num_frames = recipe.video.num_frames  # what it is trained with, it looks at afterwards
        if stage.eval is not None and trained:
            parts = " and ".join(sorted(trained))
            reasons.append(f"'{stage.eval.bench}': the {parts} will have been trained by then")
        elif stage.eval is not None:
            transform = ResizeCenterCrop(config.image_size)
            requests, _ = benchmark_requests(plan_of(stage.eval), num_frames, transform)
            wanted.setdefault(default_level(config), {}).update(dict.fromkeys(requests))
    if not wanted:
        what = "; ".join(reasons) or "no stage has clips on disk"
        raise UsageError(
            f"nothing of this recipe can be kept: {what}", fix="freeze the encoder, or leave it out"
        )
    return [
        Job(ClipTokens(model, cache, looks_like_shapes, folder, level), list(requests))
        for level, requests in wanted.items()
    ]


def recipe_requests(recipe: Recipe, num_frames: int, side: int) -> list[Request]:
    """Find the clips that a recipe's training and measuring will look at, whatever becomes of them.

    Args:
        recipe: The recipe.
        num_frames: Of a benchmark's clips, where the plan names no number.
        side: Of the pictures, in pixels.

    Raises:
        UsageError: If there are none.
        DataError: If annotations are missing or have mistakes.
    """
    found: dict[Request, None] = {}
    for stage in recipe.stages:
        if stage.train is not None and any(data.files is not None for data in stage.train.data):
            found.update(dict.fromkeys(training_requests(recipe, stage.train, side)))
        if stage.eval is not None:
            plan = plan_of(stage.eval)
            found.update(dict.fromkeys(benchmark_requests(plan, num_frames, ResizeCenterCrop(side))[0]))
    if not found:
        raise UsageError("no stage of this recipe has clips on disk", fix="name the videos themselves")
    return list(found)


def training_requests(recipe: Recipe, stage: Train, side: int) -> list[Request]:
    """Ask for the clips and pictures on disk of a training stage, as it shows them."""
    return [
        view_of(record, recipe.video, side) for source in open_checked(stage) for record in source.records
    ]


def benchmark_requests(plan: Plan, num_frames: int, transform: Transform) -> tuple[list[Request], int]:
    """Find the clips of a benchmark, and how many are missing.

    Args:
        plan: The evaluation.
        num_frames: Where the plan names no number.
        transform: What is done to each picture.

    Raises:
        UsageError: If none is there.
        DataError: If the benchmark's files cannot be used.
    """
    _, samples = load(plan)
    media = [each for sample in askable(samples) for each in sample.clips]
    if not media:
        raise without_clips(plan, "no question can be asked: the clips are missing")
    requests = dict.fromkeys(clip_request(plan, each, num_frames, transform) for each in media)
    return list(requests), len(missing_media(samples))


def run_jobs(jobs: Sequence[Job], wish: Wish, report: Callable[[Outcome], None]) -> Tally:
    """Do one job after the other; see `extract`."""
    whole = Tally()
    for job in jobs:
        done = extract(job.tokens, job.requests, wish, report)
        whole.encoded += done.encoded
        whole.present += done.present
        whole.skipped += done.skipped
    return whole
