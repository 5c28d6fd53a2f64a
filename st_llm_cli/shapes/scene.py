"""What a scene is: objects that each do one thing after another, in front of a backdrop, seen by a camera.

A scene lives in the unit square: x runs to the right, y runs down, both from 0 to 1. In a picture that is not
square the unit square is the central one, side = min(width, height), and the rest is background. So the
released view of a clip (resize the short side, crop the centre) always shows the whole scene, and one scene
looks the same at every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Act:
    """How something looks and where it is while it does something that it undoes again."""

    way: tuple[int, int] = (0, 0)
    """Where it goes and comes back from, as x and y; times the segment's distance."""
    growth: float = 0.0
    """Share by which it becomes larger, for a while."""
    hidden: tuple[float, float] = (0.0, 0.0)
    """Part of the segment during which it is not to be seen, 0 to 1."""


@dataclass(frozen=True)
class Segment:
    """One stretch of time during which an object, or the camera, does one thing."""

    start_seconds: float
    end_seconds: float
    movement: str
    """A key of `MOVEMENTS` or of `ACTS`."""
    distance: float
    """Way covered, as a share of the scene's side; 0 for what moves nothing."""
    toward: tuple[float, float] = (0.0, 0.0)
    """For "bump" and "swap" where it goes, from where it is."""
    arc: float = 0.0
    """For "swap" how far its way is bent to its left, as a share of the side."""
    color: str | None = None
    """Colour worn meanwhile, a key of `COLORS`; the object's own if None."""
    target: str | None = None
    """For "bump" the shape of the object that it goes to."""


@dataclass(frozen=True)
class States:
    """What is to be seen of an object at several moments."""

    centers: FloatArray
    """x and y in the unit square, [times, 2]."""
    radii: FloatArray
    """Half widths as shares of the scene's side, [times]."""
    shown: npt.NDArray[np.bool_]
    """Whether it is to be seen at all, [times]."""
    colors: tuple[str, ...]
    """Names of the colours worn, [times]."""


@dataclass(frozen=True)
class MovingShape:
    """One coloured object and its motion script."""

    color: str
    """Name of the colour, a key of `COLORS`."""
    shape: str
    """Name of the shape, one of `SHAPES`."""
    rgb: Rgb
    """The colour as drawn: that of `COLORS`, a little varied."""
    radius: float
    """Half of the object's width, as a share of the scene's side."""
    start: tuple[float, float]
    """Centre (x, y) at time 0, in the unit square."""
    segments: tuple[Segment, ...]
    """The motion script, gapless from 0 to the end of the scene; of the plain world's, no two neighbours have
    the same movement."""

    @property
    def movements(self) -> tuple[str, ...]:
        """What the object does, in order."""
        return tuple(segment.movement for segment in self.segments)

    @property
    def is_plain(self) -> bool:
        """Whether it only moves: its size and colour stay, and it is always there."""
        return all(segment.movement in MOVEMENTS and segment.color is None for segment in self.segments)

    @cached_property
    def _knots(self) -> FloatArray:
        """Time, x and y at the start and after each segment, [segments+1, 3]."""
        x, y = self.start
        knots = [(0.0, x, y)]
        for segment in self.segments:
            step_x, step_y = lasting_step(segment)
            x, y = x + step_x, y + step_y
            knots.append((segment.end_seconds, x, y))
        return np.array(knots)

    def centers(self, times_seconds: npt.ArrayLike) -> FloatArray:
        """Centres of the object at the given times; before the start and after the end it rests.

        Args:
            times_seconds: Times in seconds, [times].

        Returns:
            x and y in the unit square, [times, 2].
        """
        times = np.asarray(times_seconds, dtype=np.float64)
        when, x, y = self._knots.T
        base = np.stack([np.interp(times, when, x), np.interp(times, when, y)], axis=-1)
        return base if self.is_plain else base + excursions(self.segments, times)

    def states(self, times_seconds: npt.ArrayLike) -> States:
        """What is to be seen of the object at the given times, [times] each."""
        times = np.asarray(times_seconds, dtype=np.float64)
        radii, shown = np.full(times.shape, self.radius), np.ones(times.shape, dtype=np.bool_)
        colors = [self.color] * len(times)
        if self.is_plain:
            return States(self.centers(times), radii, shown, tuple(colors))
        for segment in self.segments:
            act = ACTS.get(segment.movement, _NO_ACT)
            during, phase = _during(segment, times)
            radii = np.where(during, self.radius * (1 + act.growth * _out_and_back(phase)), radii)
            shown &= ~(during & (act.hidden[0] <= phase) & (phase < act.hidden[1]))
            if segment.color is not None:
                colors = [segment.color if now else worn for now, worn in zip(during, colors, strict=True)]
        return States(self.centers(times), radii, shown, tuple(colors))

    def paint(self, color: str) -> Rgb:
        """A colour as this object wears it: varied like its own."""
        pairs = zip(COLORS[color], self.rgb, COLORS[self.color], strict=True)
        red, green, blue = (min(255, max(0, pure + own - named)) for pure, own, named in pairs)
        return self.rgb if color == self.color else (red, green, blue)

    def movement_at(self, seconds: float) -> str:
        """What the object is doing at a moment, as its segment says; at a turn what it does next."""
        begun = [segment for segment in self.segments if segment.start_seconds <= seconds]
        return (begun or self.segments)[-1 if begun else 0].movement

    def place(self, seconds: float) -> str:
        """Name of the cell of the 3x3 grid that holds the object's centre, one of `PLACES`."""
        x, y = self.centers([seconds])[0]
        return place_of(x, y)


