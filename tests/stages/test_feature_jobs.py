"""What is extracted for a recipe or a benchmark is what training and measuring look for."""

import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import UsageError
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe import Recipe
from st_llm_cli.shapes.folder import write_folder
from st_llm_cli.stages import train
from st_llm_cli.stages.eval import evaluate
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.extract_features import Outcome, Wish
from st_llm_cli.stages.feature_jobs import (
    Job,
    benchmark_requests,
    recipe_jobs,
    recipe_requests,
    run_jobs,
)
from st_llm_cli.stages.run import evaluate as measure
from st_llm_cli.stages.run import fill_cache, steps_of
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens import media as media_digests
from st_llm_cli.tokens.store import TokenCache
from tests.micro import write_micro_checkpoint
from tests.training.data.files import clip_entry, picture_entry, source, write_json, write_media
from tests.training.small import small_recipe


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_digests, "SETTLED_SECONDS", 0.0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_micro_checkpoint(tmp_path / "micro")


def recipe_of(checkpoint: Path, folder: Path, *others: dict[str, Any], **stage: Any) -> Recipe:
    media = write_media(folder / "media", clips=3, pictures=2)
    entries = [*(clip_entry(number, questions=2) for number in range(3)), *map(picture_entry, range(2))]
    data = [source(write_json(folder / "mixed.json", entries), media)]
    settings = {"data": data, "batch_size": 2, "steps": 6, "freeze": ["vision", "qformer"], **stage}
    recipe = small_recipe(settings, new=None, checkpoint=str(checkpoint))
    whole = recipe.model_dump(exclude_none=True)
    return Recipe.model_validate({**whole, "stages": [*others, *whole["stages"]]})


def open_model(checkpoint: Path, root: Path) -> tuple[VideoModel, TokenCache]:
    cache = TokenCache(root)
    return load_model(str(checkpoint), cache=cache), cache


def started(checkpoint: Path, root: Path) -> tuple[StllmForConditionalGeneration, Path, TokenCache]:
    """What a recipe's stages start from."""
    model, cache = open_model(checkpoint, root)
    return model.model, model.folder, cache


def nothing(outcome: Outcome) -> None:
    assert outcome.error is None


def test_training_finds_all_that_was_extracted_of_its_recipe(checkpoint: Path, tmp_path: Path) -> None:
    recipe = recipe_of(checkpoint, tmp_path, {"extract_features": {}})
    tally = run_jobs(recipe_jobs(recipe, *started(checkpoint, tmp_path / "cache")), Wish(), nothing)
    assert (tally.encoded, tally.present, tally.skipped) == (5, 0, 0)
    cache = TokenCache(tmp_path / "cache")
    train.run(recipe, tmp_path / "run", cache=cache)
    assert (cache.use.hits, cache.use.misses) == (12, 0)


def test_each_level_that_training_takes_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    recipe = recipe_of(checkpoint, tmp_path, freeze=["vision"])
    jobs = recipe_jobs(recipe, *started(checkpoint, tmp_path / "cache"))
    assert [job.tokens.level for job in jobs] == ["frames"]


def test_a_recipe_that_trains_its_encoder_says_why_nothing_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    recipe = recipe_of(checkpoint, tmp_path, freeze=[])
    with pytest.raises(UsageError, match="stage 'stage0': no cache: the vision is being trained"):
        recipe_jobs(recipe, *started(checkpoint, tmp_path / "cache"))


def measuring(tmp_path: Path) -> dict[str, Any]:
    write_folder(tmp_path / "shapes", 3)
    return {"eval": {"bench": "shapes", "data": str(tmp_path / "shapes")}}


def test_run_fills_the_cache_for_training_and_for_measuring_after_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(checkpoint, tmp_path, {"extract_features": {}})
    whole = recipe.model_dump(exclude_none=True)
    recipe = Recipe.model_validate({**whole, "stages": [*whole["stages"], measuring(tmp_path)]})
    output, told = tmp_path / "run", list[str]()
    filling, training, evaluation = steps_of(recipe, output)
    fill_cache(recipe, filling, output, TokenCache(tmp_path / "cache"), lambda total: told.append)
    assert len(told) == 5 + 3
    assert json.loads(filling.result.read_text()) == {"encoded": 8, "present": 0, "skipped": 0}
    cache = TokenCache(tmp_path / "cache")
    train.run(recipe, output, cache=cache)
    assert training.is_complete
    assert (cache.use.hits, cache.use.misses) == (12, 0)
    cache = TokenCache(tmp_path / "cache")
    measure(recipe, evaluation, output, cache, lambda total: told.append)
    assert cache.use.hits >= 3
    assert cache.use.misses == 0


def test_clips_measured_after_their_encoder_was_trained_are_not_kept(
    checkpoint: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(checkpoint, tmp_path, freeze=["vision"])
    whole = recipe.model_dump(exclude_none=True)
    recipe = Recipe.model_validate({**whole, "stages": [*whole["stages"], measuring(tmp_path)]})
    start = started(checkpoint, tmp_path / "cache")
    (job,) = recipe_jobs(recipe, *start)  # training, with tokens from before the Q-Former
    assert (job.tokens.level, len(job.requests)) == ("frames", 5)
    kept = {job.tokens.level: len(job.requests) for job in recipe_jobs(recipe, *start, is_result=True)}
    assert kept == {"frames": 5, "queries": 3}


def test_an_objective_that_learns_from_pictures_keeps_nothing(checkpoint: Path, tmp_path: Path) -> None:
    recipe = recipe_of(checkpoint, tmp_path)
    tracks = recipe.stages[0].model_copy(
        update={"train": recipe.training[0].model_copy(update={"objective": "tracks"})}
    )
    recipe = recipe.model_copy(update={"stages": (tracks,)})
    with pytest.raises(UsageError, match="the objective 'tracks' learns from the pictures themselves"):
        recipe_jobs(recipe, *started(checkpoint, tmp_path / "cache"))


def test_a_recipe_is_checked_whatever_becomes_of_its_tokens(checkpoint: Path, tmp_path: Path) -> None:
    recipe = recipe_of(checkpoint, tmp_path, freeze=[])
    requests = recipe_requests(recipe, 4, 32)
    assert len({request.path for request in requests}) == len(requests) == 5
    whole = recipe.model_dump(exclude_none=True)
    recipe = Recipe.model_validate({**whole, "stages": [*whole["stages"], measuring(tmp_path)]})
    assert len(recipe_requests(recipe, 4, 32)) == 8


def test_measuring_finds_all_that_was_extracted_of_a_benchmark(checkpoint: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "shapes", 3)
    model, _ = open_model(checkpoint, tmp_path / "cache")
    requests, missing = benchmark_requests(
        Plan("shapes", tmp_path / "shapes"), model.num_frames, model.transform
    )
    assert (len(requests), missing) == (3, 0)
    assert model.tokens is not None
    assert run_jobs([Job(model.tokens, requests)], Wish(), nothing).encoded == 3
    again, cache = open_model(checkpoint, tmp_path / "cache")
    evaluate(again, "shapes", data=tmp_path / "shapes", limit=6)
    assert cache.use.hits > 0
    assert cache.use.misses == 0


def test_a_benchmark_without_its_clips_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "shapes", 1)
    for clip in (tmp_path / "shapes" / "video").iterdir():
        clip.unlink()
    model, _ = open_model(checkpoint, tmp_path / "cache")
    with pytest.raises(UsageError, match="the clips are missing"):
        benchmark_requests(Plan("shapes", tmp_path / "shapes"), model.num_frames, model.transform)
