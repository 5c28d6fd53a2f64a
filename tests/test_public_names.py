import subprocess
import sys

import pytest

import st_llm_cli


@pytest.mark.parametrize("name", st_llm_cli.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(st_llm_cli, name) is not None


def test_public_names_are_sorted_and_listed_by_dir() -> None:
    assert st_llm_cli.__all__ == sorted(st_llm_cli.__all__)
    assert set(st_llm_cli.__all__) <= set(dir(st_llm_cli))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'st_llm_cli' has no attribute 'laod_model'"):
        st_llm_cli.laod_model  # noqa: B018


def test_types_and_names_agree() -> None:
    """What type checkers see (TYPE_CHECKING imports) is what loads at run time."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(st_llm_cli.__file__).read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        name.name: node.module
        for node in guard.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == st_llm_cli._HOMES
    assert set(seen) | {"__version__"} == set(st_llm_cli.__all__)


def test_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "st_llm_cli", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"stllm {st_llm_cli.__version__}\n"
