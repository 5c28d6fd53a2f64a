"""The rich world: how a seed becomes a scene of one to four shapes, with a story and a backdrop."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from st_llm_cli.shapes.cast import draw_cast, in_part, play
from st_llm_cli.shapes.scene import Backdrop, Rgb, Scene
from st_llm_cli.shapes.stories import PARTS, STORIES, Draft
from st_llm_cli.shapes.textures import PLAIN, TEXTURES
from st_llm_cli.shapes.world import BACKGROUNDS, check, draw_movements, draw_scene

SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 60.0
"""Lengths of scenes."""
WALK = "walk"
"""The story of the plain world: one or two objects move, stop and turn, without parts."""
STORY_NAMES = (WALK, *STORIES)


def make_scene(
    seed: int,
    *,
    num_objects: int | None = None,
    story: str | None = None,
    slots: int = 1,
    longest_seconds: float = LONGEST_SECONDS,
) -> Scene:
    """Draw a scene of the rich world; the same arguments always give the same scene.

    Args:
        seed: Zero or more; see `TRAIN_SEEDS` and `EVAL_SEEDS`.
        num_objects: 1 to 4, as many as the story can be told with; drawn if None.
        story: One of `STORY_NAMES`; if None, seeds that follow each other tell one after the other.
        slots: In what happens within a part, the share of it that this takes: one slot of so many, drawn. 1
            lets it take the whole part. For stories that are `brief`; others are told as usual.
        longest_seconds: Most that a scene may last, at least `SHORTEST_SECONDS`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check(seed, num_objects, (1, 2, 3, 4))
    if slots < 1:
        raise ValueError(f"slots is {slots}, must be 1 or more")
    if longest_seconds < SHORTEST_SECONDS:
        raise ValueError(f"longest_seconds is {longest_seconds}, must be {SHORTEST_SECONDS:g} or more")
    rng = Random(f"{seed} rich")
    able = [name for name in STORY_NAMES if num_objects is None or num_objects in numbers_of(name)]
    if story is not None and story not in able:
        number = "" if num_objects is None else f" of {num_objects} objects"
        raise ValueError(f"story is '{story}'{number}, must be one of {', '.join(able)}")
    name = story or able[seed % len(able)]
    count = num_objects or rng.choice(numbers_of(name))
    # Short ones are drawn more often: evenly on a logarithmic scale.
    duration = round(math.exp(rng.uniform(math.log(SHORTEST_SECONDS), math.log(longest_seconds))), 2)
    while True:
        if name == WALK:
            scene = _walk(rng, seed, duration, count)
        else:
            draft = STORIES[name].draw(rng, count)
            scene = None if draft is None else _told(rng, seed, duration, name, draft, slots)
        if scene is not None:
            return scene


def make_picture(seed: int, *, num_objects: int | None = None) -> Scene:
    """Draw a scene in which nothing happens and no two objects share a cell, to be shown as a single image.

    Args:
        seed: Zero or more; see `TRAIN_SEEDS` and `EVAL_SEEDS`.
        num_objects: 1 to 4; drawn if None.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check(seed, num_objects, (1, 2, 3, 4))
    rng = Random(f"{seed} rich picture")
    cast = draw_cast(rng, num_objects or rng.randint(1, 4))
    resting = [play(item, [None], 2.0, [(0.0, 1.0)]) for item in cast]
    return _before_backdrop(rng, Scene(seed, 2.0, rng.choice(BACKGROUNDS), tuple(resting)))


def numbers_of(story: str) -> tuple[int, ...]:
    """Numbers of objects that a story can be told with."""
    return (1, 2) if story == WALK else STORIES[story].num_objects


def _walk(rng: Random, seed: int, duration: float, count: int) -> Scene | None:
    movements = rng.choice((1, 2, 2, 3))
    scripts = [draw_movements(rng, movements) for _ in range(count)]
    scene = draw_scene(rng, seed, duration, scripts)
    return None if scene is None else _before_backdrop(rng, replace(scene, story=WALK))


def _told(rng: Random, seed: int, duration: float, name: str, draft: Draft, slots: int) -> Scene:
    """Give a draft its time and its place."""
    times = []
    for _ in range(PARTS):
        number = rng.randrange(slots) if STORIES[name].brief else 0
        of = slots if STORIES[name].brief else 1
        times.append((number / of, (number + 1) / of))
    objects = tuple(
        play(item, [part.get(who) for part in draft.parts], duration, times)
        for who, item in enumerate(draft.cast)
    )
    bounds = [duration * number / PARTS for number in range(PARTS + 1)]
    views = zip(draft.view, times, bounds, bounds[1:], strict=False)
    camera = [piece for look, slot, start, end in views for piece in in_part(look, start, end, slot)]
    scene = Scene(seed, duration, rng.choice(BACKGROUNDS), objects, name, PARTS, camera=tuple(camera))
    return _before_backdrop(rng, scene, draft.textures)


def _before_backdrop(rng: Random, scene: Scene, textures: list[str] | None = None) -> Scene:
    """Put a scene before a backdrop, or before one after another, with a swaying view and noise at times."""
    colors = _two_colors(rng)
    tile = 1 / rng.choice((2, 3, 4))
    if textures:
        length = scene.duration_seconds / len(textures)
        backdrops = [
            Backdrop(length * number, texture, colors, tile) for number, texture in enumerate(textures)
        ]
    else:
        texture = rng.choice((PLAIN, *TEXTURES))
        resting = texture == PLAIN or bool(scene.camera) or rng.random() < 0.5
        drift = (0, 0) if resting else rng.choice(((1, 0), (-1, 0), (0, 1), (0, -1)))
        backdrops = [Backdrop(0.0, texture, colors, tile, drift)]
    sway = (0.0, 0.0)
    if not scene.camera and rng.random() < 0.3:
        sway = (rng.uniform(-MOST_SWAY, MOST_SWAY), rng.uniform(-MOST_SWAY, MOST_SWAY))
    noise = rng.choice((0.0, round(rng.uniform(1.0, MOST_NOISE), 1)))
    return replace(scene, background=colors[0], backdrops=tuple(backdrops), sway=sway, noise=noise)


def _two_colors(rng: Random) -> tuple[Rgb, Rgb]:
    """Two backgrounds that can be told apart and from every object."""
    while True:
        one, other = rng.sample(BACKGROUNDS, 2)
        if sum(abs(a - b) for a, b in zip(one, other, strict=True)) >= 90:
            return one, other


WORLD_VERSION = 2
"""Raised whenever a seed gives another scene than before, or a folder of scenes other questions."""
MOST_SWAY = 0.015
"""As the room at the edge of the scene: objects stay inside."""
MOST_NOISE = 8.0
"""Levels of 255."""
