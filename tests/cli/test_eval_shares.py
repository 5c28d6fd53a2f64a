"""`stllm eval` by several processes, as commands: torchrun, shards and workers leave the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.golden import mini_folder

DATA = mini_folder() / "tvbench"
pytestmark = pytest.mark.slow


def command(model: Path, folder: Path, *more: str) -> list[str]:
    asked = ["--bench", "tvbench", "--data", str(DATA), "--model", str(model), "--output", str(folder)]
    return ["-m", "st_llm_cli", "eval", *asked, "--pictures", "0", "--cache", "off", *more]


def started(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment, **pipes)  # type: ignore[call-overload, no-any-return]


def through(arguments: list[str]) -> str:
    process = started(arguments)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return str(said)


@pytest.fixture(scope="module")
def alone(micro: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("alone")
    through(command(micro, folder))
    return (folder / "predictions.jsonl").read_bytes()


@pytest.mark.parametrize("workers", ["2", "4"])
def test_workers_leave_the_bytes_of_one(workers: str, micro: Path, alone: bytes, tmp_path: Path) -> None:
    through(command(micro, tmp_path, "--workers", workers))
    assert (tmp_path / "predictions.jsonl").read_bytes() == alone


def test_torchrun_leaves_the_bytes_of_one(micro: Path, alone: bytes, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = through([*launcher, *command(micro, tmp_path)])
    assert (tmp_path / "predictions.jsonl").read_bytes() == alone
    assert "share 1 of 2 (torchrun)" in said and "share 2 of 2 (torchrun)" in said
    assert (tmp_path / "report.html").exists() and not list(tmp_path.glob("*.part-*"))


def test_killed_shard_goes_on_and_leaves_the_bytes_of_one(micro: Path, alone: bytes, tmp_path: Path) -> None:
    through(command(micro, tmp_path, "--shard", "2/2"))
    part = tmp_path / "predictions.part-1-of-2.jsonl"
    process = started(command(micro, tmp_path, "--shard", "1/2"))
    deadline = time.monotonic() + 120
    while not (part.exists() and part.read_bytes().count(b"\n") >= 3) and time.monotonic() < deadline:
        assert process.poll() is None, "it was through before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "predictions.jsonl").exists()
    assert 0 < part.read_bytes().count(b"\n") < 10
    through(command(micro, tmp_path, "--shard", "1/2"))
    assert (tmp_path / "predictions.jsonl").read_bytes() == alone
