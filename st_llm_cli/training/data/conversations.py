"""LLaVA's form: `{video|image, conversations: [{from: human, value}, {from: gpt, value}]}`."""

from __future__ import annotations

import re
from typing import Any

from st_llm_cli.training.data.example import Task
from st_llm_cli.training.data.fields import MistakeError, blocks_of, only_text

SPEAKERS = (("human", "user"), ("gpt", "assistant"))
"""Who asks and who answers, by the names in use."""
PLACEHOLDER = re.compile(r"<(?:image|video)>\n?|\n?<(?:image|video)>")
"""Where the clip was meant to stand; the prompt format says where it does."""


def tasks_of_conversation(item: dict[str, Any]) -> tuple[Task, ...]:
    """The whole conversation is one sequence, and each of its answers is learnt.

    Raises:
        MistakeError: If the entry is not as the format says.
    """
    said = [_said(turn, number) for number, turn in enumerate(blocks_of(item, "conversations"))]
    if len(said) % 2:
        raise MistakeError("the last question has no answer")
    turns = list(zip(said[::2], said[1::2], strict=True))
    *history, (question, answer) = turns
    return (Task(question, answer, history=tuple(history), learns_history=True),)


def _said(turn: dict[str, Any], number: int) -> str:
    where = f"conversations.{number}."
    speaker, expected = only_text(turn, "from", where), SPEAKERS[number % 2]
    if speaker not in expected:
        raise MistakeError(f"{where}from is '{speaker}', where '{expected[0]}' is expected")
    text = only_text(turn, "value", where)
    if number % 2:
        return text
    question = PLACEHOLDER.sub("", text)
    if not question.strip():
        raise MistakeError(f"{where}value asks nothing")
    return question
