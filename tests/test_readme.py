"""The README names what exists, and nothing else."""

import re
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from st_llm_cli.cli.main import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> dict[str, set[str]]:
    """Names of the commands, each with its subcommands."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return {
        name: set(command.commands) if isinstance(command, TyperGroup) else set()
        for name, command in group.commands.items()
    }


def table() -> dict[str, set[str]]:
    """Commands of the README's table, each with the subcommands it names."""
    rows = re.findall(r"^\| `stllm ([a-z-]+)([^`]*)`", README, re.MULTILINE)
    return {name: set(re.findall(r"[a-z]+", rest.replace("VIDEO", ""))) for name, rest in rows}


def test_table_names_every_command() -> None:
    assert set(table()) == set(commands())


def test_subcommands_of_the_table_exist() -> None:
    for name, named in table().items():
        assert named <= commands()[name]


def test_every_command_shown_exists() -> None:
    shown = set(re.findall(r"\bstllm ([a-z][a-z-]+)", README))
    assert shown <= set(commands())


def test_tree_is_the_tree() -> None:
    tree = README.split("    st_llm_cli/\n")[1].split("\n\n")[0]
    named = set(re.findall(r"[├└]── ([a-z_]+)(?:/|\.py)", tree))
    package = ROOT / "st_llm_cli"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert named == {name for name in there if not name.startswith("__")}
    above = set(re.findall(r"^    ([a-z]+)/ ", tree, re.MULTILINE))
    assert above == {"recipes", "tests", "docs"}
    assert all((ROOT / name).is_dir() for name in above)
