"""How often a question can be answered without the order of the frames: by what the truth leaves open.

The order-blind observer knows the sampled frames of a clip, every pixel of them, and how scenes are made,
but not the order of the frames. For it every one of `orderings` whose frames are the same is as likely as the
scene that it is. It answers best with the answer that most of them have, each counted by how likely it is to
be asked this very question with these very options. So its share of right answers is exact, not an estimate,
for pictures as they are drawn and taken from the middles of equal parts. Where more scenes than these had the
same frames it would be less, never more: then the observer had been told which of them it may be.

The observer of a single frame knows the middle one, and that it is the middle one. For it every scene that
`one_frame` gives is as likely. Mostly it is told more than one frame shows: nobody who sees it can be right
more often, and this ceiling is an upper bound.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from st_llm_cli.shapes.one_frame import alike
from st_llm_cli.shapes.orderings import orderings, views
from st_llm_cli.shapes.outcomes import outcomes
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.render import sample_times
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.worlds import world_of

NUM_FRAMES = 8


@dataclass(frozen=True)
class Ceilings:
    """Best shares of right answers without time."""

    order_blind: float
    """From the sampled frames in no order."""
    single_frame: float
    """From the middle one of them, at most."""


class Observers:
    """Those who see frames of one scene and not their order.

    Args:
        scene: What they see.
        times_seconds: Moments of the sampled frames; those of eight spread evenly if None.
    """

    def __init__(self, scene: Scene, times_seconds: Sequence[float] | None = None) -> None:
        times = times_seconds or sample_times(scene.duration_seconds, NUM_FRAMES)
        frames = Counter(views(scene, times))
        others = [each for each in orderings(scene) if Counter(views(each, times)) == frames]
        self._order_blind = _Alike(others)
        self._single_frame = _Alike(alike(scene, times[len(times) // 2]))

    def ceilings(self, question: Question) -> Ceilings:
        """Say how often the observers can be right about a question.

        Args:
            question: Of any kind that videos of the scene's world are asked; with candidates, only these can
                be the answer.

        Raises:
            ValueError: If the scene is not asked this question, or not with these candidates.
        """
        return Ceilings(self._order_blind.best(question), self._single_frame.best(question))


def observers_of_file(scene: Scene, num_frames: int, fps: float) -> Observers:
    """Those who see frames of a file, as the uniform sampler takes them.

    Of walks they are taken to see the middles of equal parts. The frames of a file can lie up to one frame
    before them, all alike; run backwards the scene then begins that much earlier to show the same.

    Args:
        scene: What the file shows.
        num_frames: How many frames they see.
        fps: Frame rate of the file.
    """
    rate = None if scene.parts == 1 else fps
    return Observers(scene, sample_times(scene.duration_seconds, num_frames, rate))


class _Alike:
    """Scenes that look alike to somebody, and all that they are asked."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes
        self._asked: dict[str, list[tuple[Scene, Question, Fraction]]] = {}

    def best(self, question: Question) -> float:
        """Share of the answer that is right most often."""
        weights: dict[str, Fraction] = defaultdict(Fraction)
        for scene, asked, chance in self._questions(question.kind):
            if asked.text == question.text:
                if question.candidates:
                    chance *= world_of(scene).options_chance(asked, scene, question.candidates)
                weights[asked.answer] += chance
        total = sum(weights.values())
        if not total:
            raise ValueError(f"'{question.text}' is no question of kind '{question.kind}' about this scene")
        return float(max(weights.values()) / total)

    def _questions(self, kind: str) -> list[tuple[Scene, Question, Fraction]]:
        """Give all questions of a kind, and how likely each is; walked once, free and with options."""
        if kind not in self._asked:
            self._asked[kind] = [
                (scene, asked, chance)
                for scene in self._scenes
                if kind in world_of(scene).kinds
                for asked, chance in outcomes(partial(world_of(scene).kinds[kind], scene))
                if asked is not None
            ]
        return self._asked[kind]
