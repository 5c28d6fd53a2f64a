"""Which scenes an observer cannot tell apart who sees one frame of a clip, and knows which moment it shows.

The generator makes each of them equally often. The observer is told more than the frame shows: of a walk what
the objects do, but for the order and for being turned or mirrored; of a tour how wide and how high each round
is; of other stories all that happens, but for its order. Only of a shuffle it is told nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations, product

from st_llm_cli.shapes.cast import play
from st_llm_cli.shapes.orderings import mirrored_in_time, orderings, view
from st_llm_cli.shapes.scene import MOVEMENTS, MovingShape, Scene, Segment
from st_llm_cli.shapes.stories import PARTS, ROUNDS, SHOWING, WHOLE, shuffle_parts, tour_fits
from st_llm_cli.shapes.world import fits


def alike(scene: Scene, seconds: float) -> list[Scene]:
    """Give scenes that show the same as this one at one moment, itself among them.

    A scene that can be reached in several ways comes as often; each is as likely as every other.
    """
    if scene.parts == 1:
        return _walks(scene, seconds)
    if scene.story == "tour":
        return _tours(scene, seconds)
    seen = view(scene, seconds)
    others = _shuffles(scene) if scene.story == "shuffle" else orderings(scene)
    return [each for each in others if view(each, seconds) == seen]


def _walks(scene: Scene, seconds: float) -> list[Scene]:
    """Lead the objects of a walk other ways through where they are seen.

    What they do is turned and mirrored, all 8 ways, forwards and backwards, for both alike. Of those ways
    that have room in the scene each is as likely as any other: what the generator draws, it draws equally
    often turned, mirrored and backwards.
    """
    found = []
    for mirror, order in product(_MIRRORS, (1, -1)):
        ways = [_turned(item, mirror, order, scene.duration_seconds) for item in scene.objects]
        objects = _through(scene, seconds, ways)
        if fits(objects):
            found.append(replace(scene, objects=objects))
    return found


def _turned(item: MovingShape, mirror: dict[str, str], order: int, duration: float) -> list[Segment]:
    """What an object does, turned or mirrored; order: -1 for backwards."""
    segments = [replace(each, movement=mirror[each.movement]) for each in item.segments[::order]]
    return segments if order > 0 else mirrored_in_time(segments, duration)


def _tours(scene: Scene, seconds: float) -> list[Scene]:
    """Lead the objects of a tour other rounds through where they are seen.

    All begin at any corner, each goes either way about. How far a round may be moved depends on its size
    alone, so of those that have room in the scene each is as likely as any other. The objects are not turned
    or mirrored together: where they go different ways about, they would begin at different corners.
    """
    found = []
    for first, rounds in product(range(PARTS), product(ROUNDS, repeat=len(scene.objects))):
        pairs = zip(scene.objects, rounds, strict=True)
        ways = [_around(item, (*way[first:], *way[:first])) for item, way in pairs]
        objects = _through(scene, seconds, ways)
        if tour_fits(objects):
            found.append(replace(scene, objects=objects))
    return found


def _around(item: MovingShape, way: Sequence[str]) -> list[Segment]:
    """A round as wide and as high as an object's own, its sides gone along in other directions."""
    sides = {each.movement: each.distance for each in item.segments}
    pairs = zip(item.segments, way, strict=True)
    return [replace(part, movement=name, distance=sides[name]) for part, name in pairs]


def _through(scene: Scene, seconds: float, ways: Sequence[Sequence[Segment]]) -> tuple[MovingShape, ...]:
    """Lead each object another way through the place where it is at one moment."""
    objects = []
    for item, way in zip(scene.objects, ways, strict=True):
        led = replace(item, start=(0.0, 0.0), segments=tuple(way))
        x, y = item.centers([seconds])[0] - led.centers([seconds])[0]
        objects.append(replace(led, start=(float(x), float(y))))
    return tuple(objects)


def _shuffles(scene: Scene) -> list[Scene]:
    """Shuffle the same objects in all ways: each shows itself, in each manner, before swaps in each order."""
    places = [item.start for item in scene.objects]
    numbers = range(len(places))
    found = []
    for who, act, pairs in product(numbers, SHOWING, permutations(combinations(numbers, 2))):
        parts = shuffle_parts(places, who, act, pairs)
        objects = tuple(
            play(item, [part.get(number) for part in parts], scene.duration_seconds, WHOLE)
            for number, item in enumerate(scene.objects)
        )
        found.append(replace(scene, objects=objects))
    return found


_NAMES = {way: name for name, way in MOVEMENTS.items()}
_MIRRORS = [
    {name: _NAMES[((x, y), (y, x))[turned]] for name, (x, y) in ways.items()}
    for ways, turned in product(
        [{name: (x * a, y * b) for name, (x, y) in MOVEMENTS.items()} for a, b in product((1, -1), repeat=2)],
        (0, 1),
    )
]
"""What each movement becomes in each of the 8 ways to turn and mirror a square."""
