"""How long filling the token cache takes, against a plain loop, and whether its memory stays flat.

    python tests/performance/extraction.py [--clips 40] [--workers 2] [--encoder wide] [--memory-clips 0]

The plain loop reads, encodes and saves one clip after the other, in this process, on one torch thread. Ours
may use as many torch threads as it has workers. The seconds of processor time per clip tell what ours takes
beyond the work itself, whatever else the machine does; the rates need as many idle cores as there are
workers. With `--memory-clips N`, the resident memory of an extraction of N small clips is watched, and its
slope printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
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
from st_llm_cli.video.worker import _stop_idle
from tests.micro import write_micro_checkpoint
from tests.performance.wide import wide_checkpoint
from tests.video.long_video import write_long_video

NUM_FRAMES = 16
SMALLER = {"light": (64, 2), "even": (192, 6)}
"""Width and layers of encoders for pictures of 112x112; one takes a tenth of decoding, one half of it."""


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


def plain_loop(tokens: ClipTokens, requests: list[Request], folder: Path) -> None:
    """Read, encode and save clip after clip."""
    folder.mkdir()
    for number, request in enumerate(requests):
        clip = read_clip(request.path, num_frames=NUM_FRAMES, transform=request.transform, deadline=None)
        (seen,) = tokens.encode([clip])
        save_file({"tokens": seen.tokens}, folder / f"{number}.safetensors")


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that pass, and seconds of processor time in this process and its children."""
    began, before = time.perf_counter(), _processor_seconds()
    work()
    passed = time.perf_counter() - began
    _stop_idle()  # a child's time counts once it has ended
    return passed, _processor_seconds() - before


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def checkpoint_of(encoder: str, folder: Path) -> Path:
    """A model with an encoder of this weight: 'wide', or a name of `SMALLER`."""
    if encoder == "wide":
        return wide_checkpoint()
    dim, layers = SMALLER[encoder]
    size = {"hidden_size": dim, "intermediate_size": 4 * dim, "num_hidden_layers": layers}
    vision = {"model_type": "instructblip_vision_model", "image_size": 112, "patch_size": 14, **size}
    return write_micro_checkpoint(folder, vision_config={**vision, "num_attention_heads": dim // 64})


def compare(root: Path, count: int, encoder: str, wish: Wish) -> None:
    """Print the rates of the plain loop and of ours over clips of 10 s, 640x480."""
    checkpoint = checkpoint_of(encoder, root / "model")
    paths = write_clips(root / "large", count, width=640, height=480, frames=300)
    tokens = open_tokens(checkpoint, root / "cache")
    side = tokens.model.config.image_size
    requests = [request_for(path, wish, NUM_FRAMES, ResizeCenterCrop(side)) for path in paths]
    warm = read_clip(paths[0], num_frames=NUM_FRAMES, transform=requests[0].transform, deadline=None)
    tokens.encode([warm])  # the first pass of a process is slower than the others
    torch.set_num_threads(1)
    plain, plain_work = measure(lambda: plain_loop(tokens, requests, root / "plain"))
    torch.set_num_threads(wish.workers)
    ours, our_work = measure(lambda: extract(tokens, requests, wish, lambda outcome: None))
    sys.stdout.write(
        f"{encoder}, {count} clips: plain loop {count / plain:.2f} clips/s, "
        f"extract-features {count / ours:.2f}: {plain / ours:.2f} times as fast\n"
        f"processor time per clip: {plain_work / count:.3f} s and {our_work / count:.3f} s "
        f"({our_work / plain_work:.2f}); on {wish.workers} idle cores at most "
        f"{wish.workers * plain_work / our_work:.2f} times as fast\n"
    )


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
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--encoder", choices=["wide", *SMALLER], default="wide")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-clips", type=int, default=0)
    arguments = parser.parse_args()
    wish = Wish(num_frames=NUM_FRAMES, workers=arguments.workers)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.clips:
            compare(Path(folder), arguments.clips, arguments.encoder, wish)
        if arguments.memory_clips:
            watch_memory(Path(folder), arguments.memory_clips, wish)


if __name__ == "__main__":
    main()
