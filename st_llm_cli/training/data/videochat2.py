"""VideoChat2-IT: `{video|image, QA: [{i, q, a}], start, end}`."""

from __future__ import annotations

from typing import Any

from st_llm_cli.training.data.example import Task
from st_llm_cli.training.data.fields import MistakeError, blocks_of, only_text, text_of


def tasks_of_videochat2(item: dict[str, Any]) -> tuple[Task, ...]:
    """Each pair is a question of its own, behind its instruction `i`; captions have no question.

    Raises:
        MistakeError: If the entry is not as the format says.
    """
    return tuple(_task(pair, f"QA.{number}.") for number, pair in enumerate(blocks_of(item, "QA")))


def _task(pair: dict[str, Any], where: str) -> Task:
    instruction = text_of(pair, "i", where) if pair.get("i") is not None else ""
    question, answer = text_of(pair, "q", where), only_text(pair, "a", where)
    if not instruction.strip() and not question.strip():
        raise MistakeError(f"{where}q is empty, and there is no instruction either")
    return Task(question, answer, instruction=instruction)
