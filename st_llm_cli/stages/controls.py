"""Ask the same questions with the order of time taken away: what is left of a score needed no video.

The frames are changed before the encoder sees them, so that it holds too for encoders that mix time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from st_llm_cli.stages.eval import Answerer, Result, run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request

BLACK = 0


def blind(clip: Clip, seed: int) -> Clip:
    """Show nothing: as many black frames as there were frames."""
    return replace(clip, frames=np.full_like(clip.frames, BLACK))


def single_frame(clip: Clip, seed: int) -> Clip:
    """Show the middle frame only."""
    return _chosen(clip, [len(clip.frames) // 2])


def freeze(clip: Clip, seed: int) -> Clip:
    """Show the middle frame again and again, as many times as there were frames."""
    return _chosen(clip, [len(clip.frames) // 2] * len(clip.frames))


def reverse(clip: Clip, seed: int) -> Clip:
    """Show the frames backwards."""
    return _chosen(clip, range(len(clip.frames) - 1, -1, -1))


def shuffle(clip: Clip, seed: int) -> Clip:
    """Show the frames in a random order, the same for all questions about a clip, and never their own."""
    order = list(range(len(clip.frames)))
    generator = random.Random(f"{seed} {Path(clip.source.path).name} {clip.indices}")
    while len(order) > 1 and order == sorted(order):
        generator.shuffle(order)
    return _chosen(clip, order)


class Controlled:
    """A model that is shown clips through a control.

    Args:
        model: The model.
        control: Key of `CONTROLS`.
        seed: For the control that draws.
    """

    def __init__(self, model: Answerer, control: str, seed: int) -> None:
        self.model = model
        self.change = CONTROLS[control]
        self.seed = seed

    @property
    def num_frames(self) -> int:
        """Frames it looks at unless told otherwise."""
        return self.model.num_frames

    @property
    def transform(self) -> Any:
        """What it needs done to each picture."""
        return self.model.transform

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        """Read the clips' pictures; tokens kept of the clips as they are would be of no use."""
        return read_clips(requests)

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        """Answer questions about changed clips."""
        changed = {
            identity: self.change(clip, self.seed)
            for identity, clip in {id(question.clip): question.clip for question in questions}.items()
        }
        return self.model.answer_all(
            [replace(question, clip=changed[id(question.clip)]) for question in questions], batch_size
        )


def run_control(
    model: Answerer,
    plan: Plan,
    folder: Path,
    control: str,
    *,
    settings: dict[str, Any] | None = None,
    batch_size: int = 1,
    step: Callable[[str], None] = lambda id: None,
) -> Result:
    """Run an evaluation through a control, into a folder of its own below the run's; see `eval.run`."""
    controlled = Controlled(model, control, plan.seed)
    own = {**(settings or {}), "control": control}
    return run(
        controlled, plan, folder / f"control-{control}", settings=own, batch_size=batch_size, step=step
    )


def _chosen(clip: Clip, order: Sequence[int]) -> Clip:
    """Give the frames of a clip in another order; they keep the times of their new places."""
    kept = list(order)
    return Clip(
        clip.frames[kept],
        tuple(clip.indices[place] for place in kept),
        clip.times_seconds[: len(kept)],
        clip.source,
    )


CONTROLS: dict[str, Callable[[Clip, int], Clip]] = {
    "blind": blind,
    "single-frame": single_frame,
    "shuffle": shuffle,
    "reverse": reverse,
    "freeze": freeze,
}
"""What can be taken away from a clip."""
