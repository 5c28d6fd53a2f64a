import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from st_llm_cli.errors import CheckpointError, TrainingError
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.lora import save_adapter
from st_llm_cli.model.tokenizers import save_tokenizers
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages import export as stages_export
from st_llm_cli.stages import starting_point
from st_llm_cli.stages.export import export
from st_llm_cli.stages.train import run
from st_llm_cli.training import requirements
from tests.micro import write_micro_checkpoint
from tests.training.small import small_recipe
from tests.training.test_costs import small_model

LORA = {"rank": 2, "alpha": 8.0}


def recipe_on(base: Path, *stages: dict[str, Any], **lora: Any) -> Recipe:
    model = {"new": None, "checkpoint": str(base), "lora": {**LORA, **lora}}
    return small_recipe(*stages, **model, masking="released", mvm="paper")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("base") / "micro", masked_video_decoder=False)


@pytest.fixture(scope="module")
def folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora") / "run"
    freeze = ["vision", "qformer"]
    stages = ({"lr": 0.05, "freeze": freeze}, {"lr": 0.05, "freeze": freeze})
    run(recipe_on(base, *stages), folder)
    return folder


def weights(name: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(str(name), device="cpu").model.state_dict()


def test_a_run_keeps_only_what_was_trained_and_loads_as_a_whole_model(base: Path, folder: Path) -> None:
    result = folder / "checkpoints" / "stage1-2"
    names = {path.name for path in result.iterdir()}
    assert {"config.json", "adapter.json", "adapter.safetensors", "tokenizer.json"} <= names
    assert "model.safetensors" not in names
    before, after = weights(base), weights(folder)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in changed
    assert "projection.weight" in changed
    assert not any(name.startswith(("vision_model.", "qformer.")) for name in changed)
    assert not changed & {"language_model.lm_head.weight", "language_model.model.embed_tokens.weight"}


def test_a_later_stage_goes_on_with_the_matrices_of_the_one_before(folder: Path) -> None:
    first, second = (weights(folder / "checkpoints" / name) for name in ("stage0-1", "stage1-2"))
    name = "language_model.model.layers.1.mlp.up_proj.weight"
    assert not torch.equal(first[name], second[name])


def test_export_merges_and_writes_a_card(folder: Path, tmp_path: Path) -> None:
    result = export(str(folder), tmp_path / "model")
    assert result.merged
    exported, trained = weights(tmp_path / "model"), weights(folder)
    assert all(torch.equal(exported[name], trained[name]) for name in trained)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "by LoRA" in card and "lora:" in card and "llama" in card
    assert not (tmp_path / "model" / "adapter.json").exists()


def test_an_export_that_finds_no_room_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stages_export, "save_tokenizers", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left .* \(make room"):
        export(str(folder), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_base_that_has_gone_is_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder / "checkpoints" / "stage1-2", copy)
    settings = json.loads((copy / "adapter.json").read_text())
    (copy / "adapter.json").write_text(json.dumps({**settings, "base": str(tmp_path / "gone")}))
    with pytest.raises(CheckpointError, match="belongs to another model, which cannot be loaded"):
        load_checkpoint(str(copy), device="cpu")


def test_unknown_layers_are_refused_with_those_there_are(base: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no layer .* called query \(some of: .*q_proj"):
        run(recipe_on(base, {}, targets=["query"]), tmp_path / "run")


def test_four_bits_need_a_library_that_is_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = requirements.importlib.util.find_spec
    monkeypatch.setattr(
        requirements.importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else there(name)
    )
    with pytest.raises(
        TrainingError, match=r"bitsandbytes is not installed \(pip install 'stllm\[quant\]'\)"
    ):
        run(recipe_on(base, {}, quantize="4bit"), tmp_path / "run")


def test_weights_in_four_bits_stay_as_they_are_in_a_pass_without_gradients() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    language_model = small_model(video_input="all").language_model
    starting_point._to_four_bits(language_model)
    packed = [each for each in language_model.modules() if isinstance(each, bitsandbytes.nn.Linear4bit)]
    assert packed and not any(each.support_avx512bf16_for_cpu for each in packed)


def test_a_checkpoint_is_given_the_objective_that_the_recipe_names(base: Path, tmp_path: Path) -> None:
    model = {"new": None, "checkpoint": str(base), "masking": "released"}
    mvm = {"loss": "mse", "decoder": False, "weight": 0.25}
    recipe = small_recipe({}, **model, mvm=mvm, positions="original")
    run(recipe, tmp_path / "run")
    config = load_checkpoint(str(tmp_path / "run"), device="cpu").model.config
    assert (config.masked_video_weight, config.positions, config.num_frames) == (0.25, "original", 3)


def test_matrices_are_not_added_to_what_is_removed_when_its_stage_is_done(base: Path, tmp_path: Path) -> None:
    passing = tmp_path / "run" / "work" / "stage1" / "checkpoint-3"
    shutil.copytree(base, passing)
    with pytest.raises(TrainingError, match="is removed when its stage is done") as caught:
        run(recipe_on(passing, {}), tmp_path / "next")
    assert f"stllm export {passing} DEST" in str(caught.value.fix)


def test_matrices_added_to_a_model_with_merged_ones_bring_no_warning(
    folder: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run(recipe_on(folder / "checkpoints" / "stage1-2", {"steps": 1}), tmp_path / "next")
    assert not [str(each.message) for each in recwarn if "peft" in str(each.message)]


def test_a_model_that_learns_from_other_data_is_no_longer_one_of_moving_shapes(tmp_path: Path) -> None:
    videos = [{"jsonl": {"annotations": str(tmp_path / "a.jsonl"), "media": str(tmp_path)}}]
    lora: dict[str, Any] = {"new": None, "checkpoint": "tiny", "lora": LORA, "mvm": "released"}
    for data, known in ((None, "shapes"), (videos, None)):
        recipe = small_recipe({} if data is None else {"data": data}, **lora)
        begun = starting_point.starting_point(recipe, recipe.training[0], None)
        assert begun.model.config.trained_on == known
    save_adapter(begun.model, begun.adapter, tmp_path / "adapted")
    save_tokenizers(begun.tokenizers, tmp_path / "adapted")
    assert load_checkpoint(str(tmp_path / "adapted"), device="cpu").model.config.trained_on is None
