"""Values of an entry of an annotation file, or what is wrong with them."""

from __future__ import annotations

from typing import Any

from st_llm_cli.json_text import HALF_CHARACTER

AROUND = 20
"""Characters shown on each side of half a character."""


class MistakeError(ValueError):
    """An entry is not as its format says.

    Args:
        what: What is wrong with it.
        line: Where, if the file cannot be read on from there.
    """

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


def text_of(item: dict[str, Any], key: str, where: str = "") -> str:
    """A text that may be empty.

    Raises:
        MistakeError: If it is missing, no text, or holds half a character: no tokenizer takes one.
    """
    if key not in item:
        raise MistakeError(f"{where}'{key}' is missing")
    value = item[key]
    if not isinstance(value, str):
        raise MistakeError(f"{where}'{key}' is {_kind(value)}, not text")
    if half := HALF_CHARACTER.search(value):
        around = value[max(0, half.start() - AROUND) : half.end() + AROUND]
        raise MistakeError(f"{where}'{key}' holds half a character: {around!a}")
    return value


def only_text(item: dict[str, Any], key: str, where: str = "") -> str:
    """A text that says something.

    Raises:
        MistakeError: If it is missing, no text, blank, or holds half a character.
    """
    text = text_of(item, key, where)
    if not text.strip():
        raise MistakeError(f"{where}'{key}' is empty")
    return text


def blocks_of(item: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of blocks that is not empty.

    Raises:
        MistakeError: If it is anything else.
    """
    blocks = item.get(key)
    if blocks is None:
        raise MistakeError(f"'{key}' is missing")
    if not isinstance(blocks, list) or not blocks:
        raise MistakeError(f"'{key}' is {_kind(blocks)}, not a list with something in it")
    for number, block in enumerate(blocks):
        if not isinstance(block, dict):
            raise MistakeError(f"{key}.{number} is {_kind(block)}, not a block")
    return blocks


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "a block"
        return kind if value else "empty"
    return (
        "true or false" if isinstance(value, bool) else "a number" if not isinstance(value, str) else "text"
    )
