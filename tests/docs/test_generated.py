"""Pages written from the program say what the program says; `make docs` writes them anew."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "recipes.md", "rich-shapes.md"])
def test_page_is_fresh(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    there = (DOCS / name).read_text(encoding="utf-8")
    assert there == generator().PAGES[name](), "run `make docs` and commit what it writes"


def test_pictures_of_the_rich_world_are_there_and_small() -> None:
    page = (DOCS / "rich-shapes.md").read_text(encoding="utf-8")
    names = re.findall(r"!\[eight frames\]\((.*?)\)", page)
    assert len(names) >= 4
    assert all((DOCS / name).stat().st_size <= 60_000 for name in names)
