"""The recording of a conversation in the README is small, whole, and played from real screens."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_chat", DOCS / "record.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(svg: str, *, last: bool) -> list[str]:
    """Words that are shown: on the last screen, or on any."""
    root = ElementTree.fromstring(svg)
    lines = {line.get("id"): "".join(line.itertext()) for line in root.iter(f"{SVG}g")}
    uses = [use for use in root.iter(f"{SVG}use") if not (last and use.get("visibility"))]
    return [lines[str(use.get("href")).removeprefix("#")] for use in uses]


def test_the_recording_shows_what_was_typed(recorder: ModuleType) -> None:
    svg = (DOCS / "chat.svg").read_text(encoding="utf-8")
    assert len(svg.encode()) < 150_000
    assert "(docs/chat.svg)" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = texts(svg, last=False)
    for typed in recorder.TYPED:
        assert any(line.endswith(typed) for line in shown), typed
    assert any("tok/s" in line for line in texts(svg, last=True))


def test_screens_follow_one_another(recorder: ModuleType) -> None:
    seen = [(0.0, ("$ a",)), (0.5, ("$ ab",)), (60.0, ("$ ab", "\x1b[1mbold", "\x1b[0mplain <&"))]
    screens, total = recorder.shorten(seen)
    assert [at for at, _ in screens] == [0.0, 0.5, 0.5 + recorder.LONGEST_PAUSE_SECONDS]
    svg = recorder.movie(screens, total)
    assert texts(svg, last=True) == ["$ ab", "bold", "plain <&"]
    assert texts(svg, last=False) == ["$ a", "$ ab", "bold", "plain <&"]


def test_half_blocks_become_two_colours(recorder: ModuleType) -> None:
    (line,) = recorder.drawn(("\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m",))
    assert line.count("<rect") == 2
    assert 'fill="#ff0000"' in line and 'fill="#0000ff"' in line
