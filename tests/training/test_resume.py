import signal
from pathlib import Path

import pytest

from tests.training.processes import (
    losses,
    metrics,
    same_weights,
    start,
    train,
    wait_for_step,
    weights,
    write_recipe,
)

STAGE = {
    "steps": 30,
    "save_every": 10,
    "optimizer": "muon",
    "warmup_steps": 3,
    "accumulate": 2,
    "data": [{"shapes": {"kind": "images"}}, {"shapes": {"questions_per_clip": 2}}],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    return write_recipe(path, STAGE, masking="released", mvm="released")


@pytest.fixture(scope="module")
def straight(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight") / "run"
    train(recipe, run)
    return run


def kill_at(step: int, recipe: Path, run: Path) -> None:
    """Start a run and end it the hard way once it has come to a step."""
    killed = start(recipe, run)
    wait_for_step(killed, run, step)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights_to_the_last_bit(
    recipe: Path, straight: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kill_at(13, recipe, run)
    assert "goes on from step " in train(recipe, run)
    assert same_weights(weights(run), weights(straight))
    assert [line["step"] for line in metrics(run)] == list(range(1, 31))
    assert [line["loss"] for line in metrics(run)] == [line["loss"] for line in metrics(straight)]
    assert not list((run / "work" / "stage0").glob("checkpoint-*"))


@pytest.mark.slow
def test_a_run_told_to_stop_saves_and_says_so(recipe: Path, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(recipe, run)
    wait_for_step(process, run, 3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "its state is saved (the same command goes on from there)" in err
    assert "Traceback" not in err
    stopped_at = metrics(run)[-1]["step"]
    assert [path.name for path in (run / "work" / "stage0").glob("check*")] == [f"checkpoint-{stopped_at}"]
    train(recipe, run)
    assert same_weights(weights(run), weights(straight))


@pytest.mark.slow
def test_a_run_goes_on_in_smaller_passes_to_the_same_losses(
    recipe: Path, straight: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kill_at(13, recipe, run)
    smaller = ("batch_size=2", "accumulate=4", "gradient_checkpointing=true")
    said = train(recipe, run, *(f"--set=stages.0.train.{setting}" for setting in smaller))
    assert "goes on with other settings" in said and "goes on from step " in said
    assert losses(run) == pytest.approx(losses(straight), abs=1e-4)
