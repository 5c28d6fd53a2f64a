"""What comes out of the video room: a clip, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Source:
    """Where a clip's frames came from, and how far the file can be believed."""

    path: str
    """File or folder, as asked for."""
    reader: str
    """Name of the reader that delivered: "pyav", "torchcodec", "decord" or "folder"."""
    width: int
    """Width of the pictures in pixels, after rotation and before any transform."""
    height: int
    """Height of the pictures in pixels, after rotation and before any transform."""
    fps: float
    """Average frames per second."""
    duration_seconds: float
    """Length of the whole video."""
    promised_frames: int | None
    """Frames the file's header speaks of; None where it says nothing."""
    delivered_frames: int
    """Frames known to be there and not known to be damaged: those a sampler chose from."""
    rotation: int
    """Anticlockwise turn that was applied to the stored pictures, in degrees: 0, 90, 180 or 270. decord and
    torchcodec turn pictures too, but do not say by how much: 0."""
    damaged_packets: int = 0
    """Packets that did not decode; with the frames that depended on them, these were left out."""
    fallback_reason: str | None = None
    """Why another reader than the one asked for delivered; None where none did."""

    @property
    def is_damaged(self) -> bool:
        """Whether frames the file promised cannot be had."""
        return self.damage is not None

    @property
    def damage(self) -> str | None:
        """What of the file cannot be had, in words; None if nothing is known to be missing."""
        if self.promised_frames is not None and self.delivered_frames < self.promised_frames:
            return f"{self.delivered_frames} of the {self.promised_frames} frames it promises can be read"
        if self.damaged_packets:
            packets = "1 packet does" if self.damaged_packets == 1 else f"{self.damaged_packets} packets do"
            return f"{packets} not decode, and {self.delivered_frames} frames can be read"
        return None


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video, in the order of time.

    Compared by identity: two clips with equal pictures are still two readings.
    """

    frames: NDArray[np.uint8]
    """Pictures, [frames, height, width, 3], red green blue, 0 to 255."""
    indices: tuple[int, ...]
    """Number of each frame in its source, from 0; repeated where the clip was shorter than asked.

    In a damaged source, frames that cannot be had are counted too where its packets tell of them."""
    times_seconds: tuple[float, ...]
    """When each frame is shown, counted from the first frame of the source."""
    source: Source
    """Where the frames came from."""
