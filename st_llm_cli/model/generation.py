"""How to answer: the options of generation, by the field's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from st_llm_cli.errors import UsageError

TOP_K = 50
"""Words a draw chooses from at most: transformers' own default."""

LOWEST_TEMPERATURE = 1e-4
"""Above 0; what is drawn at it is the likeliest word."""

MOST_BEAMS = 64
"""Beams, each of which holds keys and values of the whole conversation."""


@dataclass(frozen=True)
class Generation:
    """How to answer, in the field's words; greedy unless it says otherwise."""

    max_new_tokens: int = 128
    """Longest answer, tokens."""
    temperature: float = 0.0
    """Above 0: draw words, the more evenly the higher; 0 takes the likeliest."""
    top_p: float = 1.0
    """Draw from the likeliest words that have this share together."""
    num_beams: int = 1
    """Above 1: search for the likeliest answer with so many beams."""
    repetition_penalty: float = 1.0
    """Above 1: repeat less."""
    seed: int = 0
    """Seed of what is drawn; each answer starts from it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: Naming the option.
        """
        for name, fits, fix in (
            ("max_new_tokens", self.max_new_tokens >= 1, "give at least 1"),
            ("temperature", _is_temperature(self.temperature), "0 is greedy, 0.7 is usual"),
            ("top_p", 0 < self.top_p <= 1, "give a share above 0, at most 1"),
            ("num_beams", 1 <= self.num_beams <= MOST_BEAMS, f"give 1 to {MOST_BEAMS}"),
            ("repetition_penalty", 0 < self.repetition_penalty < float("inf"), "1 repeats freely, 1.2 less"),
            ("seed", 0 <= self.seed < 2**63, "give a whole number from 0"),
        ):
            if not fits:
                raise UsageError(f"{getattr(self, name)} does not work", where=name, fix=fix)
        if self.num_beams > 1 and self.temperature > 0:
            what = "beams search for the likeliest answer, and a temperature above 0 draws one"
            raise UsageError(what, where="num_beams", fix="give one of the two")

    def for_transformers(self) -> dict[str, Any]:
        """The same as options of transformers' `generate`, less the seed."""
        drawn = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": TOP_K}
        return {
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.num_beams,
            "repetition_penalty": self.repetition_penalty,
            **(drawn if self.temperature else {"do_sample": False}),
        }


def _is_temperature(value: float) -> bool:
    """Whether words can be drawn so: scores divided by less would leave the range of numbers."""
    return value == 0 or LOWEST_TEMPERATURE <= value < float("inf")


def generation_of(**given: Any) -> Generation:
    """Options as somebody gave them.

    Args:
        given: Fields of `Generation`; None where nothing was given.

    Raises:
        UsageError: If one of them cannot be meant, or says how to draw words when none are drawn.
    """
    generation = Generation(**{name: value for name, value in given.items() if value is not None})
    if generation.top_p < 1 and not generation.temperature:
        what = "needs `temperature` above 0; without it no words are drawn"
        raise UsageError(what, where="top_p", fix="add `temperature` 0.7")
    return generation
