"""A language model's own chat template, taken apart into what stands around questions and answers.

Prompts are written with `###Human: ` and `###Assistant: `, and these marks are exchanged for the template's.
So every command asks every model in the same way, and the pieces are those that `apply_chat_template` writes.
"""

from __future__ import annotations

import re
from typing import Any

from st_llm_cli.errors import CheckpointError

NAME = "chat_template"
"""The prompt format of models that are asked in this way."""
HUMAN = "###Human: "
ASSISTANT = re.compile(r"[ \n]*###Assistant: ?")
VIDEO_START, VIDEO_END = "<Video>", "</Video>"


ChatMarks = dict[str, str]
"""What a template writes around turns: `first` in front of the first question, `later` between the token that
ends an answer and the next question, `answer` between a question and its answer. As a configuration keeps it.
"""


def read_marks(tokenizer: Any, folder: str) -> tuple[ChatMarks, int]:
    """Take a tokenizer's chat template apart.

    Args:
        tokenizer: The language model's.
        folder: Where it is from, for errors.

    Returns:
        The marks, and the token that ends an answer.

    Raises:
        CheckpointError: If there is no template, or its turns do not follow one another.
    """
    if not tokenizer.chat_template:
        fix = "name a model that was taught to chat (often called Instruct)"
        raise CheckpointError("the language model has no chat template", where=folder, fix=fix)
    asked, said, again = "FIRST QUESTION", "FIRST ANSWER", "SECOND QUESTION"
    turns = [("user", asked), ("assistant", said), ("user", again)]
    text = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    pieces = re.split("|".join((asked, said, again)), text)
    special = sorted(tokenizer.get_added_vocab().items(), key=lambda entry: -len(entry[0]))
    end = next((entry for entry in special if pieces[2:] and pieces[2].startswith(entry[0])), None)
    if len(pieces) != 4 or end is None:
        what = "its chat template does not write turns one after the other, each with an end"
        raise CheckpointError(what, where=folder, fix="name another language model")
    token, number = end
    return {"first": pieces[0], "later": pieces[2].removeprefix(token), "answer": pieces[3]}, number


def around_video(before: str, after: str, marks: ChatMarks) -> tuple[str, str]:
    """Exchange the marks of a prompt; the video comes to stand inside the question it is asked with.

    Args:
        before: Text in front of the video.
        after: Text behind it.
        marks: The template's.
    """
    if HUMAN not in before:
        head, _, rest = after.partition(HUMAN)
        before, after = f"{before}{head}{HUMAN}{VIDEO_START}", f"{VIDEO_END} {rest}"
    head, _, rest = before.partition(HUMAN)
    return f"{marks['first']}{head}{rest}", exchanged(after, marks)


def opened(text: str, marks: ChatMarks, *, first: bool) -> str:
    """Exchange the marks of a turn that opens with `###Human: `."""
    head, _, rest = text.partition(HUMAN)
    return f"{marks['first' if first else 'later']}{head}{exchanged(rest, marks)}"


def exchanged(text: str, marks: ChatMarks) -> str:
    """Exchange the marks of what follows the beginning of a turn."""
    return ASSISTANT.sub(lambda _: marks["answer"], text).replace(HUMAN, marks["later"])
