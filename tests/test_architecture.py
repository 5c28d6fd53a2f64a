"""The house's frame: who may import whom, how long a function may be, what `--help` may load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import st_llm_cli

PACKAGE = Path(st_llm_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    {"errors", "json_text"},
    {"recipe"},
    {"video", "tokens", "model", "bench", "shapes"},
    {"training"},
    {"stages"},
    {"cli"},
)
"""From the ground up. A file imports from its own room or a lower floor, never from a sibling of its room."""

LONGEST_FUNCTION_LINES = 60
"""What a person sees without scrolling; the docstring is not counted."""

TOO_HEAVY_FOR_HELP = ("torch", "transformers", "numpy", "av", "decord", "PIL", "yaml")


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room of a module of ours; None for the package itself and for `__main__`."""
    parts = module.split(".")
    return None if len(parts) < 2 or parts[1] == "__main__" else parts[1]


def imports_of(tree: ast.AST, module: str, everywhere: bool) -> Iterator[str]:
    """Our own modules that a file imports, by full name.

    With `everywhere` also under TYPE_CHECKING: the floors hold for types too.
    """
    for node in ast.walk(tree) if everywhere else at_run_time(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("st_llm_cli"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write the full name"
            if node.module and node.module.split(".")[0] == "st_llm_cli":
                for name in node.names:
                    inner = f"{node.module}.{name.name}"
                    yield inner if inner in MODULES else node.module


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported or its functions are called."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from at_run_time(node)


TREES = {module_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
MODULES = set(TREES)


def test_there_is_something_to_check() -> None:
    assert {"st_llm_cli.errors", "st_llm_cli.video.reader", "st_llm_cli.cli.main"} <= MODULES


def test_every_file_stands_in_a_room_of_the_plan() -> None:
    known = {room for rooms in FLOORS for room in rooms}
    assert {room_of(module) for module in MODULES} - {None} <= known


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down_the_floors(module: str) -> None:
    room = room_of(module)
    if room is None:
        return  # the public names and the entry point look into every room
    for imported in imports_of(TREES[module], module, everywhere=True):
        other = room_of(imported)
        if other is not None and other != room:
            assert floor_of(other) < floor_of(room), f"{module} imports {imported}"


def test_no_two_modules_import_each_other() -> None:
    graph = {
        module: set(imports_of(tree, module, everywhere=False)) - {module} for module, tree in TREES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_function_needs_scrolling(module: str) -> None:
    for function in functions_of(TREES[module]):
        lines = lines_of(function, with_signature=not (room_of(module) == "cli" and is_command(function)))
        assert lines <= LONGEST_FUNCTION_LINES, f"{function.name}: {lines} lines"


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef, *, with_signature: bool) -> int:
    """Lines of a function without its docstring."""
    first, *rest = function.body
    end = function.end_lineno
    assert end is not None
    body = end - first.lineno + 1
    if ast.get_docstring(function) is not None:
        body = end - rest[0].lineno + 1 if rest else 0
    return body + (first.lineno - function.lineno if with_signature else 0)


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the parameters are options with their help, which are as many as the command needs."""
    return any("typer" in ast.dump(argument) for argument in function.args.args)


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [file for file in FILES if file.stem in drawers]


def loaded_after(code: str) -> set[str]:
    """Heavy modules that are loaded once some code has run in a fresh interpreter."""
    report = f"print(*(name for name in {TOO_HEAVY_FOR_HELP!r} if name in sys.modules), file=sys.stderr)"
    command = [sys.executable, "-c", f"{code}\nimport sys\n{report}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize("module", ["st_llm_cli", "st_llm_cli.cli.main"])
def test_import_loads_nothing_heavy(module: str) -> None:
    assert not loaded_after(f"import {module}")


def test_probe_sees_what_is_heavy() -> None:
    assert loaded_after("import numpy") == {"numpy"}


def commands() -> list[list[str]]:
    """Every command and subcommand, found by asking the program itself."""
    from typer.core import TyperGroup
    from typer.main import get_command

    from st_llm_cli.cli.main import app

    found: list[list[str]] = [[]]
    todo: list[tuple[list[str], object]] = [([], get_command(app))]
    while todo:
        path, command = todo.pop()
        if isinstance(command, TyperGroup):
            for name, inner in command.commands.items():
                found.append([*path, name])
                todo.append(([*path, name], inner))
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    asked = [*command, "--help"]
    code = (
        "from st_llm_cli.cli.main import main\n"
        f"try:\n    main({asked!r})\nexcept SystemExit as left:\n    assert left.code == 0, left.code"
    )
    assert not loaded_after(code)
