"""A question on its way to a model, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Question:
    """A question about a clip that was read."""

    clip: Any
    """From the model's `read_clips`; questions about one clip hold the same object."""
    text: str
    """The question, with its lettered options if it has any."""
    letters: str = ""
    """Letters of options to choose among without writing anything; empty to have the answer written."""
    style: str | None = None
    """How a multiple-choice question is put, see `CHOICE_STYLES`; None for a question in plain words."""
    max_new_tokens: int = 128
    num_beams: int = 1


Answer = str | int
"""What was written, or the place of the option that was chosen, from 0."""
SAID_NOTHING = "the model answered nothing: put the question in other words"
"""What is said of an answer without a word."""


def not_known(words: Sequence[str]) -> str:
    """What is said of a question with words that the model does not know."""
    return f"the model does not know {', '.join(map(repr, words))}: put the question in other words"
