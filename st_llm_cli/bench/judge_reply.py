"""What a judge's reply says, read tolerantly, or as the released scripts read and add it up."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BEST = 5.0


@dataclass(frozen=True)
class Judgement:
    """What a judge said."""

    score: float
    """0 to 5; as released, whatever the judge wrote, cut to a whole number."""
    match: bool | None = None
    """Whether the answer means the same as the reference; None where nothing was asked or said of it."""


class ReleasedCrashError(Exception):
    """The released scripts accept this reply and break on it when they add up; the text is Python's error."""


def read_judgement(reply: str, matches: bool) -> Judgement | None:
    """Read a judge's reply with tolerance for all that stands around it; None if it does not say enough.

    Args:
        reply: As it came.
        matches: Whether a yes or no is needed too.
    """
    value = _embedded(reply)
    if isinstance(value, dict):
        fields = {str(key).strip().lower(): content for key, content in value.items()}
        score, match = _number(fields.get("score")), _yes_or_no(fields.get("pred"))
    else:
        text = reply.replace("\u201c", '"').replace("\u201d", '"')
        found = re.search(r"\bscore['\"]*\s*[:=]\s*['\"]?(-?\d+(?:\.\d+)?)(?![\d/+*])", text, re.IGNORECASE)
        said = re.search(r"\bpred['\"]*\s*[:=]\s*['\"]?(yes|no)\b", text, re.IGNORECASE)
        score, match = _number(found[1] if found else None), _yes_or_no(said[1] if said else None)
    if score is None or not 0 <= score <= BEST or (matches and match is None):
        return None
    return Judgement(score, match if matches else None)


def read_option(reply: str, letters: str) -> str | None:
    """Read which option a judge chose; empty if it chose none of them, None if it does not say.

    Args:
        reply: As it came.
        letters: Letters of the options, `ABCD`.
    """
    value = _embedded(reply)
    said = None
    if isinstance(value, dict):
        fields = {str(key).strip().lower(): content for key, content in value.items()}
        said = next((fields[key] for key in ("option", "answer", "choice") if key in fields), None)
    else:
        found = re.search(r"\b(?:option|answer|choice)\b['\"]*\s*(?:[:=]|is)\s*(.*)", reply, re.IGNORECASE)
        said = found[1] if found else reply
    word = (
        re.match(r"\W*(none|[A-Za-z](?![A-Za-z']))", said, re.IGNORECASE) if isinstance(said, str) else None
    )
    if word is None:
        return None
    if word[1].lower() == "none":
        return ""
    return word[1].upper() if word[1].upper() in letters else None


def released_accepts(reply: str) -> bool:
    """Whether the released scripts keep a reply; what they do not keep they ask for again, without end."""
    try:
        ast.literal_eval(reply.strip(" \t\n"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def released_judgement(reply: str, matches: bool) -> Judgement:
    """Read a reply that the released scripts keep, as they do: scores are cut, `yes` is looked for anywhere.

    Raises:
        ReleasedCrashError: If they would break on it.
    """
    value = ast.literal_eval(reply.strip(" \t\n"))
    try:
        json.dumps(value)
    except TypeError as error:  # the file of this reply is left half written, and read again later
        raise ReleasedCrashError("JSONDecodeError") from error
    if matches and isinstance(value, list):
        value = value[0]
    try:
        score = int(value["score"])
        if not matches:
            return Judgement(float(score))
        said = value["pred"].lower()
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ReleasedCrashError(type(error).__name__) from error
    return Judgement(float(score), True if "yes" in said else False if "no" in said else None)


def released_totals(judgements: Sequence[Judgement], matches: bool) -> dict[str, float]:
    """Add up as the released scripts do: the score over all, the accuracy over those that said yes or no.

    Raises:
        ReleasedCrashError: If they would divide by zero.
    """
    yes = sum(each.match is True for each in judgements)
    no = sum(each.match is False for each in judgements)
    if not judgements or (matches and yes + no == 0):
        raise ReleasedCrashError("ZeroDivisionError")
    score = sum(each.score for each in judgements) / len(judgements)
    return {"accuracy": yes / (yes + no), "score": score} if matches else {"score": score}


def _embedded(reply: str) -> Any:
    """Give the first object written anywhere in a reply, as JSON or as Python; None if there is none."""
    text = reply.replace("\u201c", '"').replace("\u201d", '"').replace("{{", "{").replace("}}", "}")
    for found in re.finditer(r"\{[^{}]*\}", text):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(found[0])
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
            if isinstance(value, dict):
                return value
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _yes_or_no(value: Any) -> bool | None:
    word = value.strip(" .!").lower() if isinstance(value, str) else None
    return {"yes": True, "no": False}.get(word or "")
