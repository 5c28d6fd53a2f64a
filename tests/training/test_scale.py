"""Several processes, DDP and DeepSpeed, for real on the CPU."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe import dump_recipe, load_recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.stages.run_folder import claimed
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.training.scale import check_deepspeed_files, deepspeed_config, offloads, prepare_environment
from tests.training.processes import losses, metrics, start, train, wait_for_step, weights, write_recipe
from tests.training.small import small_recipe

METHOD: dict[str, Any] = {"masking": "released", "mvm": "released"}
STEPS = {"steps": 4, "save_every": 3, "lr": 1e-3}


def stage(**settings: object) -> Train:
    return small_recipe(settings).training[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, no DeepSpeed, eight samples a step."""
    folder = tmp_path_factory.mktemp("alone")
    train(write_recipe(folder / "small.yaml", {**STEPS, "batch_size": 8}, **METHOD), folder / "run")
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("deepspeed", [None, "zero2", "zero3"])
def test_two_processes_equal_one_with_twice_the_batch(
    alone: Path, tmp_path: Path, deepspeed: str | None
) -> None:
    settings = {**STEPS, "batch_size": 4, **({} if deepspeed is None else {"deepspeed": deepspeed})}
    recipe, run = write_recipe(tmp_path / "small.yaml", settings, **METHOD), tmp_path / "run"
    train(recipe, run, "--gpus", "2")
    assert losses(run) == pytest.approx(losses(alone), abs=1e-4)
    # What the two wrote loads in one process.
    assert load_model(str(run), device="cpu").num_frames == 3
    ours, theirs = weights(run), weights(alone)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=2e-3)


@pytest.mark.slow
def test_zero_in_one_process_equals_plain_training(alone: Path, tmp_path: Path) -> None:
    settings = {**STEPS, "batch_size": 8, "deepspeed": "zero2"}
    run = tmp_path / "run"
    train(write_recipe(tmp_path / "small.yaml", settings, **METHOD), run)
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)


@pytest.mark.slow
def test_another_number_of_processes_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", {**STEPS, "deepspeed": "zero3"})
    run = tmp_path / "run"
    checkpoint = run / "work" / "stage0" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "processes.json").write_text('{"processes": 2}')
    (run / "recipe.yaml").write_text(_resolved(recipe))
    process = start(recipe, run)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "was written by 2 processes, and this is a run of one process" in err
    assert "go on with --gpus 2" in err and "Traceback" not in err


@pytest.mark.slow
def test_a_process_that_is_killed_is_named_and_not_what_it_did_to_the_others(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", {"steps": 10_000, "save_every": 2})
    run = tmp_path / "run"
    process = start(recipe, run, "--gpus", "2")
    wait_for_step(process, run, 3)
    (second,) = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _parent(folder) == process.pid and b"\0RANK=1\0" in (folder / "environ").read_bytes()
    ]
    os.kill(second, signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "error: process 1: was killed by SIGKILL" in err and "may have run out of memory" in err
    assert "another process of this run has ended; the last checkpoint, checkpoint-" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_refusal_by_the_first_process_ends_the_one_that_waits_for_it(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", {"steps": 4})
    with claimed(tmp_path / "run", load_recipe(recipe)):
        process = start(recipe, tmp_path / "run", "--gpus", "2")
        assert process.stderr is not None
        assert any("error: " in line and "another process trains" in line for line in process.stderr)
        began = time.monotonic()  # the other is on its way into training
        assert process.wait(timeout=60) == 1
    assert time.monotonic() - began < 15.0


@pytest.mark.slow
def test_processes_told_to_stop_in_the_last_step_of_a_stage_begin_no_other(tmp_path: Path) -> None:
    recipe, run = write_recipe(tmp_path / "two.yaml", {"steps": 1}, {}), tmp_path / "run"
    process = start(recipe, run, "--gpus", "2")
    while not (run / "environment.json").exists():  # written once the stage has begun
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    (run / "stop").touch()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "stage 'stage0': told to stop; its result is saved" in err
    assert {line["stage"] for line in metrics(run)} == {"stage0"} and not (run / "stop").exists()


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_processes_along_and_goes_on_when_given_again(
    tmp_path: Path,
) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", {"steps": 60, "save_every": 2})
    run = tmp_path / "run"
    process = start(recipe, run, "--gpus", "2")
    wait_for_step(process, run, 3)
    process.kill()
    process.wait()
    assert "goes on from step " in train(recipe, run, "--gpus", "2")
    assert [line["step"] for line in metrics(run)] == list(range(1, 61))


def _parent(folder: Path) -> int | None:
    """Process that started another; None if that one is gone."""
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _resolved(recipe: Path) -> str:
    return dump_recipe(load_recipe(recipe))


@pytest.mark.parametrize("name", ["zero2", "zero3", "zero2_offload", "zero3_offload"])
def test_configurations_that_come_with_the_program(name: str) -> None:
    config = deepspeed_config(stage(deepspeed=name))
    assert config is not None
    assert config["zero_optimization"]["stage"] == int(name[4])
    assert offloads(stage(deepspeed=name)) == name.endswith("_offload")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            '{"zero_optimisation": {"stage": 2}}',
            r"c\.json: lacks 'zero_optimization'; is 'zero_optimisation' meant to be it\? \(write {",
        ),
        ('{"stage": 2}', r"lacks 'zero_optimization' \(write {"),
        ('[{"zero_optimization": {"stage": 2}}]', r"is a list, not an object of settings \(write {"),
        ('{"zero_optimization": {"stage": 2}', r"c\.json: is not JSON: Expecting ',' delimiter: line 1"),
        ('{"zero_optimization": 2}', "'zero_optimization' is 2, with no stage from 0 to 3"),
        ('{"zero_optimization": {"stage": "2"}}', "with no stage from 0 to 3"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(RecipeError, match=what):
        check_deepspeed_files([stage(), stage(deepspeed=str(path))])


def test_what_is_compiled_first_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    prepare_environment([stage(deepspeed="zero2_offload")])
    assert "DeepSpeed compiles its " in caplog.text and "optimiser on the CPU first, once" in caplog.text
    caplog.clear()
    for name in ("cpu_adam", "deepspeed_shm_comm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.so").touch()
    prepare_environment([stage(deepspeed="zero2_offload")])
    assert "compiles" not in caplog.text
