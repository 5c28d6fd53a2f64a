"""What docs/claims.md says is what the measured rows say."""

import re
from collections import Counter

import pytest

from st_llm_cli.recipe import load_recipe
from tests.performance import claims_events, claims_long
from tests.performance.claims_page import PAGE, Rows, read, tables
from tests.performance.claims_start import SIZES

MEASURED = read()
NAMES = ["events", "long"]
TEXT = PAGE.read_text(encoding="utf-8")


def test_tables_are_those_of_the_rows() -> None:
    shown = dict(re.findall(r"<!-- ([a-z ]+) -->\n((?:\|.*\n)+)<!-- end -->", TEXT))
    expected = tables(MEASURED)
    assert shown == {name: "".join(f"{line}\n" for line in lines) for name, lines in expected.items()}


@pytest.mark.parametrize("size", [MEASURED.small, MEASURED.large], ids=["small", "large"])
def test_every_variant_was_run_with_all_seeds_and_is_explained(size: Rows) -> None:
    for rows, variants in ((size.events, claims_events.VARIANTS), (size.long, claims_long.VARIANTS)):
        runs = Counter((row.variant, row.seed) for row in rows)
        assert runs == Counter((name, seed) for name in variants for seed in range(3))
        for name in variants:
            assert f"\n| `{name}` | " in TEXT


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_that_of_the_recipe(name: str) -> None:
    (train,) = load_recipe(f"claims/{name}").training
    assert f"{train.steps} steps of {train.batch_size} clips" in TEXT


def test_the_larger_size_is_said() -> None:
    text = " ".join(TEXT.split())
    for budget in (SIZES["large"].events, SIZES["large"].long):
        clips = f"{budget.clips:,}".replace(",", " " if budget.clips >= 10_000 else "")
        assert f"{budget.steps} steps of {budget.batch_size} clips of {clips}" in text