@dataclass(frozen=True)
class Backdrop:
    """What is behind the objects from a moment on, until the next one begins."""

    start_seconds: float
    texture: str
    """A key of `TEXTURES` (textures.py), or "plain"."""
    colors: tuple[Rgb, Rgb]
    """The two that the pattern is made of."""
    tile: float
    """Size of the pattern that repeats, as a share of the scene's side."""
    drift: tuple[int, int] = (0, 0)
    """Whole tiles that it wanders in every part of the scene, as x and y."""


@dataclass(frozen=True)
class Scene:
    """Everything that is to be seen, and so everything that is true."""

    seed: int
    duration_seconds: float
    background: Rgb
    """Plain colour behind everything; hidden by backdrops."""
    objects: tuple[MovingShape, ...]
    """In the order of `COLORS`, so that an order of mention is part of what can be seen."""
    story: str = ""
    """What kind of things happen, a key of `STORIES`; empty in the plain world."""
    parts: int = 1
    """Equal parts of its time, in each of which one thing happens."""
    backdrops: tuple[Backdrop, ...] = ()
    """One after another; none in the plain world."""
    camera: tuple[Segment, ...] = ()
    """Where the view goes; the objects and the backdrop go the other way."""
    sway: tuple[float, float] = (0.0, 0.0)
    """How far the view swings in every part, x and y, as shares of the side."""
    noise: float = 0.0
    """Standard deviation of the noise of every picture, in levels of 255."""

    def view_shift(self, times_seconds: npt.ArrayLike) -> FloatArray:
        """How far the view stands from its place, x and y in the unit square, [times, 2]."""
        times = np.asarray(times_seconds, dtype=np.float64)
        turns = 2 * np.pi * self.parts * times / self.duration_seconds
        return excursions(self.camera, times) + np.sin(turns)[:, None] * np.array(self.sway)

    def part_of(self, seconds: float) -> int:
        """Number of the part that holds a moment."""
        return min(int(seconds / self.duration_seconds * self.parts), self.parts - 1)


def in_rhythm(scene: Scene, fps: float) -> Scene:
    """Stretch a scene a little, so that its file has a multiple of `RHYTHM` frames at this rate.

    Then four or eight frames spread evenly over the file show each part at the same moments within it, which
    are the same when it is run backwards: they tell nothing of the order of the parts.
    """
    frames = max(1, round(scene.duration_seconds * fps / RHYTHM)) * RHYTHM
    return stretched(scene, frames / fps)


