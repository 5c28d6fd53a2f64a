"""What a sample is: a clip or a picture, and the questions to be learnt about it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from st_llm_cli.model.prompt import Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from st_llm_cli.shapes.scene import Scene


@dataclass(frozen=True)
class Task:
    """One question about a clip, and the answer to be learnt."""

    question: str
    """As asked; a multiple-choice question with its options."""
    answer: str
    history: tuple[Turn, ...] = ()
    """What was asked and answered before."""
    learns_history: bool = False
    """Whether the earlier answers are to be learnt too."""
    instruction: str = ""
    """What stands in front of the question: `i` of an instruction file."""
    choice: bool = False
    """Whether it is asked by the released multiple-choice prompt."""

    @property
    def length(self) -> int:
        """Characters of its texts: about how long its sequence is."""
        said = sum(len(question) + len(answer) for question, answer in self.history)
        return said + len(self.instruction) + len(self.question) + len(self.answer)


@dataclass(frozen=True)
class Example:
    """One clip and what is asked about it."""

    frames: NDArray[np.uint8] | None
    """[frames, resolution, resolution, 3]; None where `tokens` stand for them."""
    tasks: tuple[Task, ...]
    """Each becomes a sequence of its own; they share the clip's pass through the vision encoder."""
    tokens: Tensor | None = None
    """What the encoder made of the frames, [frames, tokens, dim]."""
    level: str = "frames"
    """How far `tokens` have come: `frames` or `queries`, see `tokens.key.Key.level`."""
    is_picture: bool = False
    """Whether it is a single picture rather than a clip."""
    mask_seed: int = 0
    """Which of its tokens are dropped follows from this and the share that is."""
    scene: Scene | None = None
    """What is true of it, where it shows moving shapes."""


def sample_rng(seed: int, *place: int | str) -> Random:
    """Source of randomness of one place in a run: always the same, and unlike every other place's."""
    return Random("/".join(map(str, (seed, *place))))
