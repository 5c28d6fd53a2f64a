"""The plain world: how a seed becomes a scene of one or two shapes that move, stop and turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np

from st_llm_cli.shapes.scene import COLORS, MOVEMENTS, SHAPES, FloatArray, MovingShape, Rgb, Scene, Segment


def make_scene(seed: int, *, num_objects: int | None = None, num_movements: int | None = None) -> Scene:
    """Draw a scene of moving shapes; the same arguments always give the same scene.

    Every first and every last movement is equally likely, whatever else was drawn. Objects stay inside the
    scene, never touch, differ in colour and in shape, and begin and end clearly inside one cell of the 3x3
    grid.

    Args:
        seed: Zero or more; see `TRAIN_SEEDS` and `EVAL_SEEDS`.
        num_objects: 1 or 2; drawn if None.
        num_movements: Successive movements of each object, 1 to 3; drawn, mostly 2, if None.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check(seed, num_objects, (1, 2))
    if num_movements is not None and num_movements not in _MOVEMENT_COUNTS:
        raise ValueError(f"num_movements is {num_movements}, must be 1, 2 or 3")
    rng = Random(seed)
    objects = num_objects or rng.choice((1, 2))
    movements = num_movements or rng.choices(list(_MOVEMENT_COUNTS), list(_MOVEMENT_COUNTS.values()))[0]
    duration = round(rng.uniform(2.0, 6.0), 2)
    while True:
        scripts = [draw_movements(rng, movements) for _ in range(objects)]
        scene = draw_scene(rng, seed, duration, scripts)
        if scene is not None:
            return scene


