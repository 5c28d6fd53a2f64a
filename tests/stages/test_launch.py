import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from st_llm_cli.stages.launch import LAUNCHER

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


def _wait(until: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
