"""How often a question can be answered without the order of the frames: by what the truth leaves open.

The order-blind observer knows the sampled frames of a clip, every pixel of them, and how scenes are made,
but not the order of the frames. For it every one of `orderings` whose frames are the same is as likely as the
scene that it is. It answers best with the answer that most of them have, each counted by how likely it is to
be asked this very question with these very options. So its share of right answers is exact, not an estimate.

The observer of a single frame knows the middle one, that it is the middle one, and besides everything that
happens, again but for its order. That is more than one frame shows: nobody who sees it can be right more
often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from st_llm_cli.shapes.orderings import orderings, view, views
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.render import sample_times
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS
from st_llm_cli.shapes.scene import Scene

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
        middle = times[len(times) // 2]
        everything = orderings(scene)
        frames, frame = Counter(views(scene, times)), view(scene, middle)
        self._order_blind = [each for each in everything if Counter(views(each, times)) == frames]
        self._single_frame = [each for each in everything if view(each, middle) == frame]

    def ceilings(self, question: Question) -> Ceilings:
        """Say how often the observers can be right about a question.

        Args:
            question: One of `CHOICE_KINDS`; with candidates, only these can be the answer.

        Raises:
            ValueError: If the scene is not asked this question.
        """
        return Ceilings(_best(self._order_blind, question), _best(self._single_frame, question))


def _best(alike: Sequence[Scene], question: Question) -> float:
    """Share of the answer that is right most often, among scenes that look alike."""
    weights: dict[str, float] = defaultdict(float)
    for scene in alike:
        forms = CHOICE_KINDS[question.kind](scene) if question.kind in CHOICE_KINDS else []
        for form in forms:
            if form.text == question.text and form.answer in (question.candidates or (form.answer,)):
                weights[form.answer] += 1 / len(forms)
    if not weights:
        raise ValueError(f"'{question.text}' is no question of kind '{question.kind}' about this scene")
    return max(weights.values()) / sum(weights.values())