def make_picture(seed: int, *, num_objects: int | None = None) -> Scene:
    """Draw a scene in which nothing moves and no two objects share a cell, to be shown as a single image.

    Args:
        seed: Zero or more; see `TRAIN_SEEDS` and `EVAL_SEEDS`.
        num_objects: 1 or 2; drawn if None.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check(seed, num_objects, (1, 2))
    rng = Random(seed)
    objects = num_objects or rng.choice((1, 2))
    while True:
        scene = draw_scene(rng, seed, 2.0, [["still"]] * objects)
        if scene is not None and len({item.place(0.0) for item in scene.objects}) == objects:
            return scene


def check(seed: int, num_objects: int | None, allowed: Sequence[int]) -> None:
    """Refuse a seed or a number of objects of which there is no scene.

    Raises:
        ValueError: Saying which.
    """
    if seed < 0:
        # random.Random takes the absolute value: -1 would silently repeat the scene of 1.
        raise ValueError(f"seed is {seed}, must be zero or more")
    if num_objects is not None and num_objects not in allowed:
        numbers = " or ".join(map(str, allowed))
        raise ValueError(f"num_objects is {num_objects}, must be {numbers}")


def draw_movements(rng: Random, count: int) -> list[str]:
    """Draw movements, no two neighbours the same, each order of them as likely as any other."""
    script = [rng.choice(list(MOVEMENTS))]
    while len(script) < count:
        script.append(rng.choice([name for name in MOVEMENTS if name != script[-1]]))
    return script


def draw_scene(rng: Random, seed: int, duration: float, scripts: Sequence[Sequence[str]]) -> Scene | None:
    """Find room for objects that do what the scripts say; None if there is none.

    Only where, how big and how far is drawn again until nothing touches, so that no movement becomes rarer
    than another. Of two times three movements about one pair in five hundred finds no room.
    """
    background = rng.choice(BACKGROUNDS)
    colors = rng.sample(list(COLORS), len(scripts))
    shapes = rng.sample(SHAPES, len(scripts))
    paints = [vary(rng, COLORS[color]) for color in colors]
    for _ in range(_TRIES):
        objects = tuple(
            _draw_object(rng, color, shape, rgb, duration, script)
            for color, shape, rgb, script in zip(colors, shapes, paints, scripts, strict=True)
        )
        if len(objects) < 2 or _keep_apart(objects[0], objects[1]):
            order = list(COLORS)
            ordered = tuple(sorted(objects, key=lambda item: order.index(item.color)))
            return Scene(seed, duration, background, ordered)
    return None


def vary(rng: Random, rgb: Rgb) -> Rgb:
    """A colour a little unlike its pure form, as paints are."""
    red, green, blue = (min(255, max(0, level + rng.randint(-8, 8))) for level in rgb)
    return red, green, blue


def fits(objects: Sequence[MovingShape]) -> bool:
    """Whether `draw_scene` could have put one or two objects so: inside, in clear places, and apart."""
    for item in objects:
        low, high = item.radius + _EDGE, 1 - item.radius - _EDGE
        way = item._knots[:, 1:]
        if way.min() < low - _ROUNDING or way.max() > high + _ROUNDING:
            return False
        if not all(_clearly_in_a_cell(way[moment]) for moment in (0, -1)):
            return False
    return len(objects) < 2 or _keep_apart(objects[0], objects[1])


def _draw_object(
    rng: Random, color: str, shape: str, rgb: Rgb, duration: float, script: Sequence[str]
) -> MovingShape:
    segments = tuple(_draw_segments(rng, duration, script))
    while True:
        radius = rng.uniform(*RADIUS_RANGE)
        start = _draw_start(rng, radius, segments)
        item = MovingShape(color, shape, rgb, radius, start, segments)
        if all(_clearly_in_a_cell(item._knots[moment, 1:]) for moment in (0, -1)):
            return item


def _draw_segments(rng: Random, duration: float, script: Sequence[str]) -> Iterator[Segment]:
    # Turning points vary little, so every movement lasts long enough to be seen in eight frames.
    turns = [duration * (k + rng.uniform(-0.1, 0.1)) / len(script) for k in range(1, len(script))]
    bounds = [0.0, *turns, duration]
    for movement, start, end in zip(script, bounds, bounds[1:], strict=False):
        distance = 0.0 if movement == "still" else rng.uniform(*_DISTANCE_RANGES[len(script)])
        yield Segment(start, end, movement, distance)


def _draw_start(rng: Random, radius: float, segments: Sequence[Segment]) -> tuple[float, float]:
    """Draw a start from which the whole way stays inside the scene."""
    x, y = 0.0, 0.0
    way = [(x, y)]
    for segment in segments:
        step_x, step_y = MOVEMENTS[segment.movement]
        x, y = x + step_x * segment.distance, y + step_y * segment.distance
        way.append((x, y))
    low, high = radius + _EDGE, 1 - radius - _EDGE
    start_x, start_y = (
        rng.uniform(low - min(offsets), high - max(offsets)) for offsets in zip(*way, strict=True)
    )
    return start_x, start_y


def _clearly_in_a_cell(center: FloatArray) -> bool:
    return all(abs(value - line) >= _CELL_MARGIN for value in center for line in (1 / 3, 2 / 3))


def _keep_apart(one: MovingShape, other: MovingShape) -> bool:
    """Whether two objects never touch.

    Between two turning points the one moves past the other on a straight line, so the nearest point is exact.
    """
    times = np.union1d(one._knots[:, 0], other._knots[:, 0])
    gaps = one.centers(times) - other.centers(times)  # [times, 2]
    nearest = min(_distance_to_origin(*pair) for pair in zip(gaps.tolist(), gaps[1:].tolist(), strict=False))
    return nearest >= _GAP * (one.radius + other.radius)


def _distance_to_origin(start: Sequence[float], end: Sequence[float]) -> float:
    """Smallest distance of a straight line's points from the origin."""
    way_x, way_y = end[0] - start[0], end[1] - start[1]
    length = way_x**2 + way_y**2
    share = 0.0 if length == 0 else -(start[0] * way_x + start[1] * way_y) / length
    share = min(1.0, max(0.0, share))
    return ((start[0] + share * way_x) ** 2 + (start[1] + share * way_y) ** 2) ** 0.5


WORLD_VERSION = 2
"""Raised whenever a seed gives another scene than before, or a folder of scenes other questions."""
TRAIN_SEEDS = range(0, 10**9)
"""Seeds of training scenes."""
EVAL_SEEDS = range(10**9, 2 * 10**9)
"""Seeds of held-out scenes: never used for training."""
DEMO_SEEDS = range(2 * 10**9, 2 * 10**9 + 10**6)
"""Seeds of the sample clips of `stllm demo`: never used for training or evaluation."""

BACKGROUNDS: tuple[Rgb, ...] = (
    (12, 12, 12),
    (32, 32, 32),
    (50, 50, 50),
    (70, 70, 70),
    (90, 90, 90),
    (38, 44, 60),
    (60, 50, 42),
    (42, 58, 50),
)
RADIUS_RANGE = (0.10, 0.14)
"""Half widths of objects, as shares of the scene's side: 5 to 7 pixels at 48x48."""

_MOVEMENT_COUNTS = {1: 0.15, 2: 0.75, 3: 0.10}
# The more movements, the shorter each, so that two objects always find room to pass each other.
_DISTANCE_RANGES = {1: (0.30, 0.60), 2: (0.28, 0.45), 3: (0.25, 0.28)}
_EDGE = 0.015
# Corners of squares stick out of the circle of their radius.
_GAP = 1.15
_CELL_MARGIN = 0.03
_ROUNDING = 1e-9
_TRIES = 2000
