import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from st_llm_cli.errors import Interrupted, TrainingError
from st_llm_cli.stages import launch
from st_llm_cli.stages.launch import LAUNCHER, Processes, run_here

WORKER = """
import pathlib, sys, time
from st_llm_cli.stages.launch import end_with_launcher

end_with_launcher()
path = pathlib.Path(sys.argv[1])
for count in range(2000):
    path.write_text(str(count))
    time.sleep(0.05)
"""
START = """
import os, subprocess, sys

os.environ["NAME"] = str(os.getpid())
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], start_new_session=True).wait()
""".replace("NAME", LAUNCHER)


def test_a_worker_ends_when_its_launcher_is_killed(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    launcher = subprocess.Popen([sys.executable, "-c", START, WORKER, alive])
    _wait(lambda: alive.exists() and alive.read_text() not in ("", "0"))
    launcher.kill()
    launcher.wait()
    _wait(lambda: time.time() - os.stat(alive).st_mtime > 1.0)


HANGS = "sleep 60"


@pytest.mark.parametrize(
    ("commands", "failed"),
    [
        (["exit 1", HANGS], (0, 1)),
        ([HANGS, "exit 1"], (1, 1)),
        (["sleep 0.2; exit 1", "exit 1"], (0, 1)),  # both refuse, and process 0 has said why
        (["exit 3", "sleep 0.2; kill -9 $$", HANGS], (1, -9)),
        ([HANGS, "exit 3", "sleep 0.2; exit 2"], (2, 2)),
        (["exit 130", "sleep 0.2; exit 130", HANGS], (0, 130)),
    ],
    ids=str,
)
def test_those_that_wait_for_a_process_that_refused_are_ended_soon(
    commands: list[str], failed: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "SECONDS_TO_SPEAK", 0.8)
    began = time.monotonic()
    assert _run(*commands) == failed
    assert time.monotonic() - began < 8.0


@pytest.mark.parametrize("other", ["kill -9 $$", "exit 3", "exit 130"])
def test_process_0_ends_what_it_writes_when_another_was_killed(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "SECONDS_TO_SPEAK", 0.1)
    failed = _run(f"sleep 1; touch '{tmp_path}/result'", other)
    assert failed is not None and failed[0] == 1
    assert (tmp_path / "result").exists()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            "stllm: error: dog.mp4: cannot be read (remove it)",
            "process 1: dog.mp4: cannot be read (remove it)",
        ),
        (
            "KeyError: 'x'",
            "process 1: failed with exit code 1; its last words: KeyError: 'x' (the same command",
        ),
    ],
)
def test_an_error_of_another_process_is_shown_as_it_is(
    said: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ntest $RANK = 0 && exec sleep 60\necho "a line"\necho "{said}" >&2\nexit 1\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(python))
    with pytest.raises(TrainingError) as caught:
        run_here(["train"], 2)
    assert str(caught.value).startswith(error)


def test_processes_told_to_stop_before_they_listen_have_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, begun = tmp_path / "python", tmp_path / "begun"
    python.write_text(f"#!/bin/sh\ntouch '{begun}'-$RANK\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(python))

    def stop() -> None:
        _wait(lambda: all(Path(f"{begun}-{rank}").exists() for rank in (0, 1)))
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(Interrupted, match="told to stop"):
        run_here(["train"], 2)


def _run(*commands: str) -> tuple[int, int] | None:
    """Which of some processes failed, each of them a line for the shell."""
    with Processes() as processes:
        for command in commands:
            processes.add(["sh", "-c", command], dict(os.environ), None, results=True)
        return processes.wait()


def _wait(until: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
