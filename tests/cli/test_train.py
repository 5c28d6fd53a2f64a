import json
import signal
from pathlib import Path

import pytest
import yaml

from st_llm_cli import recipe as recipe_module
from st_llm_cli.recipe import load_recipe
from st_llm_cli.stages import launch
from st_llm_cli.stages.environment import describe_environment
from st_llm_cli.stages.run_folder import claimed
from st_llm_cli.stages.video_model import load_model
from tests.cli.conftest import Stllm
from tests.training.data.files import clip_entry, source, write_json, write_media
from tests.training.small import small_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    settings = small_recipe({"name": "videos"}, masking="released").model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_trained_run_is_a_model_to_ask(stllm: Stllm, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ran = stllm("train", recipe, "--output", run)
    assert ran.code == 0
    assert ran.out.strip() == str(run / "checkpoints" / "videos-1")
    assert "videos 2/2: loss " in ran.err and " dropped" in ran.err
    assert f"--model {run}" in ran.err
    assert load_model(str(run)).num_frames == 3


def test_settings_on_the_command_line_reach_the_run(stllm: Stllm, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stllm("train", recipe, "--output", run, "--set", "stages.0.train.steps=1").code == 0
    assert [json.loads(line)["steps"] for line in (run / "metrics.jsonl").open()] == [1]


def test_json_names_the_checkpoint_and_the_stages(stllm: Stllm, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = json.loads(stllm("train", recipe, "--output", run, "--json").out)
    assert first["trained"] == ["videos"] and first["skipped"] == []
    again = stllm("train", recipe, "--output", run, "--json")
    assert json.loads(again.out)["skipped"] == ["videos"]
    assert "stage 'videos' was done already" in again.err


def test_no_processes_are_started_for_a_run_that_is_complete(
    stllm: Stllm, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert stllm("train", recipe, "--output", run).code == 0
    monkeypatch.setattr(launch, "run_here", None)
    again = stllm("train", recipe, "--output", run, "--gpus", "2")
    assert again.code == 0 and "stage 'videos' was done already" in again.err


def test_no_processes_are_started_for_what_can_be_refused_at_once(
    stllm: Stllm, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "run_here", None)
    begun, foreign = tmp_path / "begun", tmp_path / "foreign"
    with claimed(begun, load_recipe(recipe)):
        (begun / "metrics.jsonl").touch()
    foreign.mkdir()
    (foreign / "letters.txt").touch()
    missing = tmp_path / "none"
    data = f"stages.0.train.data=[{{videochat2: {{annotations: {missing}.json, media: {missing}}}}}]"
    for output, setting, said in (
        (begun, "stages.0.train.lr=1e-5", "holds a run of another recipe"),
        (foreign, "stages.0.train.lr=1e-5", "exists, and is not a run folder"),
        (tmp_path / "run", "stages.0.train.report_to=[wandbox]", "no logger 'wandbox'"),
        (tmp_path / "run", data, f"{missing}: no such folder (it is the 'media' of {missing}.json)"),
    ):
        refused = stllm("train", recipe, "--output", output, "--gpus", "2", "--set", setting)
        assert refused.code == 1 and said in refused.err
    assert not (tmp_path / "run").exists()


def test_the_run_folder_is_named_after_the_recipe(
    stllm: Stllm, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert stllm("train", recipe).code == 0
    assert (tmp_path / "runs" / "small" / "recipe.yaml").exists()


def test_a_wrong_setting_is_named_before_anything_is_written(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    ran = stllm("train", recipe, "--output", tmp_path / "run", "--set", "stages.0.train.setps=1")
    assert ran.code == 1
    assert "setps" in ran.err and "steps" in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "run"])
def test_a_folder_of_too_long_a_name_is_an_error(
    command: str, stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    ran = stllm(command, recipe, "--output", tmp_path / ("x" * 300))
    assert ran.code == 1
    assert "xxx: cannot be written: File name too long (give another --output)\n" in ran.err


def test_a_run_of_another_recipe_is_refused(stllm: Stllm, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stllm("train", recipe, "--output", run)
    ran = stllm("train", recipe, "--output", run, "--set", "stages.0.train.lr=1e-5")
    assert ran.code == 1
    assert (
        "holds a run of another recipe, or of other settings: stages.0.train.lr was 0.0003, is 1e-05"
        in ran.err
    )


def test_settings_of_the_user_win_over_small_ones(stllm: Stllm, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["--set", "stages.0.train.steps=3", "--set", "stages.0.train.save_every=0"]
    ran = stllm("train", "wide", "--tiny", "--output", run, *settings)
    assert ran.code == 0, ran.err
    assert [json.loads(line)["steps"] for line in (run / "metrics.jsonl").open()] == [3, 3, 3]
    again = stllm("train", "wide", "--tiny", "--output", run, *settings, "--json")
    assert json.loads(again.out)["skipped"] == ["answers"]


def test_a_device_to_plan_for_is_refused_where_nothing_is_planned(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    ran = stllm("train", recipe, "--output", tmp_path / "run", "--device", "h200")
    assert ran.code == 2 and "--device: says what to plan for, and goes with --dry-run" in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("options", "count"), [((), 12), (("--gpus", "2"), 4)])
def test_a_plan_counts_the_processes_of_all_machines(
    options: tuple[str, ...], count: int, stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("node1 slots=8\nnode2 slots=4\n")
    wanted = ("--dry-run", "--device", "h200", "--hostfile", tmp_path / "hosts", "--json")
    ran = stllm("train", recipe, *wanted, *options)
    assert json.loads(ran.out)["processes"] == count


def test_a_plan_says_that_the_data_of_the_stage_under_way_have_changed(stllm: Stllm, tmp_path: Path) -> None:
    media = write_media(tmp_path / "media", clips=1)
    file, run = write_json(tmp_path / "clips.json", [clip_entry(0)]), tmp_path / "run"
    recipe = small_recipe({"name": "done"}, {"data": [source(file, media)]})
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True)))
    with claimed(run, load_recipe(path)):
        describe_environment(run, recipe, 1, "stage1", {str(file): "sha256:1"})
    command = ("train", path, "--dry-run", "--output", run)
    assert stllm(*command).code == 0  # it has not begun
    checkpoint = run / "work" / "stage1" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "processes.json").write_text('{"processes": 1}')
    planned = stllm(*command)
    assert planned.code == 1 and "all stages: " in planned.out
    assert f"{file}: has changed since stage 'stage1' began with it (put back" in planned.err
    assert stllm(*command, "--set", "stages.1.train.lr=0.5").code == 0  # a plan of another run


def test_a_small_run_is_not_planned(stllm: Stllm) -> None:
    ran = stllm("train", "wide", "--tiny", "--dry-run")
    assert ran.code == 2 and "not worth planning" in ran.err


def test_a_start_goes_on_though_an_earlier_run_was_told_to_stop(
    stllm: Stllm, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with claimed(run, load_recipe(recipe)):
        (run / "stop").touch()
    trained = stllm("train", recipe, "--output", run)
    assert trained.code == 0, trained.err
    assert not (run / "stop").exists()
    (run / "stop").touch()
    assert stllm("train", recipe, "--output", run).code == 0
    assert (run / "stop").exists()  # nothing is written to a complete run
    other = stllm("train", recipe, "--output", run, "--set", "stages.0.train.lr=0.5")
    assert other.code == 1 and (run / "stop").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["train", "run"])
def test_told_to_stop_before_the_first_step_it_says_so(
    command: str, number: signal.Signals, stllm: Stllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*given: object) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(recipe_module, "load_recipe", told)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        ended = stllm(command, "my.yaml")
    finally:
        assert signal.signal(signal.SIGTERM, before) == signal.SIG_IGN
    said = "told to stop; what was saved before stays (the same command goes on from there)"
    assert ended.code == 130 and said in ended.err
