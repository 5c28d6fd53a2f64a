"""Recipes: one YAML file says what is done to which model with which data.

schema.py    what a recipe may say, block by block, with every default
loading.py   path or name → checked `Recipe`; errors name file, line and key
lint.py      settings that are valid one by one and cannot work together
differences.py   settings that two recipes differ in
"""

from __future__ import annotations

from st_llm_cli.recipe.loading import dump_recipe, list_recipes, load_recipe, recipes_folder
from st_llm_cli.recipe.schema import Recipe

__all__ = ["Recipe", "dump_recipe", "list_recipes", "load_recipe", "recipes_folder"]
