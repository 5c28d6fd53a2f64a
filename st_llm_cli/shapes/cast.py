"""Who takes part in a rich scene: objects at rest in places of their own, and what each has room to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from st_llm_cli.shapes.scene import ACTS, COLORS, SHAPES, MovingShape, Segment
from st_llm_cli.shapes.world import vary

Part = dict[int, Segment]
"""What objects do in one part of a scene, by their number, timed from 0 to 1; the others rest."""
Slot = tuple[float, float]
"""Beginning and end of what happens within a part, from 0 to 1."""


def draw_cast(rng: Random, count: int) -> list[MovingShape]:
    """Draw objects that differ in colour and shape, each in a cell of its own, in the order of `COLORS`.

    They have nothing to do yet: `play` gives them their segments.
    """
    colors = sorted(rng.sample(list(COLORS), count), key=list(COLORS).index)
    shapes = rng.sample(SHAPES, count)
    cells = rng.sample(range(9), count)
    return [
        MovingShape(
            color,
            shape,
            vary(rng, COLORS[color]),
            rng.uniform(*RADIUS_RANGE),
            (
                (cell % 3 + 0.5) / 3 + rng.uniform(-0.04, 0.04),
                (cell // 3 + 0.5) / 3 + rng.uniform(-0.04, 0.04),
            ),
            (),
        )
        for color, shape, cell in zip(colors, shapes, cells, strict=True)
    ]


def acts_of(rng: Random, cast: list[MovingShape], who: int) -> list[Segment]:
    """Everything that an object of a cast has room for, each act once, but for bumping into others."""
    free = [color for color in COLORS if color not in {item.color for item in cast}]
    acts = [Segment(0, 1, name, 0.0) for name in ("blink", "vanish", "shrink")]
    acts.append(Segment(0, 1, "turn", 0.0, color=rng.choice(free)))
    item = cast[who]
    if has_room(cast, who, item.start, item.radius * (1 + ACTS["grow"].growth)):
        acts.append(Segment(0, 1, "grow", 0.0))
    return [*acts, *moves_of(rng, cast, who)]


def moves_of(rng: Random, cast: list[MovingShape], who: int) -> list[Segment]:
    """The ways an object can go and come back from without touching those at rest."""
    (x, y), radius = cast[who].start, cast[who].radius
    found = []
    for name in OUT_AND_BACK:
        distance = rng.uniform(*DISTANCE_RANGE)
        way_x, way_y = ACTS[name].way
        ends = [(x + way_x * distance * share, y + way_y * distance * share) for share in (0.5, 0.75, 1.0)]
        if all(has_room(cast, who, end, radius) for end in ends):
            found.append(Segment(0, 1, name, distance))
    return found


def bump_into(cast: list[MovingShape], who: int, other: int) -> Segment | None:
    """Have an object go to another until they touch, and back; None where something stands in between."""
    item, target = cast[who], cast[other]
    x, y = target.start[0] - item.start[0], target.start[1] - item.start[1]
    length = (x * x + y * y) ** 0.5
    share = 1 - (item.radius + target.radius) / length
    rest = [each for number, each in enumerate(cast) if number != other]
    for part in (0.5, 0.75, 1.0):
        place = (item.start[0] + x * share * part, item.start[1] + y * share * part)
        if not has_room(rest, rest.index(item), place, item.radius):
            return None
    return Segment(0, 1, "bump", 0.0, toward=(x * share, y * share), target=target.shape)


def has_room(cast: list[MovingShape], who: int, place: tuple[float, float], radius: float) -> bool:
    """Whether an object of this size, at this place, is inside the scene and touches none that is at rest."""
    low, high = radius + EDGE, 1 - radius - EDGE
    if not all(low <= value <= high for value in place):
        return False
    return all(
        apart(place, other.start) >= GAP * (radius + other.radius)
        for number, other in enumerate(cast)
        if number != who
    )


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Distance of two points."""
    return ((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) ** 0.5


def play(
    item: MovingShape, doings: Sequence[Segment | None], duration: float, slots: Sequence[Slot]
) -> MovingShape:
    """Give an object its segments.

    Args:
        item: At rest.
        doings: What it does in each part, timed from 0 to 1; None where it rests.
        duration: Seconds of the scene.
        slots: Beginning and end of what happens in each part, from 0 to 1.
    """
    bounds = [duration * number / len(doings) for number in range(len(doings) + 1)]
    segments: list[Segment] = []
    for doing, slot, start, end in zip(doings, slots, bounds, bounds[1:], strict=False):
        segments += in_part(doing, start, end, slot)
    return replace(item, segments=tuple(segments))


def in_part(doing: Segment | None, start: float, end: float, slot: Slot) -> list[Segment]:
    """Fill one part with what is done in it, and with rest before and after.

    Args:
        doing: What is done, timed from 0 to 1; None for rest.
        start: Seconds at which the part begins.
        end: Seconds at which it ends.
        slot: Beginning and end of what is done, from 0 to 1.
    """
    whole = Segment(start, end, "still", 0.0)
    if doing is None:
        return [whole]
    first, last = (start + (end - start) * share for share in slot)
    pieces = [replace(doing, start_seconds=first, end_seconds=last if slot[1] < 1 else end)]
    if slot[0] > 0:
        pieces.insert(0, replace(whole, end_seconds=first))
    if slot[1] < 1:
        pieces.append(replace(whole, start_seconds=last))
    return pieces


OUT_AND_BACK = ("left and back", "right and back", "up and back", "down and back")
"""Acts that lead away and back, in the order left, right, up, down."""
RADIUS_RANGE = (0.07, 0.115)
"""Half widths of the objects of rich scenes, as shares of the scene's side."""
DISTANCE_RANGE = (0.2, 0.32)
"""How far objects go before they come back, as shares of the scene's side."""
EDGE = 0.015
GAP = 1.15
"""Corners of squares stick out of the circle of their radius."""
