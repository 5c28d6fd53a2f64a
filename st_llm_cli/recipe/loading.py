"""From a path or name to a checked recipe; every error names file, line and key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe.lint import Problem, find_contradictions
from st_llm_cli.recipe.schema import Recipe

Place = tuple[str | int, ...]
SUFFIXES = (".yaml", ".yml")


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and check all of it.

    Args:
        source: Path of a YAML file, or the name of a bundled recipe such as `tiny/images`.
        overrides: Settings that win over the file, `dotted.key=value`; list entries by number,
            `stages.0.train.lr=1e-5`. Values are YAML and are checked like the file.

    Raises:
        RecipeError: If there is no such file, or it is not YAML, or says something a recipe cannot
            say, or its settings contradict each other. All problems are listed at once.
    """
    path = find_recipe(source)
    data, root = _read(path)
    for override in overrides:
        _apply(data, override)
    overridden = {_split(override)[0] for override in overrides}
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        problems = _explain_all(error)
    else:
        problems = find_contradictions(recipe)
        if not problems:
            return recipe
    raise _report(path, root, problems, overridden)


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe out in full as YAML, defaults included; it reads back equal."""
    # Blocks that are absent stay absent: `null` says nothing that leaving them out does not.
    values = recipe.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def recipes_folder() -> Path:
    """Folder of the recipes that come with the program."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def list_recipes() -> dict[str, Path]:
    """Bundled recipes by name, sorted."""
    folder = recipes_folder()
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def find_recipe(source: str | Path) -> Path:
    """Path of a recipe given by path or by the name of a bundled one.

    Raises:
        RecipeError: If there is none; names that come near are listed.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError("is a folder, a recipe is one YAML file", where=str(path), fix=_near(path))
    bundled = list_recipes()
    name = path.with_suffix("").as_posix() if path.suffix in SUFFIXES else path.as_posix()
    if name in bundled:
        return bundled[name]
    raise RecipeError("no such recipe, as a file or as a bundled one", where=str(path), fix=_near(path))


def _near(path: Path) -> str:
    """What to do when there is no recipe at a path: names that come near."""
    folder = path if path.is_dir() else path.parent
    beside = [str(other) for other in sorted(folder.glob("*")) if other.suffix in SUFFIXES]
    names = [*list_recipes(), *beside]
    near = [name for name in names if Path(name).stem == path.stem]
    near += difflib.get_close_matches(str(path), names, n=3, cutoff=0.6)
    if path.is_dir():
        near = beside
    if near:
        return "did you mean " + " or ".join(f"'{name}'" for name in dict.fromkeys(near[:3])) + "?"
    return "`stllm recipes list` names the bundled ones"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's few scalar types, and no key twice.

    PyYAML reads YAML 1.1, where `1e-5` is a string, `no` is false and `1:30` is ninety.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, yaml.Node] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} is not text", problem_mark=key_node.start_mark
                )
            if key in seen and key != "<<":
                first = seen[key].start_mark.line + 1
                what = f"key '{key}' is given twice, first in line {first}"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key_node.start_mark)
            seen[key] = key_node
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false|True|False|TRUE|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _read(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """Contents of a YAML file, and the node tree that knows the lines."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        data = None if root is None else loader.construct_document(root)
    except UnicodeDecodeError as error:
        raise RecipeError("is not UTF-8 text", where=str(path), fix="a recipe is a YAML file") from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        what = f"is not valid YAML: {error.problem or error.context}"
        raise RecipeError(what, where=where, fix="check the indentation and the quotes there") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"is not valid YAML: {error}", where=str(path)) from error
    keys = ", ".join(Recipe.model_fields)
    if root is None or data is None:
        raise RecipeError("is empty", where=str(path), fix=f"a recipe is a mapping with the keys {keys}")
    if not isinstance(data, dict):
        what = f"is {_kind(data)}, a recipe is a mapping"
        raise RecipeError(what, where=str(path), fix=f"write the keys {keys} at the left margin")
    return data, root


def _split(override: str) -> tuple[Place, str]:
    """`stages.0.train.lr=1e-5` → `("stages", 0, "train", "lr"), "1e-5"`."""
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        what = "is not of the form key=value"
        raise RecipeError(
            what, where=f"--set {override}", fix="write for example --set stages.0.train.lr=1e-5"
        )
    return tuple(int(part) if part.isdigit() else part for part in parts), value


def _apply(data: dict[str, Any], override: str) -> None:
    """Put one `key=value` into the raw contents of a recipe; the schema checks it afterwards."""
    place, text = _split(override)
    where = f"--set {override}"
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError("the value is not valid YAML", where=where, fix="quote it") from error
    at: Any = data
    for depth, step in enumerate(place):
        so_far = _dotted(place[:depth])
        if isinstance(at, list):
            if not isinstance(step, int) or step >= len(at):
                what = f"{so_far} is a list of {len(at)}, '{step}' is not one of its entries"
                raise RecipeError(what, where=where, fix="entries are counted from 0")
        elif not isinstance(at, dict):
            what = f"{so_far} is {_kind(at)}, which has no '{step}' inside"
            raise RecipeError(what, where=where, fix=f"set {so_far} as a whole")
        elif depth < len(place) - 1 and at.get(str(step)) is None:
            at[str(step)] = {}
        step = step if isinstance(at, list) else str(step)
        if depth == len(place) - 1:
            at[step] = value
        at = at[step]


def _explain_all(error: ValidationError) -> list[Problem]:
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
        return Problem(place, f"must be a block with the keys {keys}, not {_kind(given)}")
    if kind == "literal_error":
        hint = _did_you_mean(str(given), re.findall(r"'([^']*)'", str(context["expected"])))
        return Problem(place, f"must be {context['expected']}, not {given!r}" + _question(hint))
    if kind in EXPECTED:
        return Problem(place, f"must be {EXPECTED[kind]}, not {_kind(given)}")
    message = str(detail["msg"]).removeprefix("Input ").replace("should be", "must be")
    return Problem(place, f"{message[0].lower()}{message[1:]}, not {given!r}")


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


def _report(path: Path, root: yaml.Node, problems: list[Problem], overridden: set[Place]) -> RecipeError:
    """One error that lists every problem with its line."""
    lines = []
    for place, what in problems:
        overriding = [key for key in overridden if key[: len(place)] == place or place[: len(key)] == key]
        origin = "--set" if overriding else f"line {_line(root, place)}"
        lines.append((f"{origin}, {_dotted(place)}" if place else origin, what))
    if len(lines) == 1:
        (place_text, what) = lines[0]
        return RecipeError(what, where=f"{path}, {place_text}")
    listed = "".join(f"\n  {place_text}: {what}" for place_text, what in lines)
    return RecipeError(f"{len(lines)} problems{listed}", where=str(path))


def _line(node: yaml.Node, place: Place) -> int:
    """Line of the key at a place, counted from 1; of its nearest ancestor if the file has no such key."""
    line = int(node.start_mark.line) + 1
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = int(node.start_mark.line) + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = [(key, value) for key, value in pairs if key.value == str(step)]
        if not found:
            return line
        line, node = int(found[0][0].start_mark.line) + 1, found[0][1]
    return line


def _dotted(place: Place) -> str:
    return ".".join(str(step) for step in place)


def _kind(value: Any) -> str:
    """A value in words: what it is, and which where that is short."""
    if isinstance(value, dict):
        return "a block"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text '{value[:40]}'"
    return f"{value!r}"


EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What pydantic's errors ask for, in words."""
