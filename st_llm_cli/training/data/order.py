"""Which records a stage shows when: shuffled anew in every epoch, batches of rows about equally long.

All of it follows from the seed and the number of the batch, so that a resumed run and any number of
processes agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from st_llm_cli.training.data.example import sample_rng

BATCHES_PER_BUCKET = 16
"""Batches among which rows of files are sorted by length."""


class Turn(NamedTuple):
    """Whose turn it is."""

    record: int
    """Number of the record."""
    epoch: int
    """How often it was shown before."""


class Shuffle:
    """The order in which the records of one group are shown.

    Args:
        seed: The stage's.
        name: Unlike any other group's of the stage.
        num_records: Records of the group, at least one.
    """

    def __init__(self, seed: int, name: str, num_records: int) -> None:
        self.seed = seed
        self.name = name
        self.num_records = num_records
        self._shuffled = lru_cache(maxsize=4)(self._shuffle)

    def turn(self, place: int) -> Turn:
        """Whose turn it is at a place, counted from 0 through all epochs."""
        epoch, within = divmod(place, self.num_records)
        return Turn(int(self._shuffled(epoch)[within]), epoch)

    def _shuffle(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        generator = np.random.RandomState(sample_rng(self.seed, "order", self.name, epoch).getrandbits(32))
        return generator.permutation(self.num_records)


class Buckets:
    """Batches of places whose texts are about equally long, in no order of length.

    Args:
        seed: The stage's.
        name: Unlike any other group's of the stage.
        batch_size: Samples per step, on all processes together.
        length_of: About how long the text at a place is, in any unit.
        batches: Batches among which texts are sorted by length.
    """

    def __init__(
        self,
        seed: int,
        name: str,
        batch_size: int,
        length_of: Callable[[int], int],
        batches: int = BATCHES_PER_BUCKET,
    ) -> None:
        self.seed = seed
        self.name = name
        self.batch_size = batch_size
        self.length_of = length_of
        self.batches = batches
        # A step asks for each of its samples, and for the batch after while that one is read ahead.
        self._bucket = lru_cache(maxsize=2)(self._sort_bucket)

    def batch(self, number: int) -> Sequence[int]:
        """Places of the samples of a batch; the shortest texts come first."""
        bucket, within = divmod(number, self.batches)
        return self._bucket(bucket)[within]

    def _sort_bucket(self, bucket: int) -> list[list[int]]:
        size = self.batch_size * self.batches
        ranked = sorted(range(bucket * size, (bucket + 1) * size), key=lambda at: (self.length_of(at), at))
        batches = [ranked[start : start + self.batch_size] for start in range(0, size, self.batch_size)]
        sample_rng(self.seed, "bucket", self.name, bucket).shuffle(batches)
        return batches
