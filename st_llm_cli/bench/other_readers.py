"""How other programs read a reply to a multiple-choice question: the same reply, other verdicts.

These are diagnostics beside the two scorers: they tell how much of a difference to somebody's number may come
from reading alone. lmms-eval's rules are those of August 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from st_llm_cli.bench.sample import LETTERS, Prediction
from st_llm_cli.bench.tempcompass import released_choice


@dataclass(frozen=True)
class Reader:
    """How a program reads replies for one of its benchmarks."""

    read: Callable[[str, Sequence[str]], str | None]
    """Gives the letter a reply names among some options, None for none."""
    counts_empty: bool = True
    """Whether a reply without a single character is wrong; else it leaves the average."""


def readings_of(predictions: Iterable[Prediction]) -> dict[str, float]:
    """Give the share that each program would call right, of the multiple-choice replies that were written.

    Letters that were scored, not written, are read alike by all; they have no part in it.
    """
    written = [
        each
        for each in predictions
        if each.sample.kind in ("choice", "lettered choice")
        and each.option is None
        and each.reply is not None
    ]
    shares = {}
    for name, reader in READERS.items():
        counted = [each for each in written if each.reply or reader.counts_empty]
        if counted:
            shares[name] = sum(_is_right(each, reader) for each in counted) / len(counted)
    return shares


def _is_right(prediction: Prediction, reader: Reader) -> bool:
    sample = prediction.sample
    said = reader.read(prediction.reply or "", sample.candidates)
    return said == key_letter(sample.candidates, sample.answer)


def lmms_eval_mvbench(reply: str, candidates: Sequence[str]) -> str | None:
    """Read as lmms-eval does for MVBench: the first of the letters A to E that stands alone, small or large.

    The options play no part, and the article "a" names the first of them wherever it stands.
    """
    found = re.search(r"\b[a-e]\b", reply, re.IGNORECASE)
    return found[0].upper() if found else None


def lmms_eval_tvbench(reply: str, candidates: Sequence[str]) -> str | None:
    """Read as lmms-eval does for TVBench: a first lone letter, else how the reply begins, else one text.

    A lone letter that is no option hides the lone letters behind it.
    """
    text, letters = reply.strip().upper(), LETTERS[: max(len(candidates), 2)]
    for pattern in (r"\b([A-Z])\b", r"^[(\[]?([A-Z])"):
        found = re.search(pattern, text)
        if found and found[1] in letters:
            return found[1]
    said = _plain(reply)
    inside = [place for place, own in enumerate(map(_plain, candidates)) if own and own in said]
    return letters[inside[0]] if len(inside) == 1 else None


def lmms_eval_shared(reply: str, candidates: Sequence[str]) -> str | None:
    """Read as the extractor that lmms-eval's newer tasks share: the last large letter that stands alone.

    Where none does, the first character decides, if it is a large letter of an option: `As an AI model` is A.
    """
    letters = LETTERS[: len(candidates)]
    alone = re.findall(r"(?<![A-Za-z])([A-Z])(?![A-Za-z'])", reply)
    named = [letter for letter in alone if letter in letters]
    if named:
        return str(named[-1])
    first = reply.strip()[:1]
    return first if first and first in letters else None


def key_letter(candidates: Sequence[str], answer: str) -> str:
    """Give the letter of the right answer as lmms-eval does: of equal options the first."""
    return LETTERS[candidates.index(answer)]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


READERS: dict[str, Reader] = {
    "lmms-eval for MVBench": Reader(lmms_eval_mvbench, counts_empty=False),
    "lmms-eval for TVBench": Reader(lmms_eval_tvbench),
    "lmms-eval elsewhere": Reader(lmms_eval_shared),
    "TempCompass without its judge": Reader(released_choice),
}
"""Readers by the program and what it uses them for."""
