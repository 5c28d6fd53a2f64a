"""What an extraction is to do: which clips, looked at as which command will look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from st_llm_cli.errors import UsageError
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages.clip_tokens import ClipTokens, default_level
from st_llm_cli.stages.eval import request_for as benchmark_request
from st_llm_cli.stages.eval_plan import Plan, askable, load, missing_media
from st_llm_cli.stages.extract_features import Outcome, Tally, Wish, extract
from st_llm_cli.stages.run import plan_of
from st_llm_cli.stages.training_tokens import training_level, why_not_in_training
from st_llm_cli.stages.video_model import VideoModel, looks_like_shapes
from st_llm_cli.training.data.draw import view_of
from st_llm_cli.training.data.sources import open_checked
from st_llm_cli.video.request import Request

if TYPE_CHECKING:
    from st_llm_cli.tokens.store import TokenCache


@dataclass(frozen=True, eq=False)
class Job:
    """Clips whose tokens are kept equally far."""

    tokens: ClipTokens
    """The encoder and its cache."""
    requests: Sequence[Request]
    """Each once."""


def recipe_jobs(recipe: Recipe, model: VideoModel, cache: TokenCache) -> list[Job]:
    """Find the clips that a recipe's training and measuring will look at.

    Args:
        recipe: The recipe.
        model: What its stages start from.
        cache: Where tokens are kept.

    Raises:
        UsageError: If no stage could use kept tokens, saying why.
        DataError: If annotations are missing or have mistakes.
    """
    wanted: dict[str, dict[Request, None]] = {}
    reasons = []
    for stage in recipe.training:
        if all(data.files is None for data in stage.data):
            continue
        level = training_level(recipe, stage, model.model.config)
        reason = why_not_in_training(recipe, stage, model.model.config, level)
        if reason is not None:
            reasons.append(f"stage '{stage.name}': {reason}")
            continue
        for source in open_checked(stage):
            views = [view_of(each, recipe.video, model.transform.resolution) for each in source.records]
            wanted.setdefault(level, {}).update(dict.fromkeys(views))
    for measured in [stage.eval for stage in recipe.stages if stage.eval is not None]:
        asked, _ = benchmark_requests(plan_of(measured), model)
        wanted.setdefault(default_level(model.model.config), {}).update(dict.fromkeys(asked))
    if not wanted:
        what = "; ".join(reasons) or "no stage has clips on disk"
        raise UsageError(
            f"nothing of this recipe can be kept: {what}", fix="freeze the encoder, or leave it out"
        )
    return [
        Job(ClipTokens(model.model, cache, looks_like_shapes, model.folder, level), list(requests))
        for level, requests in wanted.items()
    ]


def benchmark_requests(plan: Plan, model: VideoModel) -> tuple[list[Request], int]:
    """Find the clips of a benchmark, and how many are missing.

    Raises:
        UsageError: If none is there.
        DataError: If the benchmark's files cannot be used.
    """
    _, samples = load(plan)
    media = [each for sample in askable(samples) for each in sample.clips]
    if not media:
        what = "no question can be asked: the clips are missing"
        raise UsageError(
            what, where=str(plan.data), fix="`stllm eval --check` says where they are looked for"
        )
    requests = dict.fromkeys(benchmark_request(model, plan, each) for each in media)
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
