from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe.schema import Recipe
from st_llm_cli.training.data.shapes import shapes_vocabulary
from st_llm_cli.training.metrics import StepMetrics
from st_llm_cli.training.stllm_trainer import StllmTrainer, step_masking
from st_llm_cli.training.tokenizer import word_tokenizer
from st_llm_cli.training.trainer import train_stage
from tests.training.small import small_recipe
from tests.training.test_build import build

METHOD: dict[str, Any] = {"masking": "released", "mvm": "released"}


def train(recipe: Recipe, folder: Path) -> tuple[dict[str, Tensor], list[StepMetrics]]:
    """Train a new model by the recipe's only stage; its weights and metrics."""
    model = build(recipe)
    seen: list[StepMetrics] = []
    tokenizers = Tokenizers(word_tokenizer(shapes_vocabulary()), None)
    train_stage(model, tokenizers, recipe, recipe.training[0], folder, seen.append)
    assert not model.training
    return model.state_dict(), seen


def test_loss_falls(tmp_path: Path) -> None:
    recipe = small_recipe({"steps": 40, "lr": 5e-3, "optimizer": "muon", "log_every": 10})
    _, seen = train(recipe, tmp_path)
    assert [metrics.step for metrics in seen] == [10, 20, 30, 40]
    assert seen[-1].language_loss < 0.6 * seen[0].language_loss


def test_a_seed_gives_the_same_weights_to_the_last_bit(tmp_path: Path) -> None:
    first, again, other = (
        train(small_recipe({"steps": 3, "seed": seed}, **METHOD), tmp_path)[0] for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["projection.weight"], other["projection.weight"])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_both_precisions_and_optimizers_train(tmp_path: Path, optimizer: str) -> None:
    recipe = small_recipe({"steps": 2, "optimizer": optimizer, "precision": "bfloat16"})
    weights, _ = train(recipe, tmp_path)
    start = build(recipe).state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
    assert not torch.equal(weights["projection.weight"], start["projection.weight"])


def test_frozen_parts_stay_as_they_were_and_the_others_learn(tmp_path: Path) -> None:
    recipe = small_recipe({"freeze": ["vision", "language"], "weight_decay": 0.1})
    after, _ = train(recipe, tmp_path)
    before = build(recipe).state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"qformer", "projection"}


def test_masking_drops_video_tokens_and_adds_its_loss(tmp_path: Path) -> None:
    _, plain = train(small_recipe({}), tmp_path)
    _, masked = train(small_recipe({}, **METHOD), tmp_path)
    assert plain[0].mask_ratio is None and plain[0].masked_video_loss is None
    assert plain[0].video_tokens == 4 * 3 * 4  # clips, frames, queries
    for metrics in masked:
        assert metrics.mask_ratio is not None and 0.1 <= metrics.mask_ratio <= 0.7
        assert metrics.video_tokens == 4 * (12 - int(metrics.mask_ratio * 12))
        assert metrics.masked_video_loss is not None
        assert metrics.loss == pytest.approx(metrics.language_loss + metrics.masked_video_loss, rel=1e-4)


@pytest.mark.parametrize(("steps", "told"), [(2, [2]), (5, [3, 5]), (6, [3, 6])])
def test_the_last_steps_have_their_line_too(tmp_path: Path, steps: int, told: list[int]) -> None:
    _, seen = train(small_recipe({"steps": steps, "log_every": 3}), tmp_path)
    assert [metrics.step for metrics in seen] == told


def test_masks_follow_seed_and_step() -> None:
    recipe = small_recipe({}, **METHOD)

    def drawn(seed: int, step: int) -> tuple[float, list[int]]:
        stage = recipe.training[0].model_copy(update={"seed": seed})
        masking = step_masking(recipe.model, stage, step)
        return masking["mask_ratio"], torch.randperm(50, generator=masking["generator"]).tolist()

    assert drawn(0, 5) == drawn(0, 5)
    assert drawn(0, 5) != drawn(0, 6)
    assert drawn(0, 5) != drawn(1, 5)


def test_masked_video_loss_is_used_every_few_steps(tmp_path: Path) -> None:
    mvm = {"loss": "cosine", "decoder": True, "weight": 1.0, "every": 3}
    recipe = small_recipe({"steps": 4}, masking="released", mvm=mvm)
    _, seen = train(recipe, tmp_path)
    assert [metrics.masked_video_loss is not None for metrics in seen] == [True, False, False, True]
    assert all(metrics.mask_ratio is not None for metrics in seen)


def test_a_stage_can_do_without_the_masking_of_its_model(tmp_path: Path) -> None:
    _, seen = train(small_recipe({"mask": False}, **METHOD), tmp_path)
    assert seen[0].mask_ratio is None and seen[0].masked_video_loss is None


