"""The strict reading of a reply to a multiple-choice question: rules in order, the first that fits decides.

Nothing is ever guessed: a reply that names no option, or several, stays unread and counts as wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from st_llm_cli.bench.sample import LETTERS

EMPTY = "empty"
DEGENERATE = "degenerate"
SEVERAL = "several"
UNPARSED = "unparsed"


@dataclass(frozen=True)
class Reading:
    """What a reply was taken to say."""

    option: int | None
    """Place of the option among the candidates, from 0; None if the reply names none, or several."""
    rule: str
    """Name of the rule that decided: a key of `RULES`, or `empty`, `degenerate`, `several`, `unparsed`."""


def read_choice(reply: str, candidates: Sequence[str]) -> Reading:
    """Read which option a reply names.

    Args:
        reply: Text as generated.
        candidates: Texts of the options, at least one.
    """
    text = plain_text(reply)
    void = void_reason(text)
    if void is not None:
        return Reading(None, void)
    for name, rule in RULES.items():
        found = rule(text, candidates)
        if len(found) > 1:
            return Reading(None, SEVERAL)
        if found:
            return Reading(found.pop(), name)
    return Reading(None, UNPARSED)


def void_reason(reply: str) -> str | None:
    """Say why a reply says nothing: `empty` (blank) or `degenerate` (no letter, no digit); else None."""
    if not reply.strip():
        return EMPTY
    return None if any(character.isalnum() for character in reply) else DEGENERATE


def plain_text(reply: str) -> str:
    """Take away thoughts, tags and marks of emphasis; wide and circled letters become plain."""
    text = unicodedata.normalize("NFKC", reply)
    text = re.sub(r"<think>.*?</think>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    text = text.split("###")[0]
    text = re.sub(r"</?[a-zA-Z][^<>]*>", " ", text)
    text = text.replace("\\boxed", "").replace("{", " ").replace("}", " ")
    return re.sub(r"[*_`\"“”]", "", text).strip()


def plain_words(text: str) -> str:
    """Give the words of a text, small, with single blanks and nothing else."""
    kept = "".join(character if character.isalnum() else " " for character in plain_text(text).casefold())
    return " ".join(kept.split())


def _alone(text: str, candidates: Sequence[str]) -> set[int]:
    """Find nothing but one letter: `C`, `(c)`, `C.`."""
    found = re.fullmatch(r"\W*([A-Za-z])\W*", text)
    return _options(candidates, [found[1]]) if found else set()


def _in_front(text: str, candidates: Sequence[str]) -> set[int]:
    """Find a letter set off at the very front: `(C) text`, `C) text`, `[C]`, `C. text`, `C - text`."""
    line = text.splitlines()[0]
    found = re.match(r"\(\s*([A-Za-z])\s*\)|\[\s*([A-Za-z])\s*\]|([A-Z])\s*[).\]:,]|([A-Z])\s+-\s", line)
    if found is None:
        return set()
    first = next(letter for letter in found.groups() if letter)
    rest = line[found.end() :]
    option = _options(candidates, [first])
    if option and plain_words(rest) == plain_words(candidates[min(option)]):
        return option  # the text of an option may itself look like one: `(A) (B) tricky`
    return option | _options(candidates, re.findall(r"\(\s*([A-Za-z])\s*\)", rest)) if option else set()


def _before_its_text(text: str, candidates: Sequence[str]) -> set[int]:
    """Find a bare letter in front: `C text`. A or I is a word there, unless its own text follows."""
    found = re.match(r"([A-Z])\s+(\S.*)", text)
    option = _options(candidates, [found[1]]) if found else set()
    if not option or found is None:
        return set()
    own = plain_words(found[2]).startswith(plain_words(candidates[min(option)]))
    return option if own or found[1] not in "AI" else set()


def _announced(text: str, candidates: Sequence[str]) -> set[int]:
    """Find the last letter announced as the answer: `the answer is C`, `Option C`, `so (C)`, `it's C`."""
    option: set[int] = set()
    for found in _ANNOUNCED.finditer(text):
        if not _opens_a_text(text[found.start(1) :], candidates) and not _denied(text, *found.span(1)):
            option = _options(candidates, [found[1]]) or option
    return option


def _only_one(text: str, candidates: Sequence[str]) -> set[int]:
    """Find letters before a mark or a line end, anywhere; one of them is an answer, several are none."""
    found = re.finditer(r"(?<![^\W_])([A-Z])(?=\s*(?:$|[)\].,:;!?]))", text, re.MULTILINE)
    letters = [match[1] for match in found if not _denied(text, *match.span(1))]
    return _options(candidates, letters)


def _same_text(text: str, candidates: Sequence[str]) -> set[int]:
    """Find the options whose text is the reply; equal options are one."""
    said = plain_words(text)
    return _one_of_equals(
        [place for place, candidate in enumerate(candidates) if plain_words(candidate) == said], candidates
    )


def _contained_text(text: str, candidates: Sequence[str]) -> set[int]:
    """Find the options whose text is in the reply, leaving out those that are part of a longer one found."""
    said = f" {plain_words(text)} "
    texts = [plain_words(candidate) for candidate in candidates]
    inside = [place for place, words in enumerate(texts) if words and f" {words} " in said]
    longest = [
        place
        for place in inside
        if not any(texts[place] != texts[other] and texts[place] in texts[other] for other in inside)
    ]
    return _one_of_equals(longest, candidates)


def _options(candidates: Sequence[str], letters: Sequence[str]) -> set[int]:
    places = {LETTERS.index(letter.upper()) for letter in letters}
    return {place for place in places if place < len(candidates)}


def _one_of_equals(places: Sequence[int], candidates: Sequence[str]) -> set[int]:
    """Keep the first of options that read the same: naming any of them names all."""
    return set({plain_words(candidates[place]): place for place in reversed(places)}.values())


def _opens_a_text(rest: str, candidates: Sequence[str]) -> bool:
    """Whether a letter is the first word of an option's text, as in `the answer is A dog`."""
    said = plain_words(rest)
    texts = [plain_words(candidate) for candidate in candidates]
    return any(" " in text and text.split()[0] == said[:1] and said.startswith(text) for text in texts)


def _denied(text: str, start: int, end: int) -> bool:
    """Whether a letter is named only to be refused: `not (C)`, `C is not shown`."""
    before = re.search(r"\b(?:not|n't|neither|nor|never)\W*(?:option\W*)?$", text[:start], re.IGNORECASE)
    after = re.match(
        r"\W{0,2}(?:is|are|was|does|do|can|could|would)(?:n't|\s*not)\b", text[end:], re.IGNORECASE
    )
    return before is not None or after is not None


# The letter is large, or small in brackets; `the answer is a dog` announces nothing.
_ANNOUNCED = re.compile(
    r"(?:\b(?i:answer|option|choice|so|therefore|thus|hence|it\s+is|it['\u2019]s)|答案|选项|选择|选)"
    r"(?:\s*(?i:\bis\b|\bwould\s+be\b|\bmust\s+be\b|\bshould\s+be\b|\boption\b|\bthe\b|是|为|[:=,]))*"
    r"\s*[(\[]?\s*([A-Z](?![A-Za-z'])|(?<=\()[a-z](?=\)))"
)

RULES: dict[str, Callable[[str, Sequence[str]], set[int]]] = {
    "letter alone": _alone,
    "letter in front": _in_front,
    "letter before its text": _before_its_text,
    "letter announced": _announced,
    "same text": _same_text,
    "only letter": _only_one,
    "text contained": _contained_text,
}
"""Rules in the order in which they are tried; each gives the places of all options it sees."""
