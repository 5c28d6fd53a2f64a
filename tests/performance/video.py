"""How long reading a clip takes: ours, against a plain loop over the whole file.

    python tests/performance/video.py [VIDEO …] [--rounds 5]

Without a video, a clip of 10 s and one of 5 min are made (640x480, H.264, a key frame every 150 frames). Each
line gives the median time of ours, where the ratio is to a PyAV loop that decodes everything and keeps the
frames wanted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import av
import numpy as np

from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.sampling import uniform
from st_llm_cli.video.transform import ResizeCenterCrop

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.video.long_video import write_long_video


def plain_loop(path: Path, num_frames: int) -> None:
    """What a script without an index does."""
    with av.open(str(path)) as container:
        total = container.streams.video[0].frames
        wanted = set(uniform(total, num_frames))
        frames = [
            frame.to_ndarray(format="rgb24")
            for place, frame in enumerate(container.decode(video=0))
            if place in wanted
        ]
    assert len(np.stack(frames)) == num_frames


def contenders(path: Path, num_frames: int) -> dict[str, Callable[[], object]]:
    """The ways of reading that are compared."""
    transform = ResizeCenterCrop(224)
    return {
        "plain loop": lambda: plain_loop(path, num_frames),
        "in this process": lambda: read_clip(path, num_frames=num_frames, deadline=None),
        "in a child process": lambda: read_clip(path, num_frames=num_frames),
        "in a child, to 224x224": lambda: read_clip(path, num_frames=num_frames, transform=transform),
        "decord in a child": lambda: read_clip(path, num_frames=num_frames, reader="decord"),
    }


def seconds_of(read: Callable[[], object]) -> float:
    started = time.perf_counter()
    read()
    return time.perf_counter() - started


def compare(path: Path, num_frames: int, rounds: int) -> None:
    """Print the median times of one clip, the contenders taking turns."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, read in contenders(path, num_frames).items():
            times.setdefault(name, []).append(seconds_of(read))
    plain = median(times["plain loop"])
    for name, taken in times.items():
        ratio = median(taken) / plain
        line = f"{path.name:12} {num_frames:3} frames  {name:24} {median(taken):7.3f} s  {ratio:5.2f}"
        sys.stdout.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    first = seconds_of(lambda: read_clip(Path(__file__).parents[1] / "data" / "videos" / "one_frame.mp4"))
    sys.stdout.write(f"first clip of all, with the start of the child process: {first:.3f} s\n")
    with tempfile.TemporaryDirectory() as folder:
        videos = arguments.videos
        if not videos:
            videos = [Path(folder) / "10s.mp4", Path(folder) / "5min.mp4"]
            for path, total in zip(videos, (300, 9000), strict=True):
                write_long_video(path, total, width=640, height=480, group=150, fps=30, encoded=300)
        for path in videos:
            for num_frames in (16, 64):
                compare(path, num_frames, arguments.rounds)


if __name__ == "__main__":
    main()
