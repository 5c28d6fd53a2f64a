"""What `stllm extract-features` is pointed at: videos, a benchmark's folder, or a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from st_llm_cli.cli.named_videos import videos_in
from st_llm_cli.cli.screen import note
from st_llm_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st_llm_cli.recipe import Recipe
    from st_llm_cli.stages.eval_plan import Plan
    from st_llm_cli.stages.extract_features import Wish
    from st_llm_cli.stages.feature_jobs import Job
    from st_llm_cli.stages.share import Share
    from st_llm_cli.stages.video_model import VideoModel
    from st_llm_cli.tokens.store import TokenCache
    from st_llm_cli.video.request import Request

Item = TypeVar("Item")


def benchmark_in(sources: list[str], bench: str | None) -> str | None:
    """Name the benchmark that a source is the folder of: as given, else as its layout tells.

    Raises:
        UsageError: If it is laid out as several benchmarks are.
    """
    from st_llm_cli.bench.recognise import recognise

    if bench is not None:
        return bench
    for source in sources:
        folder = Path(source).expanduser()
        names = recognise(folder) if source.strip() and folder.is_dir() else []
        if len(names) > 1:
            options = " or ".join(f"--bench {name}" for name in names)
            fix = f"add {options}; or name its videos alone: '{source.rstrip('/')}/**/*.mp4'"
            what = f"laid out as {len(names)} benchmarks are"
            raise UsageError(what, where=source, fix=fix)
        if names:
            note(f"{source}: taken as --bench {names[0]}, by its layout")
            return names[0]
    return None


def recipe_in(sources: list[str], bench: str | None, wish: Wish) -> Recipe | None:
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
        fix = "leave it out, or name the videos by a pattern"
        raise UsageError(f"{kind} says itself which frames it looks at", where=option, fix=fix)
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
    *,
    is_result: bool,
) -> list[Job]:
    """Resolve the sources into clips, looked at as the command that needs them will."""
    from st_llm_cli.stages.eval_plan import Plan
    from st_llm_cli.stages.extract_features import request_for
    from st_llm_cli.stages.feature_jobs import Job, benchmark_requests, recipe_jobs
    from st_llm_cli.stages.limits import most_frames

    if recipe is not None:
        return recipe_jobs(recipe, model.model, model.folder, cache, is_result=is_result)
    assert model.tokens is not None, "the model was loaded with a cache"
    if bench is None:
        videos = videos_in(sources)
        most = most_frames(model.model.config)
        requests = [request_for(video, wish, model.num_frames, model.transform, most) for video in videos]
        return [Job(model.tokens, requests)]
    plan = Plan(bench, Path(sources[0]).expanduser(), num_frames=wish.num_frames)
    requests, missing = benchmark_requests(plan, model.num_frames, model.transform)
    _note_missing(plan, missing)
    return [Job(model.tokens, requests)]


def requests_of(sources: list[str], recipe: Recipe | None, bench: str | None, wish: Wish) -> list[Request]:
    """Resolve the sources into clips to be read and no more: small pictures, and no model."""
    from st_llm_cli.stages.eval_plan import Plan
    from st_llm_cli.stages.extract_features import request_for
    from st_llm_cli.stages.feature_jobs import benchmark_requests, recipe_requests
    from st_llm_cli.stages.plan_features import CHECK_FRAMES
    from st_llm_cli.video.transform import ResizeCenterCrop

    side = 64
    if recipe is not None:
        return recipe_requests(recipe, CHECK_FRAMES, side)
    if bench is None:
        crop = ResizeCenterCrop(side)
        return [request_for(video, wish, CHECK_FRAMES, crop) for video in videos_in(sources)]
    plan = Plan(bench, Path(sources[0]).expanduser(), num_frames=wish.num_frames)
    requests, missing = benchmark_requests(plan, CHECK_FRAMES, ResizeCenterCrop(side))
    _note_missing(plan, missing)
    return requests


def _note_missing(plan: Plan, count: int) -> None:
    from st_llm_cli.stages.eval_plan import check_command

    if count:
        note(f"{count} clips of the benchmark are missing; `{check_command(plan)}` lists them")


def own_of(items: Sequence[Item], share: Share | None) -> Sequence[Item]:
    """Give this process's share of a list."""
    if share is None:
        return items
    own = share.of(items)
    note(f"share {share.index + 1} of {share.count} ({share.by}): {len(own)} of {len(items)} clips")
    return own
