import errno
import os
import resource
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from st_llm_cli.errors import DataError, TrainingError
from st_llm_cli.recipe import Recipe, load_recipe
from st_llm_cli.stages import run_folder
from st_llm_cli.stages.run_folder import claimed, forget_stop, write_run_file
from tests.training.small import small_recipe

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def claim(output: Path, recipe: Recipe) -> None:
    with claimed(output, recipe):
        pass


@pytest.mark.parametrize(
    "changed",
    [
        {"save_every": 7, "log_every": 3, "report_to": ["tensorboard"], "max_failures": 0.5},
        {"batch_size": 2, "accumulate": 2, "gradient_checkpointing": True},
    ],
)
def test_how_a_run_goes_may_be_changed_on_the_way(
    changed: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claim(tmp_path / "run", small_recipe({}))
    claim(tmp_path / "run", small_recipe(changed))
    assert "goes on with other settings, which leave what is learnt as it is" in caplog.text
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == small_recipe(changed)


def test_another_description_is_the_same_recipe_and_none_of_the_settings_that_differ(tmp_path: Path) -> None:
    claim(tmp_path / "run", small_recipe({}))
    (tmp_path / "run" / "metrics.jsonl").touch()
    described = small_recipe({}).model_copy(update={"description": "Said better."})
    claim(tmp_path / "run", described)
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == described
    error = refused(tmp_path / "run", small_recipe({"lr": 0.5}))
    assert error.what.endswith("settings: stages.0.train.lr was 0.0003, is 0.5")


def test_a_folder_in_which_nothing_was_done_is_free_for_another_recipe(tmp_path: Path) -> None:
    claim(tmp_path / "run", small_recipe({}))
    (tmp_path / "run" / "environment.json").touch()
    (tmp_path / "run" / "start").mkdir()
    claim(tmp_path / "run", small_recipe({"lr": 0.5}))
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == small_recipe({"lr": 0.5})
    assert not (tmp_path / "run" / "start").exists()  # a small model of the recipe before


@pytest.mark.parametrize("done", run_folder.DONE)
def test_once_anything_was_done_it_is_not(done: str, tmp_path: Path) -> None:
    claim(tmp_path / "run", small_recipe({}))
    path = tmp_path / "run" / done.replace("*", "1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        claim(tmp_path / "run", small_recipe({"lr": 0.5}))


@pytest.mark.parametrize("changed", [{"batch_size": 2}, {"lr": 0.5}, {"steps": 3}, {"deepspeed": "zero2"}])
def test_what_a_run_learns_may_not(changed: dict[str, object], tmp_path: Path) -> None:
    claim(tmp_path / "run", small_recipe({}))
    (tmp_path / "run" / "metrics.jsonl").touch()
    with pytest.raises(TrainingError, match="holds a run of another recipe, or of other settings"):
        claim(tmp_path / "run", small_recipe(changed))
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == small_recipe({})


def refused(output: Path, recipe: Recipe) -> TrainingError:
    with pytest.raises(TrainingError, match="holds a run of another recipe, or of other settings") as caught:
        claim(output, recipe)
    return caught.value


def test_the_first_settings_that_differ_are_named_with_what_they_were_and_are(tmp_path: Path) -> None:
    claim(tmp_path / "run", small_recipe({}))
    (tmp_path / "run" / "metrics.jsonl").touch()
    may_change = {"save_every": 7, "batch_size": 1, "accumulate": 4, "report_to": ["wandb"]}
    error = refused(tmp_path / "run", small_recipe({"lr": 0.5, **may_change}))
    assert error.what.endswith("settings: stages.0.train.lr was 0.0003, is 0.5")
    assert error.fix == "give another --output, or repeat those settings"
    error = refused(tmp_path / "run", small_recipe({"steps": 1, "lr": 0.5, "seed": 1, "mask": False}))
    assert error.what.endswith("; stages.0.train.mask was true, is false; and 1 more")


def test_more_steps_of_a_complete_run_are_another_run_from_its_weights(tmp_path: Path) -> None:
    output = tmp_path / "a run"
    claim(output, small_recipe({"steps": 2}))
    (output / "metrics.jsonl").touch()
    assert (
        refused(output, small_recipe({"steps": 5})).fix == "give another --output, or repeat those settings"
    )
    (output / "checkpoints" / "stage0-1").mkdir(parents=True)
    assert refused(output, small_recipe({"steps": 5})).fix == (
        f"for 3 more steps from its weights: --output NEW --set 'model.checkpoint={output}' "
        "--set stages.0.train.steps=3 --set model.new=null"
    )
    assert (
        refused(output, small_recipe({"steps": 1})).fix == "give another --output, or repeat those settings"
    )
    assert "from its weights" not in str(refused(output, small_recipe({"steps": 5, "lr": 0.5})).fix)


@pytest.mark.parametrize("name", ["a #2", "123", "null", "x: y", "- a", "a'b", '"'])
def test_the_run_that_is_to_be_gone_on_from_is_named_as_yaml_reads_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    claim(Path(name), small_recipe({"steps": 2}))
    (Path(name) / "metrics.jsonl").touch()
    (Path(name) / "checkpoints" / "stage0-1").mkdir(parents=True)
    typed = shlex.split(str(refused(Path(name), small_recipe({"steps": 5})).fix))
    (setting,) = [word for word in typed if word.startswith("model.checkpoint=")]
    assert yaml.safe_load(setting.partition("=")[2]) == name


def test_a_recipe_that_this_version_cannot_read_is_another(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("from: the future\n")
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        claim(tmp_path, small_recipe({}))


def test_a_folder_that_another_process_writes_to_is_refused_until_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "SECONDS_TO_END", 0.0)
    claim(tmp_path / "run", small_recipe({}))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run" / ".lock"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    with pytest.raises(TrainingError) as caught:
        claim(tmp_path / "run", small_recipe({}))
    assert caught.value.what == "another process trains or measures in this run folder"
    assert caught.value.where == str(tmp_path / "run") and f"touch {tmp_path / 'run' / 'stop'}" in str(
        caught.value.fix
    )
    holder.kill()
    holder.communicate()
    claim(tmp_path / "run", small_recipe({}))


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(tmp_path / "run", small_recipe({}))  # leaves a lock that can be opened
    (tmp_path / "run").chmod(0o555)
    # Whoever may write everywhere is treated like everybody else.
    monkeypatch.setattr(os, "access", lambda path, mode: bool(os.stat(path).st_mode & stat.S_IWUSR))
    with pytest.raises(DataError) as caught:
        claim(tmp_path / "run", small_recipe({}))
    error = caught.value
    assert (error.what, error.where) == ("cannot be written: Permission denied", str(tmp_path / "run"))
    assert error.fix == "make it writable, or give another --output"


def test_what_is_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(DataError, match="cannot be written: Not a directory") as caught:
        claim(file / "runs" / "first", small_recipe({}))
    assert caught.value.where == str(file / "runs" / "first")
    assert caught.value.fix == f"move away {file}, which is no folder, or give another --output"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_room_is_asked_for_only_where_it_is_missing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_folder, "put_whole", refuse)
    with pytest.raises(DataError) as caught:
        write_run_file(tmp_path / "recipe.yaml", "{}")
    room = "" if number == errno.EIO else "make room, or "
    assert caught.value.fix == f"{room}give another --output"


def test_a_folder_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    output = tmp_path / os.fsdecode(b"run\xff")
    with pytest.raises(DataError, match="cannot be written: its name is not UTF-8") as caught:
        claim(output, small_recipe({}))
    assert caught.value.where == str(output) and not output.exists()


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        claim(tmp_path / "run", small_recipe({}))
    assert caught.value.where == str(tmp_path / "run" / ".lock")


def test_a_file_to_stop_is_left_to_the_run_that_still_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "SECONDS_TO_END", 0.0)
    stop = tmp_path / "run" / "stop"
    with claimed(tmp_path / "run", small_recipe({})):
        stop.touch()
        with pytest.raises(TrainingError, match="another process trains or measures in this run folder"):
            forget_stop(tmp_path / "run")
        assert stop.exists()
    forget_stop(tmp_path / "run")
    assert not stop.exists()


def test_forgetting_makes_no_folder_and_enters_no_foreign_one(tmp_path: Path) -> None:
    forget_stop(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "stop").touch()
    with pytest.raises(TrainingError, match="is not a run folder"):
        forget_stop(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["stop"]


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").touch()
    with pytest.raises(TrainingError, match="is not a run folder"):
        claim(tmp_path, small_recipe({}))
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_where_the_file_system_knows_no_locks_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_folder, "lock", no_locks)
    claim(tmp_path / "run", small_recipe({}))
    assert "no locks here (No locks available), so start one run at a time" in caplog.text


def test_a_file_that_finds_no_room_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(
            DataError, match=r"recipe\.yaml: cannot be written: File too large \(give another"
        ):
            claim(tmp_path / "run", small_recipe({}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    claim(tmp_path / "run", small_recipe({}))  # so the same command works once there is room


def test_a_file_that_cannot_be_written_anew_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_run_file(path, "{}")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(DataError):
            write_run_file(path, "{'more': 'than four'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "{}"
