"""From a path or name to a checked recipe; every error names file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe.lint import find_contradictions
from st_llm_cli.recipe.problems import explain, find_unwritable, report
from st_llm_cli.recipe.reading import Place, RecipeLoader, dotted, kind_of, read_yaml
from st_llm_cli.recipe.schema import Recipe

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
    data, root = read_yaml(path)
    for override in overrides:
        _apply(data, override)
    overridden = {_split(override)[0] for override in overrides}
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        problems = explain(error)
    else:
        problems = find_unwritable(data) or find_contradictions(recipe)
        if not problems:
            return recipe
    raise report(path, root, problems, overridden)


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
        value = yaml.load(text, Loader=RecipeLoader)
    except yaml.YAMLError as error:
        raise RecipeError("the value is not valid YAML", where=where, fix="quote it") from error
    at: Any = data
    for depth, step in enumerate(place):
        so_far = dotted(place[:depth])
        if isinstance(at, list):
            if not isinstance(step, int) or step >= len(at):
                what = f"{so_far} is a list of {len(at)}, '{step}' is not one of its entries"
                raise RecipeError(what, where=where, fix="entries are counted from 0")
        elif not isinstance(at, dict):
            what = f"{so_far} is {kind_of(at)}, which has no '{step}' inside"
            raise RecipeError(what, where=where, fix=f"set {so_far} as a whole")
        elif depth < len(place) - 1 and at.get(str(step)) is None:
            at[str(step)] = {}
        step = step if isinstance(at, list) else str(step)
        if depth == len(place) - 1:
            at[step] = value
        at = at[step]
