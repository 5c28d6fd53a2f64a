import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from st_llm_cli.errors import DataError, Interrupted, TrainingError
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.recipe import Recipe, load_recipe
from st_llm_cli.stages import starting_point
from st_llm_cli.stages import train as train_module
from st_llm_cli.stages.run_folder import claimed
from st_llm_cli.stages.train import complete_result, run
from st_llm_cli.training import devices, mfu
from st_llm_cli.training.metrics import StepMetrics
from tests.micro import micro_checkpoint
from tests.training.data.files import clip_entry, picture_entry, source, write_json, write_media
from tests.training.small import small_recipe

IMAGES = {"name": "images", "data": [{"shapes": {"kind": "images", "questions_per_clip": 2}}], "mask": False}
VIDEOS = {"name": "videos"}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return small_recipe(IMAGES, VIDEOS, masking="released", mvm="released")


@pytest.fixture(scope="module")
def folder(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    run(recipe, folder)
    return folder


def weights(checkpoint: Path | str) -> dict[str, torch.Tensor]:
    return load_checkpoint(str(checkpoint), device="cpu").model.state_dict()


def test_each_stage_leaves_a_checkpoint_that_loads(folder: Path) -> None:
    images, videos = (weights(folder / "checkpoints" / name) for name in ("images-1", "videos-2"))
    assert not torch.equal(images["projection.weight"], videos["projection.weight"])


def test_a_run_folder_is_its_last_checkpoint(folder: Path) -> None:
    last, whole = weights(folder / "checkpoints" / "videos-2"), weights(folder)
    assert all(torch.equal(last[name], whole[name]) for name in last)


def test_a_saved_model_says_the_same_as_before_it_was_saved(recipe: Recipe, tmp_path: Path) -> None:
    from st_llm_cli.training.trainer import train_stage
    from tests.training.test_build import build

    first = recipe.training[0]
    model = build(recipe)
    result = run(recipe, tmp_path / "run")
    assert result.trained == ("images", "videos")
    loaded = load_checkpoint(str(tmp_path / "run" / "checkpoints" / "images-1"), device="cpu")
    train_stage(model, loaded.tokenizers, recipe, first, tmp_path / "again", lambda metrics: None)
    ids = torch.tensor([[-200, 1, 4, 5]])
    frames = torch.rand(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = [each(ids, frames=frames).logits for each in (model, loaded.model)]
    # The one attends by matrix products, as in training, the other by PyTorch's own kernel.
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-6)


def test_a_stage_starts_from_the_result_of_the_one_before(folder: Path, tmp_path: Path) -> None:
    frozen = {**VIDEOS, "freeze": ["vision", "qformer", "language"]}
    again = small_recipe(IMAGES, frozen, masking="released", mvm="released")
    run(again, tmp_path / "run")
    images, videos = (weights(tmp_path / "run" / "checkpoints" / name) for name in ("images-1", "videos-2"))
    language = [name for name in images if name.startswith("language_model.")]
    assert all(torch.equal(images[name], videos[name]) for name in language)


@pytest.mark.parametrize("objective", ["cells", "tracks"])
def test_objectives_of_new_models_need_no_data(objective: str, tmp_path: Path) -> None:
    recipe = small_recipe({"name": "see", "objective": objective, "data": []}, VIDEOS)
    assert run(recipe, tmp_path / "run").trained == ("see", "videos")


def test_metrics_have_a_line_for_every_log_of_every_stage(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        ("images", 1),
        ("images", 2),
        ("videos", 1),
        ("videos", 2),
    ]
    assert lines[0]["mask_ratio"] is None and lines[2]["mask_ratio"] > 0


def test_the_resolved_recipe_reads_back_equal(recipe: Recipe, folder: Path) -> None:
    assert load_recipe(folder / "recipe.yaml") == recipe
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seeds"] == {"images": 0, "videos": 0} and environment["processes"] == 1
    assert {"torch", "transformers", "git", "data"} <= environment.keys()


def test_what_is_done_is_not_done_again(recipe: Recipe, folder: Path) -> None:
    seen: list[StepMetrics] = []
    before = (folder / "metrics.jsonl").read_text()
    result = run(recipe, folder, seen.append)
    assert result.skipped == ("images", "videos") and result.trained == ()
    assert result.checkpoint == folder / "checkpoints" / "videos-2"
    assert not seen and (folder / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("name", ["work", "work/images", "work/videos", "checkpoints"])
def test_a_folder_that_cannot_be_made_is_named_before_a_model_is(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed(tmp_path / "run", recipe):
        in_the_way = tmp_path / "run" / name
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.touch()
    monkeypatch.setattr(starting_point, "starting_point", None)
    with pytest.raises(DataError, match=r"cannot be written: (File exists|Not a directory)") as caught:
        run(recipe, tmp_path / "run")
    assert str(in_the_way) in str(caught.value.where)
    assert caught.value.fix == f"move away {in_the_way}, which is no folder, or give another --output"


@pytest.mark.parametrize("name", ["work/images", "work/videos", "checkpoints"])
def test_a_folder_that_cannot_be_written_to_is_named_before_a_model_is_made(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "run" / name
    with claimed(tmp_path / "run", recipe):
        locked.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    monkeypatch.setattr(starting_point, "starting_point", None)
    with pytest.raises(DataError, match="cannot be written: Permission denied") as caught:
        run(recipe, tmp_path / "run")
    assert caught.value.where == str(locked)


def test_a_complete_run_is_only_looked_at(
    recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "claimed", None)  # the folder might be one that cannot be written to
    assert run(recipe, folder).skipped == ("images", "videos")
    assert run(recipe, folder, until="images").checkpoint == folder / "checkpoints" / "images-1"


def test_a_run_is_complete_only_by_its_own_recipe_and_with_all_its_stages(
    recipe: Recipe, folder: Path, tmp_path: Path
) -> None:
    assert complete_result(small_recipe(IMAGES), folder) is None
    assert complete_result(recipe, tmp_path) is None
    shutil.copy(folder / "recipe.yaml", tmp_path)
    (tmp_path / "checkpoints" / "images-1").mkdir(parents=True)
    assert complete_result(recipe, tmp_path) is None
    assert complete_result(recipe, tmp_path, until="images") is not None


def test_an_interrupted_run_goes_on_with_the_stage_that_is_missing(
    recipe: Recipe, folder: Path, tmp_path: Path
) -> None:
    def stop(metrics: StepMetrics) -> None:
        if metrics.stage == "videos":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", stop)
    result = run(recipe, tmp_path / "run")
    assert (result.skipped, result.trained) == (("images",), ("videos",))
    straight, resumed = weights(folder), weights(tmp_path / "run")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_another_recipe_is_refused(folder: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run of another recipe, or of other settings") as caught:
        run(small_recipe(IMAGES), folder)
    assert caught.value.where == str(folder)
    assert caught.value.fix == "give another --output, or repeat those settings"


def test_another_number_of_processes_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    recipe = small_recipe({}, new=None, checkpoint=str(tmp_path / "gone"))
    with claimed(tmp_path / "run", recipe):
        pass
    last = tmp_path / "run" / "work" / "stage0" / "checkpoint-1"
    last.mkdir(parents=True)
    (last / "processes.json").write_text('{"processes": 2}')
    with pytest.raises(TrainingError, match="was written by 2 processes, and this is a run of one process"):
        run(recipe, tmp_path / "run")


def test_a_half_checkpoint_is_passed_over_in_one_line_and_a_damaged_one_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = small_recipe({}, new=None, checkpoint=str(tmp_path / "gone"))
    with claimed(tmp_path / "run", recipe):
        pass
    work = tmp_path / "run" / "work" / "stage0"
    (work / "checkpoint-2").mkdir(parents=True)
    (work / "checkpoint-1").mkdir()
    damaged = work / "checkpoint-1" / "processes.json"
    damaged.touch()
    with pytest.raises(TrainingError, match=r"is damaged \(0 bytes\)") as caught:
        run(recipe, tmp_path / "run")
    assert caught.value.where == str(damaged)
    assert (
        f"{work / 'checkpoint-2'} is no whole checkpoint and is left out: it lacks processes.json"
        in caplog.text
    )


def test_a_folder_with_other_things_in_it_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="exists, and is not a run folder"):
        run(recipe, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# ---- data on disk


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    media = write_media(tmp_path_factory.mktemp("data") / "media", clips=3, pictures=2)
    entries = [*(clip_entry(number, questions=2) for number in range(3)), *map(picture_entry, range(2))]
    return {"data": [source(write_json(media.parent / "mixed.json", entries), media)], "batch_size": 2}


@pytest.mark.parametrize("prompt_format", ["instructblip", "minigpt4"])
def test_clips_and_pictures_on_disk_train_a_model_that_reads_the_question(
    on_disk: dict[str, Any], tmp_path: Path, prompt_format: str
) -> None:
    start = micro_checkpoint(tmp_path / "start", reads_question=True, prompt_format=prompt_format)
    method = {"masking": "released", "video_input": "all"}
    recipe = small_recipe({**on_disk, "steps": 6}, new=None, checkpoint=str(start), **method)
    seen: list[StepMetrics] = []
    result = run(recipe, tmp_path / "run", seen.append)
    assert len({metrics.mask_ratio is None for metrics in seen}) == 2, "clips are masked, pictures not"
    before, after = weights(start), weights(result.checkpoint)
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert {"qformer", "projection", "language_model", "vision_model"} <= changed
    assert load_checkpoint(str(result.checkpoint)).tokenizers.question is not None
    assert not (tmp_path / "run" / "skipped.jsonl").exists()


def _stop_at(stage: str) -> Callable[[StepMetrics], None]:
    def stop(metrics: StepMetrics) -> None:
        if (metrics.stage, metrics.step) == (stage, 2):
            raise KeyboardInterrupt  # the checkpoint of the first step is there

    return stop


def test_a_stage_goes_on_only_with_the_data_it_began_with_and_one_that_has_not_begun_with_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = write_media(tmp_path / "media", clips=2)
    file = write_json(tmp_path / "clips.json", [clip_entry(number) for number in range(2)])
    began = file.read_text()
    stage = {"data": [source(file, media)], "steps": 3, "batch_size": 2, "save_every": 1}
    recipe, folder = small_recipe({**stage, "name": "a"}, {**stage, "name": "b"}), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(recipe, folder, _stop_at("a"))
    file.write_text(f"{began}\n")
    with monkeypatch.context() as patched:
        patched.setattr(starting_point, "starting_point", None)
        with pytest.raises(TrainingError, match="has changed since stage 'a' began with it") as caught:
            run(recipe, folder)
    assert caught.value.where == str(file)
    file.write_text(began)
    assert run(recipe, folder, until="a").trained == ("a",)
    file.write_text(f"{began}\n")
    assert run(recipe, folder, until="a").skipped == ("a",)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, folder, _stop_at("b"))
    assert run(recipe, folder).trained == ("b",)
    data = json.loads((folder / "environment.json").read_text())["data"]
    assert data["a"].keys() == data["b"].keys() == {str(file)} and data["a"] != data["b"]


def test_a_stage_that_was_stopped_before_its_first_checkpoint_may_have_its_data_corrected(
    tmp_path: Path,
) -> None:
    media = write_media(tmp_path / "media", clips=2)
    file = write_json(tmp_path / "clips.json", [clip_entry(number) for number in range(2)])
    stage = {"data": [source(file, media)], "steps": 3, "batch_size": 2, "save_every": 0}
    recipe, folder = small_recipe({**stage, "name": "a"}), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(recipe, folder, _stop_at("a"))
    file.write_text(f"{file.read_text()}\n")
    assert run(recipe, folder).trained == ("a",)


def test_too_many_failures_of_an_earlier_start_are_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    media = write_media(tmp_path / "media", clips=2)
    annotations = write_json(tmp_path / "clips.json", [clip_entry(number) for number in range(2)])
    recipe = small_recipe({"data": [source(annotations, media)]}, new=None, checkpoint=str(tmp_path / "gone"))
    with claimed(tmp_path / "run", recipe):
        pass
    known = json.dumps({"file": str(media / "clip0.mp4"), "reason": "clip0 is broken"})
    (tmp_path / "run" / "skipped.jsonl").write_text(f"{known}\n")
    with pytest.raises(DataError, match=r"1 of 2 clips and pictures cannot be read(.|\n)*clip0 is broken"):
        run(recipe, tmp_path / "run")


def test_a_known_peak_says_how_much_of_it_is_used(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mfu, "peak_here", lambda: 1e11)  # slow steps show, too
    run(recipe, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert all(0 < row["mfu"] < 1 for row in rows)


def test_a_file_in_the_run_folder_stops_it_and_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def stop(metrics: StepMetrics) -> None:
        if metrics.step == 1:
            (folder / "stop").touch()

    recipe = small_recipe({"steps": 9})
    with pytest.raises(Interrupted, match="stopped at step 2 of 9; its state is saved"):
        run(recipe, folder, stop)
    assert not (folder / "stop").exists()
    assert (folder / "work" / "stage0" / "checkpoint-2").is_dir()


def _told_in_the_only_step(folder: Path, by: str) -> Callable[[StepMetrics], None]:
    def tell(metrics: StepMetrics) -> None:
        if by == "file":
            (folder / "stop").touch()
        else:
            signal.raise_signal(signal.SIGTERM)

    return tell


@pytest.mark.parametrize("by", ["file", "signal"])
def test_told_to_stop_in_the_last_step_of_a_stage_it_keeps_the_result_and_begins_no_other(
    by: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    recipe = small_recipe({"name": "a", "steps": 1}, {"name": "b", "steps": 1})
    with pytest.raises(Interrupted, match="stage 'a': told to stop; its result is saved"):
        run(recipe, folder, _told_in_the_only_step(folder, by))
    assert (folder / "checkpoints" / "a-1").is_dir() and not (folder / "stop").exists()
    assert {line["stage"] for line in map(json.loads, (folder / "metrics.jsonl").open())} == {"a"}
    result = run(recipe, folder)
    assert (result.skipped, result.trained) == (("a",), ("b",))


@pytest.mark.parametrize("by", ["file", "signal"])
def test_told_to_stop_in_the_last_step_of_all_it_is_complete(by: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = small_recipe({"name": "a", "steps": 1})
    assert run(recipe, folder, _told_in_the_only_step(folder, by)).trained == ("a",)
    assert not (folder / "stop").exists()


def test_told_to_stop_in_the_last_step_asked_for_it_says_so_to_who_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = small_recipe({"name": "a", "steps": 1})
    with pytest.raises(Interrupted, match="told to stop; its result is saved"):
        run(recipe, folder, _told_in_the_only_step(folder, "signal"), until="a")


@pytest.mark.parametrize(("times", "said"), [(50.4, True), (1.2, False)])
def test_a_precision_that_the_processor_is_slow_in_is_warned_of(
    times: float,
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(devices, "slowness_here", lambda precision: times if precision == "bfloat16" else 1.0)
    run(
        small_recipe({"steps": 1, "precision": "float32"}, {"steps": 1, "precision": "bfloat16"}),
        tmp_path / "run",
    )
    warned = [told.message for told in caplog.records if "times as long" in told.message]
    expected = (
        "stage 'stage1': this processor takes 50 times as long in bfloat16 as in float32 "
        "(--set stages.1.train.precision=float32)"
    )
    assert warned == ([expected] if said else [])
