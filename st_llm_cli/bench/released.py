"""Multiple choice as the released MVBench script decides it, defects included; published numbers do so."""

from __future__ import annotations

from collections.abc import Sequence

# Not a letter: what the released code gets when the answer is none of the candidates (one before `A`).
NO_OPTION = "@"


def key_text(candidates: Sequence[str], answer: str) -> str:
    """Give the right answer as the script writes it, `(C) text`; of equal candidates the last is right."""
    places = [place for place, candidate in enumerate(candidates) if candidate == answer]
    letter = chr(ord("A") + places[-1]) if places else NO_OPTION
    return f"({letter}) {answer}"


def reply_text(reply: str) -> str:
    """Give what the script compares of a reply: an opening bracket and the first line."""
    return "(" + reply.strip().split("\n")[0]


def is_right(reply: str, candidates: Sequence[str], answer: str) -> bool:
    """Compare the first words of reply and key, up to the first blank: either may be inside the other.

    The text of the options is never looked at. A reply without any word is right, since the opening bracket
    is part of every key; and a reply that begins with the article `A` chooses the first option.
    """
    return first_words_agree(reply_text(reply), key_text(candidates, answer))


def first_words_agree(prediction: str, key: str) -> bool:
    """Compare what the script took from a reply with the right answer and its letter, as it does."""
    said, right = prediction.lower().split(" ")[0], key.lower().split(" ")[0]
    return said.replace(".", "") in right or right in said


def letter_of(reply: str, count: int) -> str | None:
    """Give the first option a reply would be right for; None if for none.

    A reply that would be right for every option names none of them.
    """
    said = reply_text(reply).lower().split(" ")[0]
    letters = [chr(ord("A") + place) for place in range(count)]
    fits = [
        letter
        for letter in letters
        if said.replace(".", "") in f"({letter.lower()})" or f"({letter.lower()})" in said
    ]
    return fits[0] if fits and len(fits) < max(count, 2) else None
