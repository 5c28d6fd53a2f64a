import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from st_llm_cli.errors import RecipeError
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages.clip_tokens import ClipTokens, SeenClip
from st_llm_cli.stages.feature_jobs import training_requests
from st_llm_cli.stages.train import run
from st_llm_cli.stages.training_tokens import tokens_for_training, training_level, why_not_in_training
from st_llm_cli.tokens import media as media_digests
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.data.read_ahead import ReadAhead
from st_llm_cli.training.metrics import StepMetrics
from tests.micro import micro_checkpoint, micro_config
from tests.stages.test_train import weights
from tests.training.data.files import clip_entry, picture_entry, source, write_json, write_media
from tests.training.small import small_recipe

FROZEN = ["vision", "qformer"]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_digests, "SETTLED_SECONDS", 0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    media = write_media(tmp_path_factory.mktemp("data") / "media", clips=3, pictures=2)
    entries = [*(clip_entry(number, questions=3) for number in range(3)), *map(picture_entry, range(2))]
    return [source(write_json(media.parent / "mixed.json", entries), media)]


def recipe_of(start: Path, data: list[dict[str, Any]], **blocks: Any) -> Recipe:
    stage = {
        "data": data,
        "batch_size": 2,
        "steps": 8,
        "lr": 1e-3,
        "freeze": FROZEN,
        **blocks.pop("stage", {}),
    }
    recipe = small_recipe(stage, new=None, checkpoint=str(start), masking="released")
    return Recipe.model_validate({**recipe.model_dump(exclude_none=True), **blocks})


def losses(recipe: Recipe, output: Path, cache: TokenCache | None) -> list[float]:
    seen: list[StepMetrics] = []
    run(recipe, output, seen.append, cache)
    return [metrics.loss for metrics in seen]


