"""Standard output that is full, closed, or read by someone who leaves."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

STLLM = f"{shlex.quote(sys.executable)} -m st_llm_cli"
COMMANDS = ("--help", "recipes list", "recipes show tiny/shapes")


def shell(line: str) -> tuple[int, str]:
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("command", COMMANDS)
def test_full_output_is_one_line_and_a_failure(command: str) -> None:
    code, said = shell(f"{STLLM} {command} > /dev/full")
    assert (code, said) == (1, "stllm: error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_reader_that_leaves_is_no_reason_to_complain(command: str) -> None:
    code, said = shell(f"{STLLM} {command} | true")
    assert (code, said) == (1, "")


def test_closed_output_takes_what_is_written() -> None:
    assert shell(f"{STLLM} recipes list >&-") == (0, "")


def test_mistake_with_closed_errors_keeps_its_code() -> None:
    assert shell(f"{STLLM} recipes show nowhere 2>&-") == (1, "")


def test_other_failures_of_the_system_keep_their_traceback() -> None:
    code = (
        "import st_llm_cli.cli.main as main, st_llm_cli.__main__ as start\n"
        "def fail(): raise OSError('a bug')\n"
        "main.main = fail\n"
        "start.run()"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1
    assert failed.stderr.endswith("OSError: a bug\n")


@pytest.mark.parametrize("missing", ["pydantic", "st_llm_cli.model"])
def test_a_missing_package_is_one_line_and_a_missing_part_of_ours_a_bug(missing: str) -> None:
    start = (
        "import st_llm_cli.cli.main as main, st_llm_cli.__main__ as start\n"
        f"def fail(): raise ModuleNotFoundError('No module', name={missing!r})\n"
        "main.main = fail\n"
        "start.run()"
    )
    failed = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1
    if missing == "pydantic":
        (line,) = failed.stderr.splitlines()
        assert line.startswith("stllm: error: the package 'pydantic' is missing (stllm doctor names")
    else:
        assert "Traceback" in failed.stderr


@pytest.mark.parametrize(
    ("end", "code"), [("pass", 0), ("sys.exit(130)", 130), ("raise RuntimeError('a bug')", 1)]
)
def test_one_of_several_processes_waits_for_no_thread_however_it_ends(end: str, code: int) -> None:
    start = (
        "import atexit, sys, threading, time\n"
        "import st_llm_cli.cli.main as main, st_llm_cli.__main__ as start\n"
        "atexit.register(print, 'a logger sends its last lines')\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"def work(): {end}\n"
        "main.main = work\n"
        "start.run()"
    )
    command = [sys.executable, "-c", start]
    several = {**os.environ, "RANK": "1", "WORLD_SIZE": "2"}
    ended = subprocess.run(command, env=several, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (code, "a logger sends its last lines\n")
    assert ("RuntimeError: a bug" in ended.stderr) == (code == 1)


def test_one_of_several_processes_takes_those_that_draw_for_it_along() -> None:
    start = (
        "import multiprocessing, signal, sys, time\n"
        "import st_llm_cli.cli.main as main, st_llm_cli.__main__ as start\n"
        "def draw(ready):\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    ready.set()\n"
        "    time.sleep(600)\n"
        "def work():\n"
        "    context = multiprocessing.get_context('fork')\n"
        "    ready = context.Event()\n"
        "    child = context.Process(target=draw, args=(ready,), daemon=True)\n"
        "    child.start()\n"
        "    ready.wait()\n"
        "    print(child.pid)\n"
        "    sys.exit(1)\n"
        "main.main = work\n"
        "start.run()"
    )
    several = {**os.environ, "RANK": "1", "WORLD_SIZE": "2"}
    ended = subprocess.run(
        [sys.executable, "-c", start], env=several, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)
