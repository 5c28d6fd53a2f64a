"""Transforms that do to the decoding process what broken readers do."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class SleepForever:
    def __call__(self, frame: Picture) -> Picture:
        while True:
            time.sleep(1)


@dataclass(frozen=True)
class Crash:
    def __call__(self, frame: Picture) -> Picture:
        os.kill(os.getpid(), signal.SIGSEGV)
        return frame


@dataclass(frozen=True)
class Fail:
    def __call__(self, frame: Picture) -> Picture:
        raise ZeroDivisionError("a mistake in a transform")


@dataclass(frozen=True)
class Chatter:
    """Prints where the answers go."""

    def __call__(self, frame: Picture) -> Picture:
        sys.stdout.write("chatter " * 1000)
        sys.stdout.flush()
        os.write(1, b"more chatter")
        return frame


@dataclass(frozen=True)
class Report:
    """Gives facts about the decoding process instead of a picture: [heavy imports, process id (3 bytes)]."""

    def __call__(self, frame: Picture) -> Picture:
        heavy = "torch" in sys.modules or "transformers" in sys.modules
        number = os.getpid()
        pixels = [[heavy, 0, 0], [number >> 16 & 255, number >> 8 & 255, number & 255]]
        return np.array([pixels], dtype=np.uint8)


@dataclass(frozen=True)
class Slow:
    """Takes its time, and writes down that it was called."""

    seconds: float
    log: Path | None = None

    def __call__(self, frame: Picture) -> Picture:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write("x")
        time.sleep(self.seconds)
        return frame
