"""YAML with YAML 1.2's scalars, no key twice, and the line of every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe.schema import Recipe

Place = tuple[str | int, ...]
"""Keys from the root of a recipe to one of its settings."""


class RecipeLoader(yaml.SafeLoader):
    """YAML 1.2's few scalar types, and no key twice.

    PyYAML reads YAML 1.1, where `1e-5` is a string, `no` is false and `1:30` is ninety.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Contents of a mapping whose keys are text and each there once."""
        seen: dict[Any, yaml.Node] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} is not text", problem_mark=key_node.start_mark
                )
            if key in seen:
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
):
    RecipeLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def read_yaml(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """Contents of a YAML file, and the node tree that knows the lines."""
    try:
        loader = RecipeLoader(path.read_text(encoding="utf-8"))
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
        what = f"is {kind_of(data)}, a recipe is a mapping"
        raise RecipeError(what, where=str(path), fix=f"write the keys {keys} at the left margin")
    return data, root


def line_of(node: yaml.Node, place: Place) -> int:
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


def dotted(place: Place) -> str:
    """A place as it is written with `--set`: `stages.0.train.lr`."""
    return ".".join(str(step) for step in place)


def kind_of(value: Any) -> str:
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
