"""Where the test videos lie, and how a frame of theirs tells its own number."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HERE = Path(__file__).resolve()


def videos_folder() -> Path:
    """STLLM_VIDEOS, else the full set beside the repository, else the smaller copy in it."""
    named = os.environ.get("STLLM_VIDEOS")
    if named:
        return Path(named)
    beside = _HERE.parents[3] / "shared" / "videos"
    return beside if beside.is_dir() else _HERE.parents[1] / "data" / "videos"


def manifest() -> list[dict[str, Any]]:
    """What is known of each video."""
    videos: list[dict[str, Any]] = json.loads(
        (videos_folder() / "manifest.json").read_text(encoding="utf-8")
    )["videos"]
    assert videos, f"no videos in {videos_folder()}"
    return videos


def small_copy(name: str) -> Path:
    """A video of the copy in the repository."""
    return _HERE.parents[1] / "data" / "videos" / name


def number_in(frame: NDArray[np.uint8]) -> int:
    """Read the number painted into the top stripe: bit b is column b + 2 of 16, white for 1."""
    height, width, _ = frame.shape
    rows = slice(max(1, height // 60), max(2, height // 24))
    number = 0
    for bit in range(12):
        left = int((bit + 2.25) * width / 16)
        right = max(left + 1, int((bit + 2.75) * width / 16))
        if frame[rows, left:right].mean() > 127:
            number |= 1 << bit
    return number


def numbers_in(frames: NDArray[np.uint8], rotation: int = 0) -> list[int]:
    """Read the numbers of all frames of a clip that was turned upright by `rotation` degrees."""
    stored = np.rot90(frames, -rotation // 90, axes=(1, 2))
    return [number_in(frame) for frame in stored]
