"""Which scenes an observer cannot tell apart who sees the frames of a clip, but not their order.

They are the scene itself with its parts in other orders, as far as everything still goes on where it was,
and, where objects only move, the same run backwards. The generator makes each of them equally often, so each
is as likely as any other to whom only the frames are known. That is all there is to know: what a part looks
like depends on real numbers that no other scene shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from st_llm_cli.shapes.scene import MovingShape, Scene, Segment, lasting_step

View = tuple[object, ...]
"""All that one frame shows, noise apart: equal for two frames exactly when their pictures are equal."""


@dataclass(frozen=True)
class _Stretch:
    """What one object does in one part."""

    start: tuple[float, float]
    end: tuple[float, float]
    segments: tuple[Segment, ...]
    """Timed from the beginning of the part."""


def orderings(scene: Scene) -> list[Scene]:
    """Give every scene that has the same frames as this one in some order, itself among them.

    A scene that can be reached in several ways comes as often; each scene as often as every other.
    """
    orders = list(permutations(range(scene.parts)))
    ways = [scene, _backwards(scene)] if _is_reversible(scene) else [scene]
    found = [reordered(way, order) for way in ways for order in orders]
    return [each for each in found if each is not None and _can_be_told(each)]


def reordered(scene: Scene, order: Sequence[int]) -> Scene | None:
    """Put the parts of a scene in another order; None where something would have to jump.

    Objects that look the same may take each other's places: nobody could tell.

    Args:
        scene: The scene.
        order: For each part of the new scene, the number of the old part that it shows.
    """
    length = scene.duration_seconds / scene.parts
    looks: dict[object, list[int]] = {}
    for number, item in enumerate(scene.objects):
        looks.setdefault((item.color, item.shape, item.rgb, item.radius), []).append(number)
    stretches = [_stretches(item, scene) for item in scene.objects]
    objects: dict[int, MovingShape] = {}
    for numbers in looks.values():
        for number in numbers:
            done = [stretches[number][order[0]]]
            for part in order[1:]:
                here = [stretches[other][part] for other in numbers]
                following = [each for each in here if _same(each.start, done[-1].end)]
                if not following:
                    return None
                done.append(following[0])
            segments = [each for at, stretch in enumerate(done) for each in _later(stretch, at * length)]
            objects[number] = replace(scene.objects[number], start=done[0].start, segments=tuple(segments))
    camera = [_in_part(scene.camera, part, length) for part in order]
    backdrops = scene.backdrops
    if len(backdrops) == scene.parts and scene.parts > 1:
        backdrops = tuple(
            replace(scene.backdrops[part], start_seconds=at * length) for at, part in enumerate(order)
        )
    return replace(
        scene,
        objects=tuple(objects[number] for number in range(len(scene.objects))),
        camera=tuple(each for at, pieces in enumerate(camera) for each in _shifted(pieces, at * length)),
        backdrops=backdrops,
    )


def view(scene: Scene, seconds: float) -> View:
    """Say what is to be seen at one moment."""
    return views(scene, [seconds])[0]


def views(scene: Scene, times_seconds: Sequence[float]) -> list[View]:
    """Say what is to be seen at several moments. See `View`."""
    shifts = scene.view_shift(times_seconds)
    seen: list[list[object]] = [[] for _ in times_seconds]
    for item in scene.objects:
        states = item.states(times_seconds)
        for number in range(len(seen)):
            if states.shown[number]:
                x, y = states.centers[number] - shifts[number]
                color = item.paint(states.colors[number])
                seen[number].append((item.shape, color, *map(_exact, (states.radii[number], x, y))))
    found: list[View] = []
    for number, seconds in enumerate(times_seconds):
        begun = [each for each in scene.backdrops if each.start_seconds <= seconds][-1:]
        behind = [
            (each.texture, each.colors, *_tile_offset(scene, seconds, each.tile, each.drift, shifts[number]))
            for each in begun
        ]
        found.append((*behind, *sorted(seen[number], key=repr)))
    return found


def same_frames(one: Scene, other: Scene, times_seconds: Sequence[float]) -> bool:
    """Whether two scenes show the same frames at these moments, in any order."""
    return Counter(views(one, times_seconds)) == Counter(views(other, times_seconds))


def _can_be_told(scene: Scene) -> bool:
    """Whether the parts may come in this order: in a shuffle an object shows itself before all swaps."""
    return scene.story != "shuffle" or all(item.movements[0] != "swap" for item in scene.objects)


def _is_reversible(scene: Scene) -> bool:
    return not scene.camera and len(scene.backdrops) <= 1 and all(item.is_plain for item in scene.objects)


def _backwards(scene: Scene) -> Scene:
    """The same run backwards."""
    duration = scene.duration_seconds
    objects = []
    for item in scene.objects:
        x, y = item.centers([duration])[0]
        turned = [replace(each, movement=OPPOSITES[each.movement]) for each in reversed(item.segments)]
        segments = tuple(mirrored_in_time(turned, duration))
        objects.append(replace(item, start=(float(x), float(y)), segments=segments))
    backdrops = tuple(replace(each, drift=(-each.drift[0], -each.drift[1])) for each in scene.backdrops)
    sway = (-scene.sway[0], -scene.sway[1])
    return replace(scene, objects=tuple(objects), backdrops=backdrops, sway=sway)


def mirrored_in_time(segments: Sequence[Segment], duration: float) -> list[Segment]:
    """Time segments, the last of them first, as they are when they run backwards."""
    return [
        replace(each, start_seconds=duration - each.end_seconds, end_seconds=duration - each.start_seconds)
        for each in segments
    ]


def _stretches(item: MovingShape, scene: Scene) -> list[_Stretch]:
    """Cut what an object does into the parts of its scene."""
    length = scene.duration_seconds / scene.parts
    if scene.parts == 1:
        return [_Stretch(item.start, (0.0, 0.0), item.segments)]
    found = []
    x, y = item.start
    for part in range(scene.parts):
        pieces = _in_part(item.segments, part, length)
        start = (x, y)
        for piece in pieces:
            step_x, step_y = lasting_step(piece)
            x, y = x + step_x, y + step_y
        found.append(_Stretch(start, (x, y), pieces))
    return found


def _in_part(segments: Sequence[Segment], part: int, length: float) -> tuple[Segment, ...]:
    """The segments of one part, timed from its beginning; none reaches over an end of it."""
    middle = [(each, (each.start_seconds + each.end_seconds) / 2) for each in segments]
    return tuple(_shifted([each for each, when in middle if int(when / length) == part], -part * length))


def _later(stretch: _Stretch, seconds: float) -> list[Segment]:
    return _shifted(stretch.segments, seconds)


def _shifted(segments: Sequence[Segment], seconds: float) -> list[Segment]:
    return [
        replace(each, start_seconds=each.start_seconds + seconds, end_seconds=each.end_seconds + seconds)
        for each in segments
    ]


def _same(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a - b) < 1e-9 for a, b in zip(one, other, strict=True))


def _tile_offset(
    scene: Scene, seconds: float, tile: float, drift: tuple[int, int], shift: Sequence[float]
) -> tuple[float, ...]:
    """Which point of the pattern lies at the corner, in tiles."""
    parts = seconds * scene.parts / scene.duration_seconds
    offsets = (-parts * way + away / tile for way, away in zip(drift, shift, strict=True))
    return tuple(_exact(offset % 1.0) % 1.0 for offset in offsets)


def _exact(value: float) -> float:
    """A number without what computing with it in another order changes."""
    return round(float(value), 7)


OPPOSITES = {"left": "right", "right": "left", "up": "down", "down": "up", "still": "still"}
