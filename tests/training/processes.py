"""`stllm train` as a process of its own, to be stopped and killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from tests.training.small import small_recipe

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 240


def write_recipe(path: Path, *stages: dict[str, Any], **model: Any) -> Path:
    """Write a small recipe to a file."""
    values = small_recipe(*stages, **model).model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def start(recipe: Path, run: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start `stllm train` and leave it to itself."""
    command = [sys.executable, "-m", "st_llm_cli", "train", str(recipe), "--output", str(run), *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def train(recipe: Path, run: Path, *options: str, **environment: str) -> str:
    """Run `stllm train` to its end; what it said on standard error."""
    process = start(recipe, run, *options, **environment)
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, f"{out}\n{err}"
    return err


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    """Wait until the metrics of a step are there."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not any(line["step"] >= step for line in metrics(run)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Whole lines of a run's metrics."""
    path = run / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def weights(run: Path, result: str = "stage0-1") -> dict[str, torch.Tensor]:
    """Weights of a stage's result."""
    return load_file(run / "checkpoints" / result / "model.safetensors")


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether weights are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses(run: Path) -> Sequence[float]:
    """Loss of each line of metrics."""
    return [line["loss"] for line in metrics(run)]
