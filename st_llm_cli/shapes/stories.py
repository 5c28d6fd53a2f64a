"""The stories of the rich world: what happens in the four equal parts of a scene, and to whom.

What happens in a part ends as it began: everything is back where it was, or (tours, shuffles) where the next
part takes it up. So the parts can be put in another order without changing a single frame, and each order is
as likely as any other: a story draws what happens in its parts first, and their order last. Only time tells
which of them it was. `orderings` relies on that, and tests look whether it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random

from st_llm_cli.shapes.cast import (
    EDGE,
    GAP,
    OUT_AND_BACK,
    Part,
    acts_of,
    apart,
    bump_into,
    draw_cast,
    moves_of,
    play,
)
from st_llm_cli.shapes.scene import COLORS, MOVEMENTS, SHAPES, MovingShape, Segment
from st_llm_cli.shapes.world import vary

PARTS = 4


@dataclass(frozen=True)
class Draft:
    """What is to happen, before it has a time."""

    cast: list[MovingShape]
    """At rest where they begin."""
    parts: list[Part]
    """What they do in each part."""
    view: list[Segment] = field(default_factory=list)
    """What the camera does in each part; empty where it rests."""
    textures: list[str] = field(default_factory=list)
    """What the background is in each part; empty where it stays."""


@dataclass(frozen=True)
class Story:
    """One kind of scene."""

    draw: Callable[[Random, int], Draft | None]
    """Draws what happens with so many objects; None where there was no room for it."""
    num_objects: tuple[int, ...]
    """Numbers of objects it can be told with."""
    brief: bool = False
    """Whether what happens in a part may take a short while of it only."""


def _acts(rng: Random, count: int) -> Draft | None:
    """Four different things happen, one in each part."""
    cast = draw_cast(rng, count)
    return Draft(cast, _shuffled(rng, rng.sample(_all_acts(rng, cast), PARTS)))


def _once(rng: Random, count: int) -> Draft | None:
    """One thing happens, in one of the parts."""
    cast = draw_cast(rng, count)
    return Draft(cast, _shuffled(rng, [rng.choice(_all_acts(rng, cast)), {}, {}, {}]))


def _repeats(rng: Random, count: int) -> Draft | None:
    """One thing happens one to four times, and other things in the other parts."""
    return _repeated(rng, count, rng.randint(1, PARTS))


def _tally(rng: Random, count: int) -> Draft | None:
    """One thing happens three times, and another once."""
    return _repeated(rng, count, PARTS - 1)


def _repeated(rng: Random, count: int, times: int) -> Draft:
    cast = draw_cast(rng, count)
    again, *others = rng.sample(_all_acts(rng, cast), PARTS - times + 1)
    return Draft(cast, _shuffled(rng, [again] * times + others))


def _crowd(rng: Random, count: int) -> Draft | None:
    """In each part another number of objects moves."""
    cast = draw_cast(rng, count)
    parts = []
    for number in rng.sample(range(count + 1), PARTS):
        part: Part = {}
        for who in rng.sample(range(count), number):
            ways = [way for way in moves_of(rng, cast, who) if _passes(cast, part, who, way)]
            if not ways:
                return None
            part[who] = rng.choice(ways)
        parts.append(part)
    return Draft(cast, _shuffled(rng, parts))


def _turns(rng: Random, count: int) -> Draft | None:
    """The objects move one after the other."""
    cast = draw_cast(rng, count)
    ways = [moves_of(rng, cast, who) for who in range(count)]
    if not all(ways):
        return None
    parts = [{who: rng.choice(own)} for who, own in enumerate(ways)]
    return Draft(cast, _shuffled(rng, parts + [{}] * (PARTS - count)))


def _bumps(rng: Random, count: int) -> Draft | None:
    """One object bumps into the three others, and does something else."""
    cast = draw_cast(rng, count)
    who = rng.randrange(count)
    others = [number for number in range(count) if number != who]
    bumps = [bump for other in others if (bump := bump_into(cast, who, other)) is not None]
    if len(bumps) < len(others):
        return None
    other = [act for act in acts_of(rng, cast, who) if act.movement in ("blink", "vanish", "turn")]
    return Draft(cast, _shuffled(rng, [*({who: bump} for bump in bumps), {who: rng.choice(other)}]))


def _tour(rng: Random, count: int) -> Draft | None:
    """Objects go once around, one side of their round in each part, each either way about."""
    cast, rounds = [], []
    for item in draw_cast(rng, count):
        size = (0.22, 0.34) if count > 1 else (0.3, 0.5)
        sides = {name: rng.uniform(*size) for name in ("x", "y")}
        low, high = item.radius + EDGE, 1 - item.radius - EDGE
        corner = [rng.uniform(low, high - sides[name]) for name in ("x", "y")]
        way = ROUNDS[1] if rng.random() < 0.5 else ROUNDS[0]
        rounds.append([Segment(0, 1, name, sides["xxyy"[list(MOVEMENTS).index(name)]]) for name in way])
        cast.append(replace(item, start=(corner[0], corner[1])))
    first = rng.randrange(PARTS)  # all begin a corner further: the frames stay the same
    starts = [_along(item.start, way[:first]) for item, way in zip(cast, rounds, strict=True)]
    begun = [replace(item, start=start) for item, start in zip(cast, starts, strict=True)]
    turned = [way[first:] + way[:first] for way in rounds]
    led = [play(item, way, PARTS, WHOLE) for item, way in zip(begun, turned, strict=True)]
    parts = [dict(enumerate(steps)) for steps in zip(*turned, strict=True)]
    return Draft(begun, parts) if tour_fits(led) else None


def _colors(rng: Random, count: int) -> Draft | None:
    """One object has another colour in each part."""
    cast = draw_cast(rng, count)
    who = rng.randrange(count)
    taken = {item.color for number, item in enumerate(cast) if number != who}
    worn = rng.sample([color for color in COLORS if color not in taken], PARTS)
    own = min(worn, key=list(COLORS).index)
    cast[who] = replace(cast[who], color=own, rgb=COLORS[own])
    parts: list[Part] = [{who: Segment(0, 1, "still", 0.0, color=color)} for color in worn]
    return Draft(cast, _shuffled(rng, parts))


def _places(rng: Random, count: int) -> Draft | None:
    """The background is another one in each part."""
    textures = list(BACKGROUND_TEXTURES)
    rng.shuffle(textures)
    return Draft(draw_cast(rng, count), [{} for _ in range(PARTS)], textures=textures)


def _visits(rng: Random, count: int) -> Draft | None:
    """Each object is there in one part only."""
    cast = draw_cast(rng, count)
    away = Segment(0, 1, "away", 0.0)
    parts: list[Part] = [{who: away for who in range(count) if who != part} for part in range(PARTS)]
    return Draft(cast, _shuffled(rng, parts))


def _shuffle(rng: Random, count: int) -> Draft | None:
    """One of three equal objects shows itself; then all pairs of places are swapped, in any order."""
    color, shape, radius = rng.choice(list(COLORS)), rng.choice(SHAPES), rng.uniform(0.08, 0.11)
    rgb, y = vary(rng, COLORS[color]), rng.uniform(0.45, 0.55)
    places = [(x + rng.uniform(-0.02, 0.02), y) for x in (0.18, 0.5, 0.82)]
    cast = [MovingShape(color, shape, rgb, radius, place, ()) for place in places]
    act, who = rng.choice(SHOWING), rng.randrange(count)
    pairs = list(combinations(range(count), 2))
    rng.shuffle(pairs)
    return Draft(cast, shuffle_parts(places, who, act, pairs))


def shuffle_parts(
    places: Sequence[tuple[float, float]], who: int, act: str, pairs: Sequence[tuple[int, int]]
) -> list[Part]:
    """What happens in a shuffle.

    Args:
        places: Where the objects begin.
        who: The object that shows itself.
        act: What it does, one of `SHOWING`.
        pairs: Numbers of the places that are swapped, in order.
    """
    parts: list[Part] = [{who: Segment(0, 1, act, 0.0)}]
    at = list(range(len(places)))  # who is at each place
    for one, other in pairs:
        way = (places[other][0] - places[one][0], 0.0)
        arc = 0.3 if other - one == 2 else 0.17
        there = Segment(0, 1, "swap", 0.0, toward=way, arc=arc)
        parts.append({at[one]: there, at[other]: replace(there, toward=(-way[0], 0.0))})
        at[one], at[other] = at[other], at[one]
    return parts


def _views(rng: Random, count: int) -> Draft | None:
    """The camera looks to the four sides."""
    cast = draw_cast(rng, count)
    near = [replace(item, start=_nearer(item.start)) for item in cast]
    if any(apart(a.start, b.start) < GAP * (a.radius + b.radius) for a, b in combinations(near, 2)):
        return None
    view = [Segment(0, 1, name, rng.uniform(0.15, 0.2)) for name in OUT_AND_BACK]
    rng.shuffle(view)
    return Draft(near, [{} for _ in range(PARTS)], view=view)


def _all_acts(rng: Random, cast: list[MovingShape]) -> list[Part]:
    return [{who: act} for who in range(len(cast)) for act in acts_of(rng, cast, who)]


def _shuffled(rng: Random, parts: list[Part]) -> list[Part]:
    return rng.sample(parts, len(parts))


def _passes(cast: list[MovingShape], part: Part, who: int, way: Segment) -> bool:
    """Whether an object can go and come back while those of a part do, all in the same time."""
    for share in (0.25, 0.5, 0.75, 1.0):
        here = _gone(cast[who], way, share)
        for other, others_way in part.items():
            there = _gone(cast[other], others_way, share)
            if apart(here, there) < GAP * (cast[who].radius + cast[other].radius):
                return False
    return True


def _gone(item: MovingShape, way: Segment, share: float) -> tuple[float, float]:
    x, y = MOVEMENTS[way.movement.split()[0]]
    return item.start[0] + x * way.distance * share, item.start[1] + y * way.distance * share


def _along(start: tuple[float, float], way: list[Segment]) -> tuple[float, float]:
    x, y = start
    for segment in way:
        step_x, step_y = MOVEMENTS[segment.movement]
        x, y = x + step_x * segment.distance, y + step_y * segment.distance
    return x, y


def tour_fits(objects: Sequence[MovingShape]) -> bool:
    """Whether a tour could lead objects so: inside the scene, and apart."""
    for item in objects:
        low, high = item.radius + EDGE, 1 - item.radius - EDGE
        corners = item.centers([each.start_seconds for each in item.segments])
        if corners.min() < low - _ROUNDING or corners.max() > high + _ROUNDING:
            return False
    end = objects[0].segments[-1].end_seconds
    times = [end * moment / 40 for moment in range(41)]
    ways = [item.centers(times).tolist() for item in objects]
    return all(
        apart(here, there) >= GAP * (objects[one].radius + objects[other].radius)
        for one, other in combinations(range(len(objects)), 2)
        for here, there in zip(ways[one], ways[other], strict=True)
    )


def _nearer(place: tuple[float, float]) -> tuple[float, float]:
    """Nearer to the middle, so that a look aside keeps it in the picture."""
    x, y = (0.5 + 0.65 * (value - 0.5) for value in place)
    return x, y


ROUNDS = (("right", "down", "left", "up"), ("down", "right", "up", "left"))
"""The two ways about that tours have, from the corner at the top left."""
SHOWING = ("blink", "grow", "shrink")
"""What an object does to show itself."""
WHOLE = [(0.0, 1.0)] * PARTS
"""Slots of what takes all of its part."""
_ROUNDING = 1e-9
BACKGROUND_TEXTURES = ("plain", "stripes", "checks", "dots")
"""Backgrounds that can follow one another."""
STORIES = {
    "acts": Story(_acts, (1, 2, 3, 4), brief=True),
    "once": Story(_once, (1, 2, 3, 4), brief=True),
    "repeats": Story(_repeats, (1, 2, 3, 4), brief=True),
    "tally": Story(_tally, (1, 2, 3, 4), brief=True),
    "crowd": Story(_crowd, (3, 4), brief=True),
    "turns": Story(_turns, (3, 4), brief=True),
    "bumps": Story(_bumps, (4,), brief=True),
    "tour": Story(_tour, (1, 2)),
    "colors": Story(_colors, (1, 2, 3)),
    "places": Story(_places, (1, 2, 3)),
    "visits": Story(_visits, (3, 4)),
    "shuffle": Story(_shuffle, (3,)),
    "views": Story(_views, (1, 2, 3), brief=True),
}
"""Stories by name; the story "walk" besides them is that of the plain world, before richer backgrounds."""
