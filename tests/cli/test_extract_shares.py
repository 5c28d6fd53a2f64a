"""Several processes that a launcher starts fill one cache, each with its share of the same list."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from st_llm_cli.tokens.manage import stored, verify
from st_llm_cli.tokens.store import TokenCache

pytestmark = pytest.mark.slow


@pytest.fixture
def extract(clips: Path, micro: Path, tmp_path: Path) -> list[str]:
    """A command that fills a cache with tokens of three clips."""
    options = ["--model", str(micro), "--cache", str(tmp_path / "cache"), "--json"]
    return ["-m", "st_llm_cli", "extract-features", str(clips), *options]


def run_together(commands: list[list[str]], folder: Path, environments: list[dict[str, str]]) -> str:
    """Start processes at once, wait for all, and give their results."""
    inherited = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**inherited, **own},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for command, own in zip(commands, environments, strict=True)
    ]
    results = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), results
    return "".join(out for out, _ in results)


def check_shares(results: str, cache: Path) -> None:
    tallies = [json.loads(line) for line in results.splitlines() if line.startswith("{")]
    assert sorted(tally["encoded"] for tally in tallies) == [1, 2]
    assert {tally["present"] + tally["skipped"] for tally in tallies} == {0}
    assert len(stored(TokenCache(cache))) == 3
    assert all(error is None for _, error in verify(TokenCache(cache)))


def test_torchrun_gives_each_process_its_share(extract: list[str], tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    check_shares(run_together([[*torchrun, *extract]], tmp_path, [{}]), tmp_path / "cache")


def test_srun_gives_each_process_its_share(extract: list[str], tmp_path: Path) -> None:
    tasks = [
        {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"} for rank in range(2)
    ]
    check_shares(run_together([extract, extract], tmp_path, tasks), tmp_path / "cache")
