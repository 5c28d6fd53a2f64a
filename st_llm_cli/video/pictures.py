"""Collecting the pictures of a clip as they are decoded, so that only the finished ones are ever kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from st_llm_cli.video.transform import Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pictures:
    """The frames of a clip under way.

    Args:
        indices: Frame numbers wanted, in the order of the clip, repeats included.
        transform: Applied to each picture as it comes, so that full-size pictures never gather.
    """

    def __init__(self, indices: Sequence[int], transform: Transform | None) -> None:
        self.indices = tuple(indices)
        self.width = 0
        """Of the first picture, before the transform."""
        self.height = 0
        """Of the first picture, before the transform."""
        self._transform = transform
        self._places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            self._places.setdefault(index, []).append(place)
        self._frames: NDArray[np.uint8] | None = None

    def add(self, index: int, picture: NDArray[np.uint8]) -> None:
        """Take in one upright picture, [height, width, 3]."""
        if not self.width:
            self.height, self.width = picture.shape[:2]
        finished = picture if self._transform is None else self._transform(picture)
        if self._frames is None:
            self._frames = np.empty((len(self.indices), *finished.shape), dtype=np.uint8)
        for place in self._places.pop(index):
            self._frames[place] = finished

    def finished(self) -> NDArray[np.uint8]:
        """Give all pictures, [frames, height, width, 3]."""
        assert self._frames is not None and not self._places, "every frame chosen must have been added"
        return self._frames
