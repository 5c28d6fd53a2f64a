"""Whether a clip shows what the bundled model was trained on."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_llm_cli.shapes.scene import COLORS
from st_llm_cli.shapes.world import BACKGROUNDS

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
"""[frames, rows, columns]."""


def looks_like_shapes(frames: NDArray[np.uint8]) -> bool:
    """Whether frames show solid objects of the shapes' colours before one or two of the shapes' backgrounds.

    Args:
        frames: [frames, height, width, 3], uint8.
    """
    step = max(1, min(frames.shape[1:3]) // GRID)
    grid = frames[:, ::step, ::step].astype(np.float32)  # [frames, rows, columns, 3]
    pixels = grid.reshape(-1, 3)
    some = pixels[:: len(pixels) // ENOUGH_PIXELS + 1]
    one, other = _backgrounds_in(some)
    if (_far(some, np.stack([one, other])) <= BACKGROUND_WITHIN).mean() < BACKGROUND_SHARE:
        return False
    is_object = (_far_from_mixtures(pixels, one, other) > BACKGROUND_WITHIN).reshape(grid.shape[:3])
    if not SMALLEST_OBJECTS <= is_object.mean() <= 1 - MIXED_SHARE:
        return False
    insides = grid[_inside(is_object)]
    colored = _far(insides, _table(list(COLORS.values()))) <= COLOR_WITHIN
    has_color = len(insides) > 0 and colored.mean() >= COLORED_SHARE
    return bool(has_color and _enclosed(is_object).sum() <= HOLES_SHARE * is_object.sum())


def _inside(is_object: Mask) -> Mask:
    """Pixels of objects whose four neighbours are too: no edge mixes their colour, and noise makes none."""
    around = np.pad(is_object, ((0, 0), (1, 1), (1, 1)))
    above, below = around[:, :-2, 1:-1], around[:, 2:, 1:-1]
    left, right = around[:, 1:-1, :-2], around[:, 1:-1, 2:]
    found: Mask = is_object & above & below & left & right
    return found


def _enclosed(is_object: Mask) -> Mask:
    """Pixels of no object with one near on all four sides, as in the hole of a ring."""
    gaps = [_gap_before(is_object, 1), _gap_before(is_object, 2)]
    gaps += [np.flip(_gap_before(np.flip(is_object, axis), axis), axis) for axis in (1, 2)]
    found: Mask = ~is_object & (np.max(gaps, axis=0) <= min(is_object.shape[1:]) / 3)
    return found


def _gap_before(is_object: Mask, axis: int) -> NDArray[np.float64]:
    """Steps to the nearest object pixel at or before each pixel along an axis; infinitely many if none is."""
    shape = [1, 1, 1]
    shape[axis] = -1
    places = np.arange(is_object.shape[axis], dtype=np.float64).reshape(shape)
    gap: NDArray[np.float64] = places - np.maximum.accumulate(np.where(is_object, places, -np.inf), axis)
    return gap


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


# Measured on 600 clips of each world as drawn and on 138 files of all codecs and sizes, eight frames at
# 48x48 and at full size: none is doubted. Inside of objects 0.86 or more of the pixels are of a colour
# (of glows at most 0.55), and what they enclose is at most 0.17 of them (rings, but for small ones: 0.3
# and more). 0.54 or more of all pixels are near one of two backgrounds and 0.87 near their mixtures (370
# files of the rich world). Small rings and evenly bright discs on black pass: they are circles.
ENOUGH_PIXELS = 10_000
GRID = 48
"""Rows or columns to look at, whichever are fewer; up to twice as many where the size is no multiple."""
SAME_WITHIN = 10
BACKGROUND_WITHIN = 20
"""Levels of noise and of what coding loses."""
BACKGROUND_SHARE = 0.5
MIXED_SHARE = 0.75
SMALLEST_OBJECTS = 0.003
COLOR_WITHIN = 30
COLORED_SHARE = 0.7
"""Of the pixels inside of objects: those of a glow are of all shades down to the background's."""
HOLES_SHARE = 0.3
"""Of the pixels of objects: what a ring encloses is as large as itself."""
