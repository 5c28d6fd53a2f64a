"""A line for each question: `{video|image, question, answer, start, end}`."""

from __future__ import annotations

from typing import Any

from st_llm_cli.training.data.example import Task
from st_llm_cli.training.data.fields import only_text


def tasks_of_line(item: dict[str, Any]) -> tuple[Task, ...]:
    """One question and its answer.

    Raises:
        MistakeError: If the line is not as the format says.
    """
    return (Task(only_text(item, "question"), only_text(item, "answer")),)