def stretched(scene: Scene, duration_seconds: float) -> Scene:
    """The same scene, played faster or slower."""
    factor = duration_seconds / scene.duration_seconds

    def timed(pieces: Sequence[Segment]) -> tuple[Segment, ...]:
        return tuple(
            replace(each, start_seconds=each.start_seconds * factor, end_seconds=each.end_seconds * factor)
            for each in pieces
        )

    backdrops = tuple(replace(each, start_seconds=each.start_seconds * factor) for each in scene.backdrops)
    objects = tuple(replace(item, segments=timed(item.segments)) for item in scene.objects)
    return replace(
        scene,
        duration_seconds=duration_seconds,
        objects=objects,
        backdrops=backdrops,
        camera=timed(scene.camera),
    )


def place_of(x: float, y: float) -> str:
    """Name of the cell of the 3x3 grid that holds a point of the unit square, one of `PLACES`."""
    column, row = min(int(x * 3), 2), min(int(y * 3), 2)
    return PLACES[row * 3 + column]


def lasting_step(segment: Segment) -> tuple[float, float]:
    """Where a segment leaves its object, from where it began, x and y."""
    if segment.movement == "swap":
        return segment.toward
    x, y = MOVEMENTS.get(segment.movement, (0, 0))
    return x * segment.distance, y * segment.distance


def excursions(segments: Sequence[Segment], times: FloatArray) -> FloatArray:
    """How far acts lead away from the way between beginnings and ends of segments, x and y, [times, 2]."""
    away = np.zeros((len(times), 2))
    for segment in segments:
        if segment.movement in MOVEMENTS:
            continue
        during, phase = _during(segment, times)
        x, y = segment.toward
        if segment.movement == "swap":
            length = float(np.hypot(x, y))
            bend = np.array([y, -x]) / length * segment.arc
            away += (during * np.sin(np.pi * phase))[:, None] * bend
            continue
        way = np.array(ACTS[segment.movement].way, dtype=np.float64) * segment.distance
        if segment.movement == "bump":
            way = np.array([x, y])
        away += (during * _out_and_back(phase))[:, None] * way
    return away


def _during(segment: Segment, times: FloatArray) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Whether each moment is in a segment, and how far through it, 0 to 1."""
    start, end = segment.start_seconds, segment.end_seconds
    return (start <= times) & (times < end), (times - start) / (end - start)


def _out_and_back(phase: FloatArray) -> FloatArray:
    """From 0 to 1 in the first fifth, back in the last: what happens is to be seen most of the time."""
    return np.clip(np.minimum(phase, 1 - phase) / _RAMP, 0.0, 1.0)


COLORS: dict[str, Rgb] = {
    "red": (220, 40, 40),
    "orange": (255, 150, 20),
    "yellow": (255, 240, 80),
    "green": (50, 180, 70),
    "cyan": (60, 210, 225),
    "blue": (50, 95, 240),
    "purple": (165, 70, 215),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle", "star")
MOVEMENTS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "still": (0, 0),
}
"""What an object does for good, and where it goes meanwhile."""
ACTS: dict[str, Act] = {
    "left and back": Act(way=(-1, 0)),
    "right and back": Act(way=(1, 0)),
    "up and back": Act(way=(0, -1)),
    "down and back": Act(way=(0, 1)),
    "blink": Act(hidden=(0.15, 0.6)),
    "vanish": Act(hidden=(0.08, 0.92)),
    "grow": Act(growth=0.5),
    "shrink": Act(growth=-0.4),
    "turn": Act(),
    "bump": Act(),
    "swap": Act(),
    "away": Act(hidden=(0.0, 1.0)),
}
"""What an object does for a while. "turn" wears another colour, "bump" goes to another object and back, and
"away" is not there; "swap" goes to another one's place for good."""
PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)

RHYTHM = 16
_NO_ACT = Act()
_RAMP = 0.2
