"""Neither memory nor time grows with those parts of a video that nobody looks at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.video.long_video import FRAMES_ENCODED, write_long_video

MEMORY_LIMIT_MB = 600
# Takes its arguments as JSON: path, number of frames, size of the transform or None.
MEASURE = """
import json, sys, time
from pathlib import Path
from st_llm_cli.video.decode import decode
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.video.stripe import numbers_in

path, num_frames, size = json.loads(sys.argv[1])
transform = ResizeCenterCrop(size) if size else None
started = time.monotonic()
clip = decode(Request(Path(path), num_frames=num_frames, transform=transform))
seconds = time.monotonic() - started
# Not getrusage: its peak includes that of the process this one was started from.
status = Path("/proc/self/status").read_text()
peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({
    "seconds": seconds, "peak_mb": peak_mb, "shape": clip.frames.shape, "indices": clip.indices,
    "painted": [] if transform else numbers_in(clip.frames), "duration": clip.source.duration_seconds,
}))
"""


def measure(path: Path, num_frames: int, size: int | None) -> dict[str, Any]:
    """Decode in a fresh process, whose peak of memory is then the decoding's own."""
    arguments = json.dumps([str(path), num_frames, size])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, arguments], capture_output=True, text=True, timeout=300, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


@pytest.fixture(scope="module")
def half_an_hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long30.mp4"
    write_long_video(path, total_frames=54_000, width=854, height=480, group=250, fps=30)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("num_frames", [16, 64])
def test_half_an_hour_of_480p_needs_little_memory_and_time(half_an_hour: Path, num_frames: int) -> None:
    measured = measure(half_an_hour, num_frames, size=None)
    assert measured["painted"] == [index % FRAMES_ENCODED for index in measured["indices"]]
    assert measured["duration"] == pytest.approx(1800, abs=0.1)
    assert measured["peak_mb"] < MEMORY_LIMIT_MB
    # 1.4 s and 3.5 s on two busy cores; decoding all of it takes over a minute.
    assert measured["seconds"] < 30


@pytest.mark.slow
def test_64_frames_of_4k_never_exist_at_once(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    write_long_video(path, total_frames=240, width=3840, height=2160, group=20, fps=30, encoded=20)
    measured = measure(path, 64, size=224)
    assert measured["shape"] == [64, 224, 224, 3]
    # 64 such pictures are 1.6 GB.
    assert measured["peak_mb"] < MEMORY_LIMIT_MB
