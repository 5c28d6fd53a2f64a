"""What `stllm extract-features` is pointed at: videos, a benchmark's folder, or a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from st_llm_cli.cli.screen import note
from st_llm_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st_llm_cli.recipe import Recipe
    from st_llm_cli.stages.extract_features import Wish
    from st_llm_cli.stages.feature_jobs import Job
    from st_llm_cli.stages.share import Share
    from st_llm_cli.stages.video_model import VideoModel
    from st_llm_cli.tokens.store import TokenCache

Item = TypeVar("Item")


def recipe_in(sources: list[str], bench: str | None, wish: Wish, check: bool) -> Recipe | None:
    """Read the recipe, if a source is one.

    Raises:
        UsageError: If something is asked for that does not go with it, or with a benchmark.
        RecipeError: If the recipe is not sound.
    """
    from st_llm_cli.recipe import load_recipe
    from st_llm_cli.recipe.loading import SUFFIXES

    recipes = [source for source in sources if source.endswith(SUFFIXES)]
    kind = "a recipe" if recipes else "a benchmark"
    if not recipes and bench is None:
        return None
    if len(sources) > 1 or (recipes and bench):
        raise UsageError(
            f"{kind} stands alone", where="SOURCE", fix="fill the cache with one after the other"
        )
    if wish.fps or (recipes and wish.num_frames):
        option = "--fps" if wish.fps else "--frames"
        raise UsageError(f"{kind} says itself which frames it looks at", where=option, fix="leave it out")
    if check:
        other = f"stllm train {sources[0]} --check-data" if recipes else f"stllm eval --bench {bench} --check"
        raise UsageError(f"{kind} is checked by another command", where="--check", fix=f"`{other}`")
    return load_recipe(recipes[0]) if recipes else None


def model_for(given: str | None, recipe: Recipe | None) -> str:
    """Name the model: as given, else what the recipe starts from, else the bundled one.

    Raises:
        UsageError: If the recipe starts from nothing.
    """
    if given is not None or recipe is None:
        return given or "tiny"
    if recipe.model.checkpoint is None:
        what = "the recipe makes a new model, which knows nothing yet"
        raise UsageError(what, where="--model", fix="train it, and name the run")
    return recipe.model.checkpoint


def jobs_of(
    sources: list[str],
    recipe: Recipe | None,
    bench: str | None,
    wish: Wish,
    model: VideoModel,
    cache: TokenCache,
) -> list[Job]:
    """Resolve the sources into clips, looked at as the command that needs them will."""
    from st_llm_cli.stages.eval_plan import Plan
    from st_llm_cli.stages.extract_features import request_for
    from st_llm_cli.stages.feature_jobs import Job, benchmark_requests, recipe_jobs

    if recipe is not None:
        return recipe_jobs(recipe, model, cache)
    assert model.tokens is not None, "the model was loaded with a cache"
    if bench is None:
        videos = videos_in(sources)
        requests = [request_for(video, wish, model.num_frames, model.transform) for video in videos]
        return [Job(model.tokens, requests)]
    requests, missing = benchmark_requests(Plan(bench, Path(sources[0]), num_frames=wish.num_frames), model)
    if missing:
        note(f"{missing} clips of the benchmark are missing; `stllm eval --check` lists them")
    return [Job(model.tokens, requests)]


def own_of(items: Sequence[Item], share: Share | None) -> Sequence[Item]:
    """Give this process's share of a list."""
    if share is None:
        return items
    own = share.of(items)
    note(f"share {share.index + 1} of {share.count} ({share.by}): {len(own)} of {len(items)} clips")
    return own


def videos_in(sources: list[str]) -> Sequence[Path]:
    """Resolve sources into videos; `-` stands for those named on standard input, a line each."""
    from st_llm_cli.stages.find_videos import find_videos

    named: list[str] = []
    for source in sources:
        named += [line.strip() for line in sys.stdin if line.strip()] if source == "-" else [source]
    return find_videos(named)
