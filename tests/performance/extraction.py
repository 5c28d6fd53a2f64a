"""How long filling the token cache takes, against a plain loop, and whether its memory stays flat.

    python tests/performance/extraction.py [--clips 60] [--workers 2] [--memory-clips 0]

The plain loop reads, encodes and saves one clip after the other, in this process. Both run on one torch
thread with random weights; the encoder is sized so that encoding takes about as long as decoding. With
`--memory-clips N`, the resident memory of an extraction of N small clips is watched, and its slope printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.stages.clip_tokens import ClipTokens
from st_llm_cli.stages.extract_features import Outcome, Wish, extract, request_for
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.micro import write_micro_checkpoint
from tests.video.long_video import write_long_video

NUM_FRAMES = 16
SIDE = 112


def write_clips(folder: Path, count: int, *, width: int, height: int, frames: int) -> list[Path]:
    """Clips of different content and the same pictures."""
    folder.mkdir()
    first = folder / "0.mp4"
    write_long_video(
        first, frames, width=width, height=height, group=min(150, frames), fps=30, encoded=frames
    )
    paths = [first]
    for number in range(1, count):
        path = Path(shutil.copy(first, folder / f"{number}.mp4"))
        with path.open("ab") as file:
            file.write(b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
        paths.append(path)
    return paths


def open_tokens(checkpoint: Path, root: Path) -> ClipTokens:
    tokens = load_model(str(checkpoint), cache=TokenCache(root)).tokens
    assert tokens is not None
    return tokens


def plain_loop(tokens: ClipTokens, requests: list[Request], folder: Path) -> float:
    """Seconds it takes to read, encode and save clip after clip."""
    folder.mkdir()
    began = time.perf_counter()
    for number, request in enumerate(requests):
        clip = read_clip(request.path, num_frames=NUM_FRAMES, transform=request.transform, deadline=None)
        (seen,) = tokens.encode([clip])
        save_file({"tokens": seen.tokens}, folder / f"{number}.safetensors")
    return time.perf_counter() - began


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def compare(root: Path, count: int, wish: Wish) -> None:
    """Print the rates of the plain loop and of ours over clips of 10 s, 640x480."""
    width = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 3}
    vision = {"model_type": "instructblip_vision_model", "image_size": SIDE, "patch_size": 14, **width}
    checkpoint = write_micro_checkpoint(root / "model", vision_config=vision)
    paths = write_clips(root / "large", count, width=640, height=480, frames=300)
    requests = [request_for(path, wish, NUM_FRAMES, ResizeCenterCrop(SIDE)) for path in paths]
    plain = plain_loop(open_tokens(checkpoint, root / "unused"), requests, root / "plain")
    tokens = open_tokens(checkpoint, root / "cache")
    began = time.perf_counter()
    extract(tokens, requests, wish, lambda outcome: None)
    ours = time.perf_counter() - began
    rates = f"plain loop {count / plain:.1f} clips/s, extract-features {count / ours:.1f}"
    sys.stdout.write(f"{rates}: {plain / ours:.2f} times as fast\n")


def watch_memory(root: Path, count: int, wish: Wish) -> None:
    """Print how resident memory grows over an extraction of clips of 1 s, 64x48."""
    tokens = open_tokens(write_micro_checkpoint(root / "small model"), root / "memory")
    paths = write_clips(root / "small", count, width=64, height=48, frames=30)
    requests = [request_for(path, wish, NUM_FRAMES, ResizeCenterCrop(28)) for path in paths]
    seen: list[float] = []

    def report(outcome: Outcome) -> None:
        assert outcome.error is None
        seen.append(resident_megabytes())

    extract(tokens, requests, wish, report)
    settled = seen[len(seen) // 4 :]
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] * 1000
    line = f"memory over {len(seen)} clips: {seen[0]:.0f} MB at the first, {settled[0]:.0f} after a quarter, "
    sys.stdout.write(f"{line}{seen[-1]:.0f} at the end; slope {slope:.2f} MB per 1000 clips\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-clips", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wish = Wish(num_frames=NUM_FRAMES, workers=arguments.workers)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.clips:
            compare(Path(folder), arguments.clips, wish)
        if arguments.memory_clips:
            watch_memory(Path(folder), arguments.memory_clips, wish)


if __name__ == "__main__":
    main()
