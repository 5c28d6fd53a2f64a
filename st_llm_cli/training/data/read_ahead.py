"""The clips of one process's batches, decoded while the model is busy with those before."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

from st_llm_cli.errors import StllmError
from st_llm_cli.training.data.draw import Draw
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import DEFAULT_DEADLINE_SECONDS, read_clips
from st_llm_cli.video.request import Request

MOST_WORKERS = 8


class Read(NamedTuple):
    """A clip that was asked for, or why it could not be had."""

    draw: Draw
    clip: Clip | StllmError
    seconds: float
    """From its turn to be read until it was wanted or known not to be had."""


class ReadAhead:
    """Reads clips in the order in which this process needs them.

    The first batch asked for tells the rest: with N processes, the next one lies N batches further. A batch
    that was not expected only costs reading it anew.

    Args:
        draw_of: What the sample of an index shows; None if nothing of a file.
        length: Number of indices.
        deadline: Seconds after which a clip is given up.
    """

    def __init__(
        self,
        draw_of: Callable[[int], Draw | None],
        length: int,
        deadline: float = DEFAULT_DEADLINE_SECONDS,
    ) -> None:
        self._draw_of = draw_of
        self._length = length
        self._deadline = deadline
        self._processes = int(os.environ.get("WORLD_SIZE", "1"))
        self._expected: list[int] = []
        self._asked: deque[tuple[Draw, float]] = deque()
        self._clips: Iterator[tuple[Request, Clip | StllmError]] = iter(())

    def take(self, indices: Sequence[int]) -> list[Read]:
        """Give the clips of a batch, and go on reading those of the next one."""
        indices = list(indices)
        if indices != self._expected:
            self.close()
            self._clips = read_clips(
                self._requests(indices),
                workers=self._workers(),
                deadline=self._deadline,
                ahead=max(self._workers(), len(indices)) + 1,
            )
        self._expected = self._after(indices)
        return [self._next() for index in indices if self._draw_of(index) is not None]

    def close(self) -> None:
        """Stop reading."""
        self._asked.clear()
        self._expected = []
        if isinstance(self._clips, Generator):
            self._clips.close()

    def _next(self) -> Read:
        _, clip = next(self._clips)
        draw, began = self._asked.popleft()
        return Read(draw, clip, time.monotonic() - began)

    def _after(self, indices: list[int]) -> list[int]:
        return [index + self._processes * len(indices) for index in indices]

    def _requests(self, indices: list[int]) -> Iterator[Request]:
        while indices and indices[-1] < self._length:
            for index in indices:
                draw = self._draw_of(index)
                if draw is not None:
                    self._asked.append((draw, time.monotonic()))
                    yield draw.request
            indices = self._after(indices)

    def _workers(self) -> int:
        return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // self._processes))
