"""Collecting the pictures of a clip as they are decoded, so that only the finished ones are ever kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from st_llm_cli.video.choose import Track
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.request import Request

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pictures:
    """The frames of a clip under way.

    Args:
        request: What was asked for. Its transform is applied to each picture as it comes.
        indices: Frame numbers chosen, in the order of the clip, repeats included.
    """

    def __init__(self, request: Request, indices: Sequence[int]) -> None:
        self.indices = tuple(indices)
        self.width = 0
        """Of the first picture, before the transform; 0 until it came."""
        self.height = 0
        """Of the first picture, before the transform; 0 until it came."""
        self._request = request
        self._places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            self._places.setdefault(index, []).append(place)
        self._frames: NDArray[np.uint8] | None = None

    def wanted(self) -> list[int]:
        """Give the frame numbers still to come, each once, ascending."""
        return sorted(self._places)

    def add(self, index: int, picture: NDArray[np.uint8]) -> None:
        """Take in one upright picture, [height, width, 3]."""
        if not self.width:
            self.height, self.width = picture.shape[:2]
        transform = self._request.transform
        finished = picture if transform is None else transform(picture)
        if self._frames is None:
            self._frames = np.empty((len(self.indices), *finished.shape), dtype=np.uint8)
        for place in self._places.pop(index):
            self._frames[place] = finished

    def clip(
        self,
        reader: str,
        track: Track,
        promised_frames: int | None,
        delivered_frames: int,
        rotation: int = 0,
        damaged_packets: int = 0,
    ) -> Clip:
        """Put the clip together. `Source` explains the arguments."""
        assert self._frames is not None and not self._places, "every frame chosen must have been added"
        source = Source(
            path=str(self._request.path),
            reader=reader,
            width=self.width,
            height=self.height,
            fps=track.fps,
            duration_seconds=track.duration_seconds,
            promised_frames=promised_frames,
            delivered_frames=delivered_frames,
            rotation=rotation % 360,
            damaged_packets=damaged_packets,
        )
        times = tuple(track.times_seconds[index] for index in self.indices)
        return Clip(self._frames, self.indices, times, source)
