"""Patterns behind the objects: each repeats in both directions, so that it can wander for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from st_llm_cli.shapes.scene import Backdrop, FloatArray, Scene

Pattern = Callable[[FloatArray, FloatArray], FloatArray]


def paint_backdrops(
    frames: npt.NDArray[np.uint8], scene: Scene, times_seconds: Sequence[float], shifts: FloatArray | None
) -> None:
    """Paint what is behind the objects.

    Args:
        frames: [times, height, width, 3].
        scene: The scene.
        times_seconds: Moments of the frames.
        shifts: How far the view stands from its place, [times, 2]; None where it does not move.
    """
    times = np.asarray(times_seconds, dtype=np.float64)
    starts = [backdrop.start_seconds for backdrop in scene.backdrops]
    present = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)  # number of each one's backdrop
    parts = times * scene.parts / scene.duration_seconds
    for number, backdrop in enumerate(scene.backdrops):
        during = np.flatnonzero(present == number)
        if len(during) and backdrop.texture == PLAIN:
            frames[during] = np.full((frames.shape[2], 3), backdrop.colors[0], dtype=np.uint8)
        elif len(during):
            away = -np.outer(parts[during], backdrop.drift) * backdrop.tile
            _paint(frames, during, backdrop, away if shifts is None else away + shifts[during])


def _paint(
    frames: npt.NDArray[np.uint8], during: npt.NDArray[np.intp], backdrop: Backdrop, away: FloatArray
) -> None:
    """Paint a pattern into some of the frames, as seen from so far away from its place, [times, 2]."""
    if not away.any():
        away = away[:1]  # it rests: one picture serves all
    height, width = frames.shape[1:3]
    side = min(width, height)
    x = ((np.arange(width) + 0.5 - (width - side) / 2) / side + away[:, :1]) / backdrop.tile  # [times, width]
    y = ((np.arange(height) + 0.5 - (height - side) / 2) / side + away[:, 1:]) / backdrop.tile
    inside = TEXTURES[backdrop.texture](x[:, None, :], y[:, :, None])  # in tiles
    share = np.clip(0.5 + inside * (backdrop.tile * side), 0, 1).astype(np.float32)
    # One channel after the other: numpy is slow where the innermost axis has but three.
    for channel, (one, other) in enumerate(zip(*backdrop.colors, strict=True)):
        frames[during, ..., channel] = np.rint(np.float32(one) + share * np.float32(other - one))


def _from_edge(place: FloatArray) -> FloatArray:
    """Distance to the nearer edge of a stripe half a tile wide: positive inside."""
    return 0.25 - np.abs(place - np.floor(place) - 0.5)


def _stripes(x: FloatArray, y: FloatArray) -> FloatArray:
    return _from_edge(x)


def _bars(x: FloatArray, y: FloatArray) -> FloatArray:
    return _from_edge(y)


def _checks(x: FloatArray, y: FloatArray) -> FloatArray:
    column, row = _from_edge(x), _from_edge(y)
    return np.maximum(np.minimum(column, row), np.minimum(-column, -row))


def _dots(x: FloatArray, y: FloatArray) -> FloatArray:
    column, row = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    return 0.28 - np.sqrt(column**2 + row**2)


PLAIN = "plain"
"""Name of the texture that is no pattern: the first colour alone."""
TEXTURES: dict[str, Pattern] = {
    "stripes": _stripes,
    "bars": _bars,
    "checks": _checks,
    "dots": _dots,
}
"""How far inside the second colour's part of the pattern points lie, in tiles; the pattern repeats at 1.
"stripes" stand upright, "bars" lie. Points are x [times, 1, width] and y [times, height, 1]; what depends on
one of them has its shape."""
