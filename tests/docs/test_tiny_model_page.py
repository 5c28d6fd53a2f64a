"""What docs/tiny-model.md says of the bundled model is what the answers kept beside it say."""

from pathlib import Path

import pytest

from st_llm_cli.model.locate import BUNDLED
from tests.performance.accuracy.page import PLACE
from tests.performance.accuracy.rows import read_rows
from tests.performance.accuracy.tables import CHOICE_KINDS, is_right
from tests.performance.tiny_accuracy import tables

DOCS = Path(__file__).parents[2] / "docs"
CHOICES, ANSWERS = read_rows(DOCS / "tiny-model")
PAGES = [DOCS / "tiny-model.md", BUNDLED["tiny"] / "README.md"]


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return tables(CHOICES, ANSWERS["ends"], ANSWERS["corners"], ANSWERS["plain"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_answers(page: Path, expected: dict[str, str]) -> None:
    shown = {found[1]: found[0] for found in PLACE.finditer(page.read_text(encoding="utf-8"))}
    own = shown.keys() & expected.keys()
    assert "goals" in own
    for name in own:
        body = "\n".join(shown[name].splitlines()[1:-1])
        assert body.strip() == expected[name].strip()


def test_enough_was_asked_of_every_kind() -> None:
    assert len(CHOICES.full) >= 600
    assert {each.sample.task for each in CHOICES.full} == set(CHOICE_KINDS)
    assert all(CHOICES.ceilings[each.sample.id] <= 1 for each in CHOICES.full)
    assert sum(map(is_right, CHOICES.full)) / len(CHOICES.full) >= 0.85
