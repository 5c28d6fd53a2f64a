"""Long clips in which what matters is short: one object stays, two others come by for two frames of 64 each.

Sixteen frames spread evenly over such a clip show every second visit.
"""

from __future__ import annotations

from random import Random
from statistics import mean

from st_llm_cli.shapes.encode import Encoding
from st_llm_cli.shapes.render import sample_times
from st_llm_cli.shapes.scene import COLORS, SHAPES, MovingShape, Scene, Segment
from st_llm_cli.shapes.words import QUESTION_FORMS, name_of, with_article
from st_llm_cli.shapes.world import BACKGROUNDS, RADIUS_RANGE, vary
from tests.performance.claims_files import WrittenClip

FRAMES, FPS, SIDE = 64, 8, 96
VISIT = 2
"""Frames."""
CELLS = 9
"""Places."""
BRIEF = ("color", "shape", "place")
"""Asked of each visitor, who is to be seen in two frames."""
ORDER = ("first", "at the end")
"""What happens then: which of the two visits."""
LASTING = BRIEF
"""Asked of the object that stays."""
KINDS = 2 * len(BRIEF) + len(ORDER) + len(LASTING)


def long_clip(seed: int) -> WrittenClip:
    """A clip as `write_clips` takes it."""
    scene = long_scene(seed)
    return WrittenClip(scene, Encoding(SIDE, SIDE, FPS), questions(scene))


def long_scene(seed: int) -> Scene:
    """One object that stays and two visitors, in the order in which they come."""
    rng = Random(f"{seed} long")
    colors, shapes = rng.sample(list(COLORS), 3), rng.sample(SHAPES, 3)
    cells = rng.sample(range(CELLS), 3)
    half = FRAMES // 2
    visits = [None, *(part * half + rng.randrange(half - VISIT + 1) for part in (0, 1))]
    objects = tuple(
        _object(rng, color, shape, cell, visit)
        for color, shape, cell, visit in zip(colors, shapes, cells, visits, strict=True)
    )
    return Scene(seed, FRAMES / FPS, rng.choice(BACKGROUNDS), objects)


def _object(rng: Random, color: str, shape: str, cell: int, visit: int | None) -> MovingShape:
    start = tuple((part + 0.5) / 3 + rng.uniform(-0.04, 0.04) for part in (cell % 3, cell // 3))
    segments = [Segment(0.0, FRAMES / FPS, "still", 0.0)]
    if visit is not None:
        # Half a frame off, so that rounding decides nothing.
        comes, goes = (visit - 0.5) / FPS, (visit + VISIT - 0.5) / FPS
        times = ((0.0, max(comes, 0.0), "away"), (comes, goes, "still"), (goes, FRAMES / FPS, "away"))
        segments = [Segment(begin, end, what, 0.0) for begin, end, what in times if begin < end]
    x, y = start
    return MovingShape(
        color, shape, vary(rng, COLORS[color]), rng.uniform(*RADIUS_RANGE), (x, y), tuple(segments)
    )


def visitors_in(scene: Scene, num_frames: int) -> list[bool]:
    """Whether each visitor is to be seen in frames spread evenly over the clip."""
    times = sample_times(scene.duration_seconds, num_frames, FPS)
    return [bool(item.states(times).shown.any()) for item in scene.objects[1:]]


def best_guesses(scene: Scene, num_frames: int) -> list[float]:
    """Best share of right answers about each visitor, `BRIEF` and `ORDER`, for one who sees only such frames.

    Whoever is not to be seen has a color, a shape and a place that nobody has who is, all equally likely.
    """
    shown = visitors_in(scene, num_frames)
    known = 1 + sum(shown)
    colors, shapes, cells = len(COLORS) - known, len(SHAPES) - known, CELLS - known
    guessed = mean([1 / colors, 1 / shapes, 1 / cells, 1 / (colors * shapes)])
    return [1.0 if visible else guessed for visible in shown]


def questions(scene: Scene) -> list[tuple[str, str]]:
    """Questions and their answers: `BRIEF` of the visitors, `ORDER`, and `LASTING`."""
    stays, *visitors = scene.objects
    brief = [pair for item in visitors for pair in _looks(item)]
    order = [
        (f"What happens {when}?", with_article(name_of(item)))
        for when, item in zip(ORDER, visitors, strict=True)
    ]
    return [*brief, *order, *_looks(stays)]


def _looks(item: MovingShape) -> list[tuple[str, str]]:
    return [
        (QUESTION_FORMS["color"].format(shape=item.shape), item.color),
        (QUESTION_FORMS["shape"].format(color=item.color), item.shape),
        (QUESTION_FORMS["place"].format(name=item.shape), item.place(0.0)),
    ]
