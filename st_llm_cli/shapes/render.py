"""Scenes to pictures: coverage of every pixel from the signed distance to a shape's outline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from st_llm_cli.shapes.scene import FloatArray, MovingShape, Scene
from st_llm_cli.shapes.textures import paint_backdrops

Frames = npt.NDArray[np.uint8]
Size = float | FloatArray
"""One size for all pictures, or one for each, [times, 1, 1]."""


def render_frame(scene: Scene, seconds: float, width: int, height: int, *, antialias: bool = True) -> Frames:
    """Draw the scene at one moment.

    Args:
        scene: What to draw.
        seconds: Moment, in seconds from the beginning.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        antialias: Whether a pixel on an outline gets a mixture of both colours.

    Returns:
        RGB picture, uint8 [height, width, 3].
    """
    return render_frames(scene, [seconds], width, height, antialias=antialias)[0]


def render_frames(
    scene: Scene, times_seconds: Sequence[float], width: int, height: int, *, antialias: bool = True
) -> Frames:
    """Draw the scene at several moments.

    Args:
        scene: What to draw.
        times_seconds: Moments, in seconds from the beginning.
        width: Width of the pictures in pixels.
        height: Height of the pictures in pixels.
        antialias: Whether a pixel on an outline gets a mixture of both colours.

    Returns:
        RGB pictures, uint8 [times, height, width, 3].
    """
    frames = np.empty((len(times_seconds), height, width, 3), dtype=np.uint8)
    frames[:] = np.full((width, 3), scene.background, dtype=np.uint8)  # by the row: faster than by the pixel
    shifts = scene.view_shift(times_seconds) if scene.camera or any(scene.sway) else None
    paint_backdrops(frames, scene, times_seconds, shifts)
    for item in scene.objects:
        _paint(frames, item, times_seconds, shifts, antialias)
    if scene.noise:
        _add_noise(frames, scene, times_seconds)
    return frames


def sample_times(duration_seconds: float, num_frames: int, fps: float | None = None) -> list[float]:
    """Moments that the uniform sampler, the default of reading a clip, takes from a file of a scene.

    Args:
        duration_seconds: Length of the scene.
        num_frames: Frames to take.
        fps: Frame rate of the file; None for one of unlimited rate: the middles of equal parts.

    Returns:
        Times in seconds, [num_frames].
    """
    if fps is None:
        return [(part + 0.5) / num_frames * duration_seconds for part in range(num_frames)]
    total = frame_count(duration_seconds, fps)
    return [(2 * part + 1) * total // (2 * num_frames) / fps for part in range(num_frames)]


def frame_count(duration_seconds: float, fps: float) -> int:
    """Number of frames in a file of a scene; frame i shows the moment i / fps."""
    return max(1, round(duration_seconds * fps))


def sample_frames(
    scene: Scene, num_frames: int, resolution: int, *, fps: float | None = None, antialias: bool = True
) -> Frames:
    """Draw what a model would see of a file of the scene, without writing one.

    The same frames as uniform sampling, resize of the short side and centre crop of the decoded file, but for
    what coding loses; only the frames asked for are drawn.

    Args:
        scene: What to draw.
        num_frames: Frames to take, spread evenly.
        resolution: Side of the pictures in pixels.
        fps: Frame rate of the imagined file; None for one of unlimited rate.
        antialias: Whether a pixel on an outline gets a mixture of both colours.

    Returns:
        RGB pictures, uint8 [num_frames, resolution, resolution, 3].
    """
    times = sample_times(scene.duration_seconds, num_frames, fps)
    return render_frames(scene, times, resolution, resolution, antialias=antialias)


def _paint(
    frames: Frames,
    item: MovingShape,
    times_seconds: Sequence[float],
    shifts: FloatArray | None,
    antialias: bool,
) -> None:
    """Paint one object into frames [times, height, width, 3], touching only the boxes around it."""
    _, height, width, _ = frames.shape
    side = min(width, height)
    states = item.states(times_seconds)
    seen = states.centers if shifts is None else states.centers - shifts
    centers = seen * side + ((width - side) / 2, (height - side) / 2)  # [times, 2]
    box = int(np.ceil(2 * states.radii.max() * side)) + 3
    columns, rows = min(box, width), min(box, height)
    lefts = np.clip(np.floor(centers[:, 0] - box / 2), 0, width - columns).astype(int)
    tops = np.clip(np.floor(centers[:, 1] - box / 2), 0, height - rows).astype(int)
    x = lefts[:, None] + np.arange(columns) + 0.5 - centers[:, :1]  # [times, columns]
    y = tops[:, None] + np.arange(rows) + 0.5 - centers[:, 1:]  # [times, rows]
    radii = states.radii[:, None, None] * side  # [times, 1, 1], in pixels
    outside = OUTLINES[item.shape](x[:, None, :], y[:, :, None], radii)  # [times, rows, columns], in pixels
    cover = np.clip(0.5 - outside, 0, 1) if antialias else (outside < 0).astype(np.float64)
    paints = {color: np.array(item.paint(color), dtype=np.float64) for color in set(states.colors)}
    for number in np.flatnonzero(states.shown):
        top, left, share = tops[number], lefts[number], cover[number, ..., None]
        patch = frames[number, top : top + rows, left : left + columns]
        patch[:] = np.rint(patch + share * (paints[states.colors[number]] - patch))


def _add_noise(frames: Frames, scene: Scene, times_seconds: Sequence[float]) -> None:
    """Add to every picture noise of its own, the same whenever the same moment is drawn at the same size."""
    for frame, seconds in zip(frames, times_seconds, strict=True):
        rng = np.random.default_rng((scene.seed, round(seconds * 10_000)))
        noisy = rng.standard_normal(frame.shape, dtype=np.float32)
        noisy *= np.float32(scene.noise)
        noisy += frame
        frame[:] = np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy)


def _circle(x: FloatArray, y: FloatArray, radius: Size) -> FloatArray:
    return np.hypot(x, y) - radius


def _square(x: FloatArray, y: FloatArray, radius: Size) -> FloatArray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.92 * radius


def _triangle(x: FloatArray, y: FloatArray, radius: Size) -> FloatArray:
    # Base below, tip above; as wide and as high as the other shapes.
    slope = np.hypot(2.0, 1.0)
    return np.maximum(y - radius, (2 * np.abs(x) - y - radius) / slope)


def _star(x: FloatArray, y: FloatArray, radius: Size) -> FloatArray:
    # Folded about its ten axes the star is one straight edge from a tip to the next notch.
    half = np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    distance = np.hypot(x, y)
    tip, notch = 1.08 * radius, 0.46 * radius
    edge_x, edge_y = notch * np.cos(half) - tip, notch * np.sin(half)
    normal_x, normal_y = edge_y / np.hypot(edge_x, edge_y), -edge_x / np.hypot(edge_x, edge_y)
    return (distance * np.cos(angle) - tip) * normal_x + distance * np.sin(angle) * normal_y


OUTLINES: dict[str, Callable[[FloatArray, FloatArray, Size], FloatArray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
}
"""Signed distance of points around an object's centre to its outline: negative inside, unit of the radius."""
