"""Clips in which four things happen, one in each part; only time tells which came when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from st_llm_cli.shapes.ceilings import observers_of_file
from st_llm_cli.shapes.encode import Encoding
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.rich import make_scene
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS, QUESTION_KINDS
from st_llm_cli.shapes.scene import Scene, in_rhythm
from tests.performance.claims_files import WrittenClip

FRAMES, SIDE = 32, 64
"""Frames that each clip has at least, and their side in pixels."""
STORIES = {"colors": "state_change", "visits": "object_existence", "tour": "moving_direction"}
"""What happens, and the kind of question that asks when: an object has four colours, another one is there in
each part, or objects go once around."""
STILL = {"colors": (), "visits": ("count",), "tour": ("color", "shape")}
"""Kinds that no time is needed for."""
ORDER = tuple(STORIES.values())
STILL_KINDS = ("color", "shape", "count")
MOST_ASKED = 4
"""Questions of a clip about what happens when."""


def event_scene(seed: int) -> Scene:
    """A scene of one of the stories, of which seeds that follow each other tell one after the other."""
    scene = make_scene(seed, story=list(STORIES)[seed % len(STORIES)])
    return in_rhythm(scene, event_encoding(scene).fps)


def event_clip(seed: int) -> WrittenClip:
    """A clip as `write_clips` takes it."""
    scene = event_scene(seed)
    asked = [(each.text, each.answer) for each in event_questions(scene)]
    return WrittenClip(scene, event_encoding(scene), asked)


def event_encoding(scene: Scene) -> Encoding:
    """How it is written: so slow that there are not many more frames than are looked at."""
    return Encoding(SIDE, SIDE, math.ceil(FRAMES / scene.duration_seconds))


def event_questions(scene: Scene) -> list[Question]:
    """What is asked about a scene: what happens when, and then what needs no time."""
    rng = Random(f"{scene.seed} events")
    forms = CHOICE_KINDS[STORIES[scene.story]](scene)
    still = [QUESTION_KINDS[kind](scene, rng) for kind in STILL[scene.story]]
    return [*rng.sample(forms, min(MOST_ASKED, len(forms))), *(each for each in still if each is not None)]


def order_blind(scene: Scene, asked: Sequence[Question], num_frames: int) -> list[float]:
    """Best share of right answers to each question about what happens when, for one who knows no order."""
    observers = observers_of_file(scene, num_frames, event_encoding(scene).fps)
    free = [Question(each.kind, each.text, each.answer) for each in asked if each.kind in ORDER]
    return [observers.ceilings(each).order_blind for each in free]
