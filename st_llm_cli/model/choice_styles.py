"""The ways in which evaluation programs put a multiple-choice question to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from st_llm_cli.model.prompt import CHOICE_SYSTEM, Prompt, chat_prompt, choice_prompt


def styled_choice(style: str, prompt_format: str, text: str, *, letter_next: bool) -> Prompt:
    """Put a multiple-choice question.

    Args:
        style: Key of `CHOICE_STYLES`.
        prompt_format: Key of `PROMPT_FORMATS`.
        text: The question with its lettered options as the style writes them.
        letter_next: Make the answer begin with a bracket, so that a letter comes next.
    """
    prompt = CHOICE_STYLES[style](prompt_format, text)
    if letter_next and not prompt.after.endswith("("):
        return replace(prompt, after=f"{prompt.after}(")
    return prompt


def _released(prompt_format: str, text: str) -> Prompt:
    return choice_prompt(text)


def _videochat2(prompt_format: str, text: str) -> Prompt:
    """Give the video a turn of its own before the question, each with the system message."""
    return choice_prompt(text, video_in_own_turn=True)


def _vlmevalkit(prompt_format: str, text: str) -> Prompt:
    """Put the system message first, and not into the question."""
    prompt = choice_prompt(text, system_in_question=False)
    return replace(prompt, after=f"{CHOICE_SYSTEM}{prompt.after}")


def _lmms_eval(prompt_format: str, text: str) -> Prompt:
    """Ask as a user would, without system message, and leave open how the answer begins."""
    return chat_prompt(prompt_format, text)


CHOICE_STYLES: dict[str, Callable[[str, str], Prompt]] = {
    "released": _released,
    "videochat2": _videochat2,
    "vlmevalkit": _vlmevalkit,
    "lmms-eval": _lmms_eval,
}
"""Prompts by style; what stands in the question itself is `PROMPT_STYLES` of the benchmarks."""
