import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from st_llm_cli.recipe import dump_recipe, load_recipe
from st_llm_cli.stages import run as run_module
from st_llm_cli.stages.drawn_shapes import CLIPS
from st_llm_cli.stages.video_model import load_model
from tests.cli.conftest import Stllm
from tests.training.small import small_recipe

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(CLIPS, "rich", 1)
    settings = small_recipe({"name": "one"}, {"name": "two"}).model_dump(mode="json", exclude_none=True)
    evaluation = {"eval": {"bench": "shapes", "data": str(tmp_path / "shapes"), "limit": 3}}
    settings["stages"].insert(1, evaluation)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_every_stage_runs_in_order_and_is_skipped_when_complete(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = stllm("run", recipe, "--output", run, "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["done"] == ["train one", "eval shapes", "train two"]
    settings = json.loads((run / "eval" / "1-shapes" / "settings.json").read_text())
    assert settings["model"].endswith("one-1")
    assert (run / "loss.png").exists()
    measured = {path.name for path in (run / "eval" / "1-shapes").iterdir()}
    assert {"predictions.jsonl", "scores.json", "scores.csv", "report.html", "environment.json"} <= measured
    again = stllm("run", recipe, "--output", run, "--json")
    assert json.loads(again.out)["done"] == []
    assert "eval shapes: done already" in again.err
    other = stllm("run", recipe, "--output", run, "--set", "stages.0.train.lr=0.5")
    assert other.code == 1 and "holds a run of another recipe, or of other settings" in other.err


def stop_in_evaluations(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each evaluation of a run begin with a file that tells the run to stop."""
    evaluate = run_module.evaluate

    def told(*given: Any) -> Any:
        (run / "stop").touch()
        return evaluate(*given)

    monkeypatch.setattr(run_module, "evaluate", told)


def test_a_file_made_during_an_evaluation_stops_the_run_after_it_and_an_earlier_one_does_not(
    stllm: Stllm, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stop_in_evaluations(run, monkeypatch)
    first = stllm("run", recipe, "--output", run)
    assert first.code == 130, first.err
    assert f"train two: told to stop ({run / 'stop'}) before it began" in first.err
    assert not (run / "stop").exists() and (run / "eval" / "1-shapes" / "scores.json").exists()
    assert {line["stage"] for line in map(json.loads, (run / "metrics.jsonl").open())} == {"one"}
    (run / "stop").touch()  # while nothing runs
    again = stllm("run", recipe, "--output", run, "--json")
    assert again.code == 0 and json.loads(again.out)["done"] == ["train two"], again.err
    assert not (run / "stop").exists()


def test_a_file_made_during_the_last_evaluation_is_removed_at_the_end(
    stllm: Stllm, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**settings, "stages": settings["stages"][:2]}))
    stop_in_evaluations(run, monkeypatch)
    ran = stllm("run", recipe, "--output", run)
    assert ran.code == 0 and "stop" not in ran.err, ran.err
    assert not (run / "stop").exists()
    (run / "stop").touch()
    assert stllm("run", recipe, "--output", run).code == 0
    assert (run / "stop").exists()  # nothing is written to a complete run


def test_an_evaluation_that_cannot_be_is_refused_before_training(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused = stllm("run", recipe, "--output", run, "--set", "stages.1.eval.bench=shape")
    assert refused.code == 2 and "unknown benchmark 'shape'" in refused.err
    assert not run.exists()


def test_other_files_where_an_evaluation_goes_are_refused_before_training(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run" / "eval" / "1-shapes"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder.parents[1] / "recipe.yaml").write_text(dump_recipe(load_recipe(recipe)))
    ran = stllm("run", recipe, "--output", tmp_path / "run")
    assert (ran.code, ran.out) == (2, "")
    assert f"{folder}: exists, and is not a run folder" in ran.err and "move this folder away" in ran.err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_what_a_later_stage_lacks_is_refused_before_the_first(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused = stllm("run", recipe, "--output", run, "--set", "stages.2.train.report_to=[wandbox]")
    assert refused.code == 1 and "stage 'two', report_to: no logger 'wandbox'" in refused.err
    assert not run.exists()


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_bundled_recipe_says_how_to_come_by_its_data(
    stllm: Stllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = stllm(command, "claims/events")
    assert refused.code == 1
    said = "runs/claims/events: no such folder (it is the 'media' of runs/claims/events/train.json; "
    assert said in refused.err
    recipe = re.search(r"more at the top of (.*)\)", refused.err)
    assert recipe is not None
    assert "python tests/performance/claims.py" in Path(recipe[1]).read_text()


def test_a_cache_that_a_later_stage_is_to_fill_and_is_turned_off_is_refused_before_the_first(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = yaml.safe_load(recipe.read_text())
    settings["stages"].insert(1, {"extract_features": {}})
    recipe.write_text(yaml.safe_dump(settings))
    refused = stllm("run", recipe, "--output", run, "--cache", "off")
    assert refused.code == 1 and not run.exists()
    assert "stages.1.extract_features: the cache is turned off (drop it, or --cache DIR)" in refused.err


def test_an_evaluation_in_a_recipe_asks_about_the_rich_world(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    ran = stllm("run", recipe, "--output", tmp_path / "run", "--set", "stages.1.eval.frames=8")
    assert ran.code == 0 and "no order: best possible" in ran.out
    assert "drawing clips to ask about: 1/1" in ran.err and "report.html" in ran.err
    scores = json.loads((tmp_path / "run" / "eval" / "1-shapes" / "scores.json").read_text())
    assert scores["ceilings"] == {"moving_attribute": {"order_blind": 0.25, "single_frame": 1 / 3}}


def test_training_can_stop_after_a_stage(stllm: Stllm, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stllm("train", recipe, "--output", run, "--until", "one").code == 0
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["one-1"]
    wrong = stllm("train", recipe, "--output", run, "--until", "three")
    assert wrong.code == 2 and "no training stage 'three'" in wrong.err


def test_a_run_is_exported_as_one_folder(stllm: Stllm, recipe: Path, tmp_path: Path) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    assert stllm("train", recipe, "--output", run, "--until", "one").code == 0
    done = stllm("export", run, model, "--json")
    assert json.loads(done.out)["merged"] is False
    card = (model / "README.md").read_text()
    assert "## Recipe" in card
    with_transformers = PYTHON.findall(card)[-1]
    exec(with_transformers.replace("PATH", str(model)), {})
    assert load_model(str(model), device="cpu").num_frames == 3
    assert "exists already" in stllm("export", run, model).err
    for folder in (model, run / "checkpoints" / "one-1"):
        modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
        assert modes["model.safetensors"] == modes["config.json"]  # others of a cluster may read both
