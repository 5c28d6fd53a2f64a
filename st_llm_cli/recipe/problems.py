"""What is wrong with a recipe, in words a user can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError

from st_llm_cli.errors import RecipeError
from st_llm_cli.json_text import HALF_CHARACTER
from st_llm_cli.recipe.reading import Place, dotted, kind_of, line_of
from st_llm_cli.recipe.schema import Recipe


class Problem(NamedTuple):
    """One thing wrong with a recipe."""

    place: Place
    """Keys from the root to the setting concerned."""
    what: str
    """What is wrong with it, and what to do."""


def explain(error: ValidationError) -> list[Problem]:
    """What the schema found wrong, each cause once."""
    problems = [_explain(detail) for detail in error.errors()]
    # pydantic calls a list too short whose entries are themselves wrong: only the cause is of use.
    inner = [problem.place for problem in problems]
    short = {detail["loc"] for detail in error.errors() if detail["type"] == "too_short"}
    caused = {
        place for place in short if any(len(p) > len(place) and p[: len(place)] == place for p in inner)
    }
    return [problem for problem in problems if problem.place not in caused]


def _explain(detail: Any) -> Problem:
    """One of pydantic's errors in the words of this program."""
    place: Place = tuple(detail["loc"])
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(place, "unknown key; " + _did_you_mean(str(place[-1]), _known_keys(place[:-1])))
    if kind == "missing":
        return Problem(place, "is missing")
    if kind == "too_short":
        return Problem(place, "is empty; it needs at least one entry")
    if kind == "value_error":
        return Problem(place, str(context["error"]))
    if kind == "model_type":
        keys = ", ".join(_known_keys(place))
        return Problem(place, f"must be a block with the keys {keys}, not {kind_of(given)}")
    if kind == "literal_error":
        hint = _did_you_mean(str(given), re.findall(r"'([^']*)'", str(context["expected"])))
        return Problem(place, f"must be {context['expected']}, not {given!r}" + _question(hint))
    if kind in EXPECTED:
        return Problem(place, f"must be {EXPECTED[kind]}, not {kind_of(given)}")
    message = str(detail["msg"]).removeprefix("Input ").replace("should be", "must be")
    return Problem(place, f"{message[0].lower()}{message[1:]}, not {given!r}")


def find_unwritable(value: Any, place: Place = ()) -> list[Problem]:
    """Find the texts of a recipe that hold half a character or NUL: no file takes the one, no name the other.

    Args:
        value: Contents of the recipe, or of a part of it.
        place: Where in the recipe that is.
    """
    if isinstance(value, str):
        for pattern, what, fix in UNWRITABLE:
            if pattern.search(value):
                return [Problem(place, f"holds {what}: {value!a}; {fix}")]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [problem for step, part in inner for problem in find_unwritable(part, (*place, step))]


def _question(hint: str) -> str:
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def _known_keys(place: Place) -> list[str]:
    """Keys of the block that stands at a place, by walking the schema's annotations."""
    block: type[BaseModel] = Recipe
    for step in place:
        if isinstance(step, int):
            continue  # entries of a list share the block of the list's annotation
        found = list(_blocks(block.model_fields[step].annotation))
        block = found[0]
    return list(block.model_fields)


def _blocks(annotation: Any) -> Iterable[type[BaseModel]]:
    """Block classes named anywhere in an annotation such as `tuple[Stage, ...]` or `Masking | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _blocks(part)


def report(path: Path, root: yaml.Node, problems: list[Problem], overridden: set[Place]) -> RecipeError:
    """One error that lists every problem with its line."""
    lines = []
    for place, what in sorted(problems, key=lambda problem: line_of(root, problem.place)):
        overriding = [key for key in overridden if key[: len(place)] == place or place[: len(key)] == key]
        origin = "--set" if overriding else f"line {line_of(root, place)}"
        lines.append((f"{origin}, {dotted(place)}" if place else origin, what))
    if len(lines) == 1:
        (place_text, what) = lines[0]
        return RecipeError(what, where=f"{path}, {place_text}")
    listed = "".join(f"\n  {place_text}: {what}" for place_text, what in lines)
    return RecipeError(f"{len(lines)} problems{listed}", where=str(path))


UNWRITABLE = (
    (HALF_CHARACTER, "half a character, which no file takes", "write it in full, or leave it out"),
    # Nobody means it in texts that are no names either.
    (re.compile(r"\x00"), "NUL, which no name and no command takes", "leave it out"),
)
"""Patterns of what cannot be written, what it is, and what to do."""
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What pydantic's errors ask for, in words."""
