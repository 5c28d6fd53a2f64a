"""Ask the same questions with the order of time taken away: what is left of a score needed no video.

Where the encoder mixes time (BT-Adapter), the frames are changed before it sees them. Where it looks at each
frame alone, the tokens of the frames are changed instead, with the same result: the tokens kept of a clip
then serve all controls, and no video is opened again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from st_llm_cli.stages.eval import Answerer, Result, run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request

if TYPE_CHECKING:
    from st_llm_cli.stages.clip_tokens import Look, SeenClip

BLACK = 0


def blind(clip: Look, seed: int) -> None:
    """Show nothing: as many black frames as there were frames."""


def single_frame(clip: Look, seed: int) -> list[int]:
    """Show the middle frame only."""
    return [_length(clip) // 2]


def freeze(clip: Look, seed: int) -> list[int]:
    """Show the middle frame again and again, as many times as there were frames."""
    return [_length(clip) // 2] * _length(clip)


def reverse(clip: Look, seed: int) -> list[int]:
    """Show the frames backwards."""
    return list(range(_length(clip) - 1, -1, -1))


def shuffle(clip: Look, seed: int) -> list[int]:
    """Show the frames in a random order, the same for all questions about a clip, and never their own."""
    order = list(range(_length(clip)))
    generator = random.Random(f"{seed} {Path(clip.source.path).name} {clip.indices}")
    while len(order) > 1 and order == sorted(order):
        generator.shuffle(order)
    return order


class Controllable(Answerer, Protocol):
    """What controls need of a model."""

    @property
    def sees_frames_alone(self) -> bool:
        """Whether what it keeps of a frame does not depend on the other frames."""

    def see(self, clip: Clip) -> SeenClip:
        """Look at a clip; for a model that sees frames alone."""


class Controlled:
    """A model that is shown clips through a control.

    Args:
        model: The model.
        control: Key of `CONTROLS`.
        seed: For the control that draws.
    """

    def __init__(self, model: Controllable, control: str, seed: int) -> None:
        self.model = model
        self.order = CONTROLS[control]
        self.seed = seed
        self._black: SeenClip | None = None

    @property
    def num_frames(self) -> int:
        """Frames it looks at unless told otherwise."""
        return self.model.num_frames

    @property
    def transform(self) -> Any:
        """What it needs done to each picture."""
        return self.model.transform

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        """Read the clips: what the model keeps of them if it can be changed like pictures, else pictures."""
        return self.model.read_clips(requests) if self.model.sees_frames_alone else read_clips(requests)

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        """Answer questions about changed clips."""
        changed = {
            identity: self.changed(clip)
            for identity, clip in {id(question.clip): question.clip for question in questions}.items()
        }
        return self.model.answer_all(
            [replace(question, clip=changed[id(question.clip)]) for question in questions], batch_size
        )

    def changed(self, clip: Look) -> Look:
        """Give a clip as it is shown under the control."""
        order = self.order(clip, self.seed)
        if order is not None:
            return chosen(clip, order)
        if isinstance(clip, Clip):
            return replace(clip, frames=np.full_like(clip.frames, BLACK))
        if self._black is None:
            side = self.transform.resolution
            frame = np.full((1, side, side, 3), BLACK, np.uint8)
            self._black = self.model.see(Clip(frame, (0,), (0.0,), clip.source))
        tokens = self._black.tokens
        return replace(clip, tokens=tokens.expand(_length(clip), *tokens.shape[1:]), shows_shapes=False)


def control_folder(folder: Path, control: str) -> Path:
    """Where the answers under a control go, below the run's folder."""
    return folder / f"control-{control}"


def run_control(
    model: Controllable,
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
    part = control_folder(folder, control)
    return run(controlled, plan, part, settings=own, batch_size=batch_size, step=step)


def chosen(clip: Look, order: Sequence[int]) -> Look:
    """Give the frames of a clip in another order; they keep the times of their new places."""
    kept = list(order)
    indices = tuple(clip.indices[place] for place in kept)
    times = clip.times_seconds[: len(kept)]
    if isinstance(clip, Clip):
        return replace(clip, frames=clip.frames[kept], indices=indices, times_seconds=times)
    return replace(clip, tokens=clip.tokens[kept], indices=indices, times_seconds=times)


def _length(clip: Look) -> int:
    return len(clip.indices)


CONTROLS: dict[str, Callable[[Look, int], list[int] | None]] = {
    "blind": blind,
    "single-frame": single_frame,
    "shuffle": shuffle,
    "reverse": reverse,
    "freeze": freeze,
}
"""What can be taken away from a clip: which of its frames are shown, and in which order; None: no frame."""
