"""TempCompass: four ways to ask about action, direction, speed, order and change.

DIR/
├── questions/{multi-choice,yes_no,caption_matching,captioning}.json
│       {video: {dimension: [{question, answer}]}}
└── videos/<video>.mp4
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from st_llm_cli.bench.parsing import UNPARSED, Reading, plain_text, plain_words, read_choice, void_reason

_LABELLED = re.compile(r"^(?P<name>(?:Caption|Option|Sentence) (?P<mark>\w)): (?P<text>.*)$", re.MULTILINE)


def yes_or_no(reply: str) -> tuple[str | None, str]:
    """Read a reply as yes or no.

    Returns:
        `yes`, `no` or None, and the name of the rule that decided.
    """
    void = void_reason(reply)
    if void is not None:
        return None, void
    words = plain_words(reply).split()
    if words and words[0] in _FIRST_WORDS:
        return _FIRST_WORDS[words[0]], "first word"
    said = {word for word in words if word in ("yes", "no")}
    return (said.pop(), "only one of the two words") if len(said) == 1 else (None, UNPARSED)


def released_yes_no(reply: str) -> str | None:
    """Read a reply as the released rule does: by how it begins, so that `noon` is a no."""
    for word in ("yes", "no"):
        if reply.lower().startswith(word):
            return word
    return None


def released_choice(reply: str, candidates: Sequence[str]) -> str | None:
    """Give the letter the released rule reads: the whole option, the letter, or one with `.` or `)`."""
    lettered = {f"{letter}. {text}": letter for letter, text in zip("ABCD", candidates, strict=False)}
    if reply in lettered:
        return lettered[reply]
    if reply in _RELEASED_LETTERS or reply[:2] in {f"{letter}{mark}" for letter in "ABCD" for mark in ".)"}:
        return reply[0]
    return None


def caption_letter(reply: str, question: str, candidates: Sequence[str]) -> Reading:
    """Read which caption a reply names: by its name or number in the question, by letter, or by its text."""
    text = plain_text(reply)
    marks = [found["mark"] for found in _LABELLED.finditer(question)]
    found = re.match(r"\W*(?:(?:Caption|Option|Sentence)\s+)?(\w)\b", text, re.IGNORECASE)
    if found and found[1] in marks and found[1].isdigit():
        return Reading(marks.index(found[1]), "number in front")
    told = re.findall(r"\b(?:is|caption|option|sentence|answer:?)\s+(\d)\b", text, re.IGNORECASE)
    if told and set(told) <= set(marks):
        places = {marks.index(mark) for mark in told}
        return Reading(places.pop(), "number announced") if len(places) == 1 else Reading(None, "several")
    return read_choice(re.sub(r"\b(?:Caption|Sentence)\s+(?=\w\b)", "Option ", reply), candidates)


def released_caption(reply: str, question: str, candidates: Sequence[str]) -> str | None:
    """Give the caption the released rule reads; None where it would ask a judge."""
    for found, text in zip(_LABELLED.finditer(question), candidates, strict=True):
        sentence = reply.split(") ")[1] if ") " in reply else reply
        names = (found[0], found["name"], found["mark"], text)
        if reply in names or reply.replace(".", "") in names or sentence == text:
            return text
    return None


_FIRST_WORDS = {"yes": "yes", "yeah": "yes", "yep": "yes", "y": "yes", "no": "no", "nope": "no", "n": "no"}
_RELEASED_LETTERS = frozenset("ABCD")
