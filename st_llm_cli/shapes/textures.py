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
            frames[during] = backdrop.colors[0]
        elif len(during):
            away = -np.outer(parts[during], backdrop.drift) * backdrop.tile
            frames[during] = _picture(backdrop, away if shifts is None else away + shifts[during], frames)


def _picture(backdrop: Backdrop, away: FloatArray, frames: npt.NDArray[np.uint8]) -> FloatArray:
    """Draw a pattern, as seen from so far away from its place, [times, height, width, 3]."""
    if not away.any():
        away = away[:1]  # it rests: one picture serves all
    height, width = frames.shape[1:3]
    side = min(width, height)
    x = ((np.arange(width) + 0.5 - (width - side) / 2) / side + away[:, :1]) / backdrop.tile  # [times, width]
    y = ((np.arange(height) + 0.5 - (height - side) / 2) / side + away[:, 1:]) / backdrop.tile
    inside = TEXTURES[backdrop.texture](x[:, None, :], y[:, :, None])  # in tiles
    share = np.clip(0.5 + inside * (backdrop.tile * side), 0, 1).astype(np.float32)[..., None]
    one, other = (np.array(rgb, dtype=np.float32) for rgb in backdrop.colors)
    return np.asarray(np.rint(one + share * (other - one)))


def _from_edge(place: FloatArray) -> FloatArray:
    """Distance to the nearer edge of a stripe half a tile wide: positive inside."""
    return 0.25 - np.abs(place - np.floor(place) - 0.5)


def _stripes(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.broadcast_to(_from_edge(x), np.broadcast_shapes(x.shape, y.shape))


def _bars(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.broadcast_to(_from_edge(y), np.broadcast_shapes(x.shape, y.shape))


def _checks(x: FloatArray, y: FloatArray) -> FloatArray:
    column, row = _from_edge(x), _from_edge(y)
    return np.minimum(np.abs(column), np.abs(row)) * np.sign(column) * np.sign(row)


def _dots(x: FloatArray, y: FloatArray) -> FloatArray:
    column, row = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    return 0.28 - np.hypot(column, row)


PLAIN = "plain"
"""Name of the texture that is no pattern: the first colour alone."""
TEXTURES: dict[str, Pattern] = {
    "stripes": _stripes,
    "bars": _bars,
    "checks": _checks,
    "dots": _dots,
}
"""How far inside the second colour's part of the pattern a point lies, in tiles; the pattern repeats at 1.
"stripes" stand upright, "bars" lie."""
