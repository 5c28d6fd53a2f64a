"""`stllm recipes`: list, show and check recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from st_llm_cli.cli.help_page import Commands
from st_llm_cli.cli.options import DebugOption, JsonOption
from st_llm_cli.errors import DataError

recipes = Commands("recipes", "List, show and check training recipes.")

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a bundled recipe.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting, as in `stages.0.train.lr=1e-5`. Repeatable."
    ),
]


@contextmanager
def points_to(recipe: str) -> Iterator[None]:
    """Say of data that are missing where a bundled recipe says how to come by them."""
    try:
        yield
    except DataError as error:
        from st_llm_cli.recipe.loading import find_recipe, list_recipes

        path = find_recipe(recipe)
        if path not in list_recipes().values():
            raise
        fix = f"{error.fix}; more at the top of {path}"
        raise DataError(error.what, where=error.where, fix=fix) from error


@recipes.command("list")
def list_(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Name the bundled recipes, each with what it does."""
    from st_llm_cli.recipe import list_recipes, load_recipe

    found = {name: load_recipe(path).description for name, path in list_recipes().items()}
    if as_json:
        typer.echo(json.dumps([{"name": name, "description": text} for name, text in found.items()]))
        return
    width = max((len(name) for name in found), default=0)
    for name, description in found.items():
        typer.echo(f"{name:<{width}}  {description}".rstrip())


@recipes.command("show")
def show(recipe: RecipeArgument, settings: SetOption = None, debug: DebugOption = False) -> None:
    """Print a recipe with every default written out."""
    from st_llm_cli.recipe import dump_recipe, load_recipe

    typer.echo(dump_recipe(load_recipe(recipe, settings or [])), nl=False)


@recipes.command("check")
def check(
    files: Annotated[list[str], typer.Argument(metavar="RECIPE", help="YAML files or bundled names.")],
    settings: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Check recipes without running them: keys, values, and settings that cannot work together.

    Every mistake is listed with its line; the exit code is 1 if there is any.
    """
    from st_llm_cli.cli.screen import show_error
    from st_llm_cli.errors import RecipeError
    from st_llm_cli.recipe import load_recipe

    wrong = 0
    for file in files:
        try:
            load_recipe(file, settings or [])
        except RecipeError as error:
            wrong += 1
            show_error(error)
        else:
            typer.echo(f"{file}: ok")
    if wrong:
        raise typer.Exit(1)
