import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import TrainingError
from st_llm_cli.stages import environment
from st_llm_cli.stages.environment import describe_environment, refuse_other_data
from tests.training.small import small_recipe

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]


def checkout(folder: Path) -> Path:
    """Make a repository of one file."""
    folder.mkdir()
    (folder / "program.py").write_text("")
    subprocess.run(["git", "init", "-q", folder], check=True)
    for command in (["add", "."], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*GIT, "-C", folder, *command], check=True)
    return folder


def git_of_run_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    describe_environment(folder.parent, small_recipe({}), 1, "stage0", {})
    found: dict[str, Any] = json.loads((folder.parent / "environment.json").read_text())["git"]
    return found


def test_the_programs_own_checkout_is_recorded_and_that_of_the_folder_if_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, mine, none = checkout(tmp_path / "program"), checkout(tmp_path / "mine"), tmp_path / "none"
    none.mkdir()
    monkeypatch.setattr(environment, "__file__", str(program / "program.py"))
    (program / "program.py").write_text("changed = True")
    within = git_of_run_in(program, monkeypatch)
    assert set(within) == {"program"} and within["program"]["changed"] is True
    beside = git_of_run_in(mine, monkeypatch)
    assert beside["program"] == within["program"]
    assert beside["folder"]["root"] == str(mine) and beside["folder"]["changed"] is False
    assert git_of_run_in(none, monkeypatch) == {"program": within["program"], "folder": None}


def test_an_installed_program_is_not_taken_for_part_of_the_checkout_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = checkout(tmp_path / "mine")
    installed = mine / "venv" / "environment.py"
    installed.parent.mkdir()
    shutil.copy(mine / "program.py", installed)
    monkeypatch.setattr(environment, "__file__", str(installed))
    found = git_of_run_in(mine, monkeypatch)
    assert found["program"] is None and found["folder"]["root"] == str(mine)


def data_in(output: Path) -> Any:
    return json.loads((output / "environment.json").read_text())["data"]


def test_each_stage_keeps_the_data_it_was_made_with(tmp_path: Path) -> None:
    recipe = small_recipe({"name": "first"}, {"name": "second"})
    describe_environment(tmp_path, small_recipe({"name": "other"}), 1, "other", {})
    describe_environment(tmp_path, recipe, 1, "first", {"a.jsonl": "sha256:1"})
    describe_environment(tmp_path, recipe, 1, "second", {"a.jsonl": "sha256:2"})
    assert data_in(tmp_path) == {"first": {"a.jsonl": "sha256:1"}, "second": {"a.jsonl": "sha256:2"}}


def test_other_data_than_a_stage_began_with_is_refused_by_name(tmp_path: Path) -> None:
    began = {"a.jsonl": "sha256:1", "b.jsonl": "sha256:1", "c.jsonl": "sha256:1"}
    describe_environment(tmp_path, small_recipe({}), 1, "stage0", began)
    refuse_other_data(tmp_path, "stage0", began)
    refuse_other_data(tmp_path, "a stage of which nothing is known", {"a.jsonl": "sha256:2"})
    with pytest.raises(TrainingError) as caught:
        refuse_other_data(tmp_path, "stage0", {**began, "b.jsonl": "sha256:2"})
    assert str(caught.value) == (
        "b.jsonl: has changed since stage 'stage0' began with it "
        "(put back what was in it, or give another --output)"
    )
    with pytest.raises(TrainingError, match="began with it, and 1 more of its files with it"):
        refuse_other_data(tmp_path, "stage0", {**began, "a.jsonl": "sha256:2", "b.jsonl": "sha256:2"})


@pytest.mark.parametrize(
    "text", ['{"data": {"a.jsonl": "sha256:1"}}', '{"stllm": "0"}', '{"data": 5}', "{", "[]"]
)
def test_a_folder_that_does_not_say_what_a_stage_began_with_goes_on_and_a_line_says_so(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "environment.json").write_text(text)
    refuse_other_data(tmp_path, "stage0", {})  # of shapes, which are drawn
    assert not caplog.messages
    refuse_other_data(tmp_path, "stage0", {"a.jsonl": "sha256:2"})
    said = "stage 'stage0': environment.json does not say what data it began with, so they were not compared"
    assert caplog.messages == [said]
    describe_environment(tmp_path, small_recipe({}), 1, "stage0", {"a.jsonl": "sha256:2"})
    assert data_in(tmp_path) == {"stage0": {"a.jsonl": "sha256:2"}}
