"""From a picture of any size to the square the model sees, and from there to numbers around zero.

Resizing is Pillow's bicubic, which is the very function the released evaluation calls: the pictures are equal
to the last bit. torch resizes uint8 pictures 4 to 8 times faster, up to one grey level apart, but decoding
runs in a child process whose start would then take 3 seconds and 220 MB of torch instead of 0.3 seconds and
50 MB, to save 3 of the 15 milliseconds that a frame costs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class Transform(Protocol):
    """A change of a picture's geometry. Must be picklable: it is applied where the decoding happens."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn one picture, [height, width, 3], into another; every picture of a clip in the same way."""
        ...


@dataclass(frozen=True)
class ResizeCenterCrop:
    """Resize the shorter side to `resolution`, then cut the middle square out.

    Source: released evaluation preprocessing (GroupScale, GroupCenterCrop): the longer side is rounded down,
        the
    crop's offset half to even.
    """

    resolution: int
    """Side of the square, in pixels."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and crop one picture.

        Args:
            frame: [height, width, 3], uint8.

        Returns:
            [resolution, resolution, 3], uint8.
        """
        width, height = self.resized_size(frame.shape[1], frame.shape[0])
        left = round((width - self.resolution) / 2)
        top = round((height - self.resolution) / 2)
        picture = Image.fromarray(frame)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(picture.crop((left, top, left + self.resolution, top + self.resolution)))

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Give the size between resizing and cropping, as width and height in pixels."""
        if width <= height:
            return self.resolution, int(self.resolution * height / width)
        return int(self.resolution * width / height), self.resolution


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a random part with half to all of the area and resize it to a square, one crop for a clip.

    Source: released training preprocessing, torchvision's RandomResizedCrop with scale (0.5, 1) and bicubic.
    """

    resolution: int
    """Side of the square, in pixels."""
    seed: int
    """The same seed gives the same crop of pictures of the same size."""
    min_area: float = 0.5
    """Smallest share of the picture's area to keep, above 0 to 1."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop and resize one picture.

        Args:
            frame: [height, width, 3], uint8.

        Returns:
            [resolution, resolution, 3], uint8.
        """
        picture = Image.fromarray(frame).crop(self.crop_box(frame.shape[1], frame.shape[0]))
        return np.asarray(picture.resize((self.resolution, self.resolution), Image.Resampling.BICUBIC))

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Draw the part of the picture to keep: left, top, right, bottom in pixels.

        Ten draws of area and side ratio (3:4 to 4:3), as torchvision does; if none fits the picture, the
        largest middle part with an allowed ratio.
        """
        generator = random.Random(self.seed)
        for _ in range(10):
            area = width * height * generator.uniform(self.min_area, 1.0)
            ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
            crop_width = round(math.sqrt(area * ratio))
            crop_height = round(math.sqrt(area / ratio))
            if 0 < crop_width <= width and 0 < crop_height <= height:
                left = generator.randint(0, width - crop_width)
                top = generator.randint(0, height - crop_height)
                return left, top, left + crop_width, top + crop_height
        crop_width = min(width, round(height * 4 / 3))
        crop_height = min(height, round(width * 4 / 3))
        left = (width - crop_width) // 2
        top = (height - crop_height) // 2
        return left, top, left + crop_width, top + crop_height


@dataclass(frozen=True)
class Thumbnail:
    """Make a picture small, whole and in its own shape, for people to look at."""

    height: int
    """In pixels."""
    widest: int
    """In pixels; wider pictures are squeezed."""

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize one picture, [height, width, 3]."""
        picture = Image.fromarray(frame)
        width = max(1, min(self.widest, round(self.height * picture.width / picture.height)))
        return np.asarray(picture.resize((width, self.height), Image.Resampling.BOX))


def normalize(frames: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Scale pictures to 0 … 1, subtract the mean and divide by the standard deviation of each colour.

    Args:
        frames: [frames, height, width, 3], uint8.
        mean: Of red, green and blue, on a scale of 0 to 1.
        std: Of red, green and blue, on a scale of 0 to 1.

    Returns:
        [frames, 3, height, width], float32.
    """
    import torch

    pictures = torch.tensor(frames).permute(0, 3, 1, 2)  # [frames, 3, height, width]
    scaled = pictures.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    shift = torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1)
    spread = torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1)
    return scaled.sub_(shift).div_(spread)