@pytest.mark.parametrize(
    ("reads_question", "level"), [(False, "auto"), (False, "frames"), (True, "auto")], ids=str
)
def test_training_on_cached_tokens_is_training_on_frames(
    data: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reads_question: bool,
    level: str,
) -> None:
    start = micro_checkpoint(tmp_path / "start", reads_question=reads_question)
    plain = losses(recipe_of(start, data, tokens={"cache": "off"}), tmp_path / "plain", None)
    recipe = recipe_of(start, data, tokens={"cache": "required", "level": level})
    first, again = TokenCache(tmp_path / "cache"), TokenCache(tmp_path / "cache")
    filling = losses(recipe, tmp_path / "filling", first)
    monkeypatch.setattr(ReadAhead, "take", None)
    warm = losses(recipe, tmp_path / "warm", again)
    assert filling == pytest.approx(plain, rel=1e-5)
    assert warm == filling
    assert first.use.misses >= 5, "each clip and picture once, twice where a batch meets it twice"
    assert (again.use.hits, again.use.misses) == (16, 0)
    trained, kept = weights(tmp_path / "plain"), weights(tmp_path / "warm")
    for name, tensor in trained.items():
        torch.testing.assert_close(kept[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_model_that_deepspeed_casts_fills_the_cache_all_the_same(
    data: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = micro_checkpoint(tmp_path / "start")
    stage = {"freeze": FROZEN, "deepspeed": "zero2", "precision": "bfloat16"}
    recipe = recipe_of(folder, data, stage=stage, tokens={"cache": "required"})
    plain = recipe_of(folder, data, tokens={"cache": "required"})

    def look(recipe: Recipe, cache: TokenCache) -> list[torch.Tensor]:
        model = load_checkpoint(str(folder), dtype="float32").model
        tokens, _ = tokens_for_training(recipe, recipe.training[0], model, cache, folder)
        assert tokens is not None
        if recipe.training[0].deepspeed is not None:
            model.to(torch.bfloat16)  # as DeepSpeed does when training begins
        requests = training_requests(recipe, recipe.training[0], model.config.image_size)
        return [clip.tokens for _, clip in tokens.clips(requests) if isinstance(clip, SeenClip)]

    cache, again = TokenCache(tmp_path / "cache"), TokenCache(tmp_path / "cache")
    filling, warm = look(recipe, cache), look(plain, again)
    assert (cache.use.misses, again.use.hits, again.use.misses) == (5, 5, 0)
    assert all(torch.equal(one, other) for one, other in zip(filling, warm, strict=True))
    assert all(map(torch.equal, filling, look(plain, TokenCache(tmp_path / "other"))))


def test_the_encoder_beside_a_cast_model_follows_it_to_its_device(
    data: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = micro_checkpoint(tmp_path / "start")
    stage = {"freeze": FROZEN, "deepspeed": "zero2", "precision": "bfloat16"}
    recipe = recipe_of(folder, data, stage=stage, tokens={"cache": "required"})
    model = load_checkpoint(str(folder), dtype="float32").model
    tokens, _ = tokens_for_training(recipe, recipe.training[0], model, TokenCache(tmp_path / "cache"), folder)
    assert tokens is not None
    model.to("meta", torch.bfloat16)  # stands for a GPU, to which DeepSpeed moves the model
    encoded_on: list[set[tuple[str, torch.dtype]]] = []

    def encode_batch(self: ClipTokens, frames: torch.Tensor) -> torch.Tensor:
        weights = [*self.model.vision_model.parameters(), *self.model.qformer.parameters()]
        encoded_on.append({(weight.device.type, weight.dtype) for weight in weights})
        return torch.zeros(len(frames), 1, 1)

    monkeypatch.setattr(ClipTokens, "_encode_batch", encode_batch)
    (request, *_) = training_requests(recipe, recipe.training[0], model.config.image_size)
    ((_, clip),) = tokens.clips([request])
    assert isinstance(clip, SeenClip)
    assert encoded_on == [{("meta", torch.float32)}]


def test_a_clip_that_cannot_be_read_is_replaced_here_too(tmp_path: Path) -> None:
    media = write_media(tmp_path / "media", clips=2)
    (media / "clip7.mp4").write_bytes(b"nothing of a video" * 20)
    file = write_json(tmp_path / "bad.json", [clip_entry(number) for number in (0, 1, 7)])
    start = micro_checkpoint(tmp_path / "start")
    recipe = recipe_of(start, [source(file, media)], stage={"max_failures": 0.5})
    assert len(losses(recipe, tmp_path / "run", TokenCache(tmp_path / "cache"))) == 8
    assert "clip7.mp4" in (tmp_path / "run" / "skipped.jsonl").read_text()


UNSOUND: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "crops": ({"video": {"num_frames": 3, "crop": "random"}}, {}, "random crops show each clip differently"),
    "frames drawn anew": (
        {"video": {"num_frames": 3, "sampler": "random"}},
        {},
        "the sampler 'random' takes other frames in every epoch",
    ),
    "vision learns": ({"stage": {"freeze": []}}, {}, "the vision is being trained"),
    "qformer learns": (
        {"stage": {"freeze": ["vision"]}, "tokens": {"level": "queries"}},
        {},
        "the qformer is being trained",
    ),
    "BT-Adapter learns": ({}, {"bt_adapter_depth": 1}, "the BT-Adapter is being trained"),
    "queries with questions": (
        {"tokens": {"level": "queries"}},
        {"reads_question": True},
        "the Q-Former reads the question",
    ),
    "ZeRO-3": ({"stage": {"freeze": FROZEN, "deepspeed": "zero3"}}, {}, "ZeRO-3 spreads the encoder"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_one_line_says_why_there_is_no_cache(data: list[dict[str, Any]], tmp_path: Path, case: str) -> None:
    blocks, model, expected = UNSOUND[case]
    recipe = recipe_of(tmp_path, data, **{key: value for key, value in blocks.items()})
    stage, config = recipe.training[0], micro_config(**model)
    reason = why_not_in_training(recipe, stage, config, training_level(recipe, stage, config))
    assert reason is not None and reason.startswith("no cache: ") and expected in reason
    assert "\n" not in reason


def test_tokens_are_kept_as_far_as_they_stay_the_same(data: list[dict[str, Any]], tmp_path: Path) -> None:
    def level(freeze: list[str], **model: Any) -> str:
        recipe = recipe_of(tmp_path, data, stage={"freeze": freeze})
        return training_level(recipe, recipe.training[0], micro_config(**model))

    assert level(FROZEN) == "queries"
    assert level(["vision"]) == "frames"
    assert level(FROZEN, reads_question=True) == "frames"


def test_a_frozen_bt_adapter_is_no_obstacle(data: list[dict[str, Any]], tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, data, stage={"freeze": [*FROZEN, "projection"]})
    config = micro_config(bt_adapter_depth=1)
    assert why_not_in_training(recipe, recipe.training[0], config, "queries") is None


def test_one_line_says_that_the_cache_is_not_filled_yet(
    data: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_of(micro_checkpoint(tmp_path / "start"), data, stage={"steps": 4})
    losses(recipe, tmp_path / "cold", TokenCache(tmp_path / "cache"))
    assert "5 of the first 5 clips are not in the token cache: the first epoch reads" in caplog.text
    caplog.clear()
    losses(recipe, tmp_path / "warm", TokenCache(tmp_path / "cache"))
    assert "token cache" not in caplog.text


def test_a_run_says_why_and_goes_on_without(
    data: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = micro_checkpoint(tmp_path / "start")
    recipe = recipe_of(start, data, stage={"freeze": [], "steps": 2})
    cache = TokenCache(tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        losses(recipe, tmp_path / "run", cache)
    assert "stage 'stage0': no cache: the vision is being trained" in caplog.text
    assert (cache.use.hits, cache.use.misses) == (0, 0)


def test_a_required_cache_that_is_not_sound_stops_the_run(data: list[dict[str, Any]], tmp_path: Path) -> None:
    start = micro_checkpoint(tmp_path / "start", bt_adapter_depth=1)
    recipe = recipe_of(start, data, tokens={"cache": "required"})
    with pytest.raises(RecipeError, match="the recipe requires what cannot be: no cache: the BT-Adapter"):
        run(recipe, tmp_path / "run", cache=TokenCache(tmp_path / "cache"))
    with pytest.raises(RecipeError, match=r"no cache: it is turned off \(name a folder as"):
        run(recipe, tmp_path / "run", cache=None)


def test_rendered_shapes_ask_for_no_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = TokenCache(tmp_path / "cache")
    losses(small_recipe({}), tmp_path / "run", cache)
    assert "cache" not in caplog.text
    assert cache.use.misses == 0
