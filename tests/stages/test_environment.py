import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.stages import environment
from st_llm_cli.stages.environment import describe_environment
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
    describe_environment(folder.parent / "environment.json", small_recipe({}), 1)
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


def test_annotations_in_the_home_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jsonl").write_text("{}\n")
    data = [{"jsonl": {"annotations": "~/a.jsonl", "media": "~"}}]
    describe_environment(tmp_path / "environment.json", small_recipe({"data": data}), 1)
    (name,) = json.loads((tmp_path / "environment.json").read_text())["data"]
    assert name == str(tmp_path / "a.jsonl")
