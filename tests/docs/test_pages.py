"""Pages name what exists, and their snippets run."""

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import st_llm_cli
from st_llm_cli.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def snippets(name: str) -> list[str]:
    return CODE.findall((ROOT / "docs" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    words = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", words):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"(?:^    |`)stllm ([^`\n]*)", text, re.MULTILINE):
        name, *rest = line.split()
        if name.startswith("-"):
            continue
        assert name in group.commands, line
        command = group.commands[name]
        if isinstance(command, TyperGroup) and rest:
            assert set(re.findall(r"[a-z]+", rest[0])) <= set(command.commands), line


def test_every_page_can_be_reached() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "README.md"])
    for page in PAGES:
        assert re.search(rf"\((docs/)?{re.escape(page.name)}\)", text), page.name


def test_api_page_lists_the_public_names() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(st_llm_cli.__all__)


@pytest.mark.parametrize("number", range(len(snippets("extending.md"))))
def test_extending_works_as_written(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from st_llm_cli.bench.benchmarks import BENCHMARKS
    from st_llm_cli.video.sampling import SAMPLERS

    monkeypatch.chdir(tmp_path)
    for table in (BENCHMARKS, SAMPLERS):  # what a snippet adds is taken away again
        for name in ("birds", "ends"):
            monkeypatch.setitem(table, name, None)  # type: ignore[arg-type]
    exec(snippets("extending.md")[number], {"__name__": "snippet"})


def test_python_page_works_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from st_llm_cli.shapes.demo import demo_clips
    from st_llm_cli.stages.export import export

    monkeypatch.chdir(tmp_path)
    demo_clips(tmp_path / "clips")
    ours, with_transformers = snippets("api.md")
    exec(ours, {"__name__": "snippet"})
    said = capsys.readouterr().out
    assert "no such file or folder nowhere.mp4" in said
    export("tiny", tmp_path / "exported")
    exec(with_transformers, {"__name__": "snippet"})
    assert capsys.readouterr().out.splitlines() == said.splitlines()[:1], (
        "another answer to the same question"
    )
