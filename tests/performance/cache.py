"""How long the token cache takes: reading and writing an entry, against the same bytes without it.

    python tests/performance/cache.py [--rounds 50] [--folder DIR]

One entry is [64, 32, 768] float16, 3 MB: a clip of 64 frames after the Q-Former. Contenders take turns, and
each line gives the median; the ratio is to the plain way above it.
"""

from __future__ import annotations

import argparse
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.tokens.entry import verify_entry
from st_llm_cli.tokens.key import Key
from st_llm_cli.tokens.media import MediaDigests, content_digest
from st_llm_cli.tokens.memo import Memo
from st_llm_cli.tokens.store import TokenCache
from tests.performance.turns import take_turns

SHAPE = (64, 32, 768)
KEY = Key(
    media="sha256:00",
    indices=tuple(range(64)),
    reader="pyav",
    transform="ResizeCenterCrop(resolution=224)",
    encoder="sha256:ee",
    level="queries",
    question=None,
    dtype="float16",
)


def read_plainly(path: Path, start: int) -> object:
    """Map a file and copy the same bytes out of it."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return np.frombuffer(mapped, dtype=np.uint8, offset=start).copy()


def write_plainly(path: Path, content: bytes) -> None:
    """Write a file and wait for the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--folder", help="on the disk to measure; the one of temporary files if not given")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        cache = TokenCache(root / "cache")
        value = torch.randn(SHAPE).half()
        content = value.numpy().tobytes()
        cache.put(KEY, value)
        path = cache.path(KEY)
        start = path.stat().st_size - len(content)
        reads: dict[str, Callable[[int], object]] = {
            "read: map the file and copy": lambda _: read_plainly(path, start),
            "read: TokenCache.get": lambda _: cache.get(KEY),
        }
        take_turns(arguments.rounds, reads)
        writes: dict[str, Callable[[int], object]] = {
            "write: one file and fsync": lambda number: write_plainly(root / f"plain {number}", content),
            "write: TokenCache.put": lambda number: cache.put(replace(KEY, media=f"{number}"), value),
        }
        take_turns(arguments.rounds, writes)
        digests = MediaDigests(Memo(root / "media"))
        os.utime(path, (0, 0))
        looks: dict[str, Callable[[int], object]] = {
            "know a file of 3 MB: digest": lambda _: content_digest(path),
            "check every byte, as `cache verify` does": lambda _: verify_entry(path),
            "know a file of 3 MB: remembered": lambda _: digests.of(path),
        }
        time.sleep(2.5)  # what was written just now is not remembered
        take_turns(arguments.rounds, looks)


if __name__ == "__main__":
    main()
