import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import TrainingError, UsageError
from st_llm_cli.stages import launch
from st_llm_cli.stages.launch import run_on_hosts


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("node1 slots=8\nnode2 slots=8\n")
    return path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Commands that would have been started."""
    commands: list[Any] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        commands.append((command, options))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(launch.subprocess, "run", run)
    monkeypatch.setattr(launch.shutil, "which", lambda tool, path=None: f"/bin/{tool}")
    return commands


def test_many_machines_are_reached_by_deepspeeds_launcher(hosts: Path, started: list[Any]) -> None:
    assert run_on_hosts(["train", "my.yaml", "--output", "runs/my"], hosts, gpus=4) == 3
    ((command, _),) = started
    assert command == [
        *("/bin/deepspeed", "--hostfile", str(hosts), "--num_gpus", "4"),
        *("--module", "st_llm_cli", "train", "my.yaml", "--output", "runs/my"),
    ]


def test_all_gpus_are_used_unless_said_otherwise(hosts: Path, started: list[Any]) -> None:
    run_on_hosts(["train", "my.yaml"], hosts, gpus=None, results=False)
    ((command, options),) = started
    assert "--num_gpus" not in command
    assert options["stdout"] is sys.stderr  # `stllm run --json` has standard output for itself


def test_deepspeed_understands_the_command(hosts: Path, started: list[Any]) -> None:
    """Its own parser is asked, as it would be on the machine that starts."""
    runner = pytest.importorskip("deepspeed.launcher.runner")
    run_on_hosts(["train", "my.yaml", "--output", "runs/my"], hosts, gpus=4)
    ((command, _),) = started
    parsed = runner.parse_args(command[1:])
    assert (parsed.hostfile, parsed.num_gpus, parsed.module) == (str(hosts), 4, True)
    assert (parsed.user_script, parsed.user_args) == (
        "st_llm_cli",
        ["train", "my.yaml", "--output", "runs/my"],
    )
    assert dict(runner.fetch_hostfile(parsed.hostfile)) == {"node1": 8, "node2": 8}


def test_what_is_missing_is_named(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such file"):
        run_on_hosts(["train"], hosts / "no", gpus=None)
    monkeypatch.setattr(launch.shutil, "which", lambda tool, path=None: None if tool == "pdsh" else tool)
    with pytest.raises(TrainingError, match="pdsh, which reaches the other machines, is missing"):
        run_on_hosts(["train"], hosts, gpus=None)
