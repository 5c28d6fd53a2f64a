"""Whether a clip shows what the bundled model was trained on."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_llm_cli.shapes.scene import COLORS
from st_llm_cli.shapes.world import BACKGROUNDS

Pixels = NDArray[np.float32]


def looks_like_shapes(frames: NDArray[np.uint8]) -> bool:
    """Whether frames show objects in the colours of the moving shapes before one or two of their backgrounds.

    Args:
        frames: [frames, height, width, 3], uint8.
    """
    everything = frames.reshape(-1, 3)
    pixels = everything[:: len(everything) // ENOUGH_PIXELS + 1].astype(np.float32)  # [pixels, 3]
    one, other = _backgrounds_in(pixels)
    if (_far(pixels, np.stack([one, other])) <= BACKGROUND_WITHIN).mean() < BACKGROUND_SHARE:
        return False
    is_behind = _far_from_mixtures(pixels, one, other) <= BACKGROUND_WITHIN
    if not MIXED_SHARE <= is_behind.mean() <= 1 - SMALLEST_OBJECTS:
        return False
    objects = pixels[~is_behind]
    return bool((_far(objects, _table(list(COLORS.values()))) <= COLOR_WITHIN).mean() >= COLORED_SHARE)


def _backgrounds_in(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """The two colours of backgrounds, of all there are, that most pixels have."""
    colors = _table(BACKGROUNDS)
    is_near = np.stack(
        [_far(pixels, colors[number : number + 1]) <= SAME_WITHIN for number in range(len(colors))]
    )
    pairs = combinations(range(len(colors)), 2)
    one, other = max(pairs, key=lambda pair: is_near[list(pair)].any(axis=0).mean())
    return colors[one], colors[other]


def _far(pixels: Pixels, colors: Pixels) -> Pixels:
    """Levels between each pixel and the nearest of some colours [colors, 3], in the channel with most."""
    far: Pixels = np.abs(pixels[:, None] - colors).max(axis=2).min(axis=1)
    return far


def _far_from_mixtures(pixels: Pixels, one: Pixels, other: Pixels) -> Pixels:
    """Levels between each pixel and the nearest mixture of two colours, as edges of a pattern have it."""
    way = other - one
    share = np.clip((pixels - one) @ way / (way @ way), 0, 1)
    far: Pixels = np.abs(pixels - (one + share[:, None] * way)).max(axis=1)
    return far


def _table(colors: Any) -> Pixels:
    return np.array(colors, dtype=np.float32)


# Measured on 370 clips of the rich world, H.264, MPEG-4 and VP9, eight frames at 48x48: 0.54 or more of the
# pixels near one of two backgrounds (0.79 in 95 of 100), 0.87 near their mixtures, of the others 0.53 or more
# near a colour of objects, in all clips but four: in one of them every object is away in all eight frames.
# The same holds at full size. Of real footage, also darkened, at most 0.12 of the others is near a colour.
ENOUGH_PIXELS = 10_000
SAME_WITHIN = 10
BACKGROUND_WITHIN = 20
"""Levels of noise and of what coding loses."""
BACKGROUND_SHARE = 0.5
MIXED_SHARE = 0.75
SMALLEST_OBJECTS = 0.003
COLOR_WITHIN = 60
COLORED_SHARE = 0.35