def test_pictures_are_never_masked(tmp_path: Path) -> None:
    images = {"data": [{"shapes": {"kind": "images", "questions_per_clip": 2}}]}
    _, seen = train(small_recipe(images, **METHOD), tmp_path)
    assert seen[0].video_tokens == 4 * 4
    assert seen[0].mask_ratio is None and seen[0].masked_video_loss is None


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_every_schedule_warms_up(tmp_path: Path, schedule: str) -> None:
    recipe = small_recipe({"steps": 6, "warmup_steps": 2, "schedule": schedule, "lr": 1e-3})
    rates = [metrics.learning_rate for metrics in train(recipe, tmp_path)[1]]
    assert rates[:3] == pytest.approx([0, 5e-4, 1e-3])
    assert (rates[-1] == pytest.approx(1e-3)) == (schedule == "constant")


@pytest.mark.parametrize("parts", [("vision",), ("vision", "qformer", "projection", "language")])
def test_the_rate_that_is_told_is_that_of_the_stage(parts: tuple[str, ...], tmp_path: Path) -> None:
    rates = {part: 1e-5 for part in parts}
    recipe = small_recipe(
        {"steps": 4, "warmup_steps": 2, "lr": 1e-3, "part_lr": rates, "schedule": "constant"}
    )
    told = [metrics.learning_rate for metrics in train(recipe, tmp_path)[1]]
    assert told == pytest.approx([0, 5e-4, 1e-3, 1e-3])


def test_a_stage_can_stop_in_the_middle_of_its_schedule(tmp_path: Path) -> None:
    whole, half = (
        [metrics.learning_rate for metrics in train(small_recipe({"lr": 1e-3, **steps}), tmp_path)[1]]
        for steps in ({"steps": 6}, {"steps": 3, "schedule_steps": 6})
    )
    assert half == whole[:3]
    assert half[-1] > 5e-4


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path: Path) -> None:
    recipe = small_recipe({"steps": 3})
    model = build(recipe)
    with torch.no_grad():
        model.projection.bias.fill_(float("nan"))
    tokenizers = Tokenizers(word_tokenizer(shapes_vocabulary()), None)
    with pytest.raises(
        TrainingError, match=r"stage 'stage0': the loss is nan at step 1; there is no"
    ) as caught:
        train_stage(model, tokenizers, recipe, recipe.training[0], tmp_path, lambda metrics: None)
    advice = "lower lr (it is 0.0003) or raise warmup_steps (0), in a new run (--output NEW)"
    assert caught.value.fix == advice  # the precision is the highest already


def test_checkpoints_on_the_way_can_be_talked_to(tmp_path: Path) -> None:
    train(small_recipe({"steps": 4, "save_every": 2}), tmp_path)
    names = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "checkpoint-2").iterdir()}
    assert set(modes.values()) == {modes["config.json"]}  # whoever may read that may read the weights


def test_accumulated_passes_equal_one_large_batch(tmp_path: Path) -> None:
    whole, parts = (
        train(small_recipe({"steps": 3, **size}, **METHOD), tmp_path / str(number))
        for number, size in enumerate(({"batch_size": 8}, {"batch_size": 4, "accumulate": 2}))
    )
    assert [each.loss for each in parts[1]] == pytest.approx([each.loss for each in whole[1]], abs=1e-6)
    assert [each.video_tokens for each in parts[1]] == [each.video_tokens for each in whole[1]]
    for name, tensor in whole[0].items():
        torch.testing.assert_close(parts[0][name], tensor, rtol=0, atol=1e-5)


def test_gradient_checkpointing_learns_the_same(tmp_path: Path) -> None:
    plain, saving = (
        train(small_recipe({"steps": 3, "gradient_checkpointing": on}, **METHOD), tmp_path / str(on))[0]
        for on in (False, True)
    )
    assert all(torch.equal(plain[name], saving[name]) for name in plain)


def test_metrics_go_to_tensorboard_too(tmp_path: Path) -> None:
    train(small_recipe({"report_to": ["tensorboard"]}), tmp_path)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_model_too_large_for_the_device_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 172.00 MiB")

    monkeypatch.setattr(StllmTrainer, "__init__", place)
    with pytest.raises(TrainingError, match="stage 'stage0': out of memory; there is no checkpoint yet"):
        train(small_recipe({}), tmp_path)


def test_a_loss_that_is_no_number_later_names_the_weights_to_begin_anew_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StllmTrainer.compute_loss

    def poisoned(trainer: Any, model: Any, inputs: Any, **options: Any) -> Any:
        if trainer.state.global_step == 3:
            inputs["frames"] = inputs["frames"] * float("nan")
        return real(trainer, model, inputs, **options)

    monkeypatch.setattr(StllmTrainer, "compute_loss", poisoned)
    recipe = small_recipe({"steps": 4, "save_every": 2})
    with pytest.raises(TrainingError) as caught:
        train(recipe, tmp_path)
    assert caught.value.what == "the loss is nan at step 4; the last checkpoint, checkpoint-2, is intact"
    last = tmp_path / "checkpoint-2"
    assert f"it may begin with these weights (--set model.checkpoint={last})" in str(caught.value.fix)
    assert load_checkpoint(str(last)).model.config.num_frames == 3
    monkeypatch.undo()
    train(recipe, tmp_path)
