"""Where the recorded behaviour of the official scripts and the miniature benchmarks lie."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).resolve()
_BESIDE = _HERE.parents[3] / "shared" / "bench"
_COPY = _HERE.parents[1] / "data" / "bench"


def bench_folder() -> Path:
    """STLLM_BENCH, else the whole pack beside the repository, else the smaller copy in it."""
    named = os.environ.get("STLLM_BENCH")
    if named:
        return Path(named)
    return _BESIDE if _BESIDE.is_dir() else _COPY


def golden_file(name: str) -> Path:
    """In the copy the recordings lie at the top."""
    folder = bench_folder()
    return folder / "goldens" / name if (folder / "goldens").is_dir() else folder / name


def golden_rows(name: str) -> list[dict[str, Any]]:
    """Rows of a recording; a recording without rows tests nothing, and is an error."""
    lines = golden_file(name).read_text(encoding="utf-8").splitlines()
    assert lines, f"{golden_file(name)} holds no rows"
    return [json.loads(line) for line in lines]


def golden_params(name: str) -> list[Any]:
    return [pytest.param(row, id=row["id"]) for row in golden_rows(name)]


def mini_folder() -> Path:
    return bench_folder() / "mini"
