"""What docs/claims.md says is what the measured rows say."""

import re
from collections import Counter

import pytest

from st_llm_cli.recipe import load_recipe
from tests.performance import claims_events, claims_long, claims_start
from tests.performance.claims_long import LongRow
from tests.performance.claims_page import PAGE, ROWS, tables
from tests.performance.claims_rows import Row, read_rows

EVENTS, LONG = read_rows(ROWS / "events.jsonl", Row), read_rows(ROWS / "long.jsonl", LongRow)
LARGER = read_rows(ROWS / "events-large.jsonl", Row)
NAMES = ["events", "long"]
TEXT = PAGE.read_text(encoding="utf-8")


def test_tables_are_those_of_the_rows() -> None:
    shown = dict(re.findall(r"<!-- ([a-z ]+) -->\n((?:\|.*\n)+)<!-- end -->", TEXT))
    expected = tables(EVENTS, LARGER, LONG)
    assert shown == {name: "".join(f"{line}\n" for line in lines) for name, lines in expected.items()}


@pytest.mark.parametrize(
    ("rows", "variants", "seeds"),
    [(EVENTS, claims_events.VARIANTS, 3), (LONG, claims_long.VARIANTS, 3)],
    ids=NAMES,
)
def test_every_variant_was_run_with_all_seeds_and_is_explained(
    rows: list[Row], variants: dict[str, list[str]], seeds: int
) -> None:
    runs = Counter((row.variant, row.seed) for row in rows)
    assert runs == Counter((name, seed) for name in variants for seed in range(seeds))
    for name in variants:
        assert f"\n| `{name}` | " in TEXT


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_that_of_the_recipe(name: str) -> None:
    (train,) = load_recipe(f"claims/{name}").training
    assert f"{train.steps} steps of {train.batch_size} clips" in TEXT


def test_the_larger_size_is_said_and_its_runs_are_of_it() -> None:
    large = claims_start.SIZES["large"].events
    clips = f"{large.clips // 1000} {large.clips % 1000:03}"
    assert f"{large.steps}\nsteps of {large.batch_size} clips of {clips}" in TEXT
    runs = Counter((row.variant, row.seed) for row in LARGER)
    assert set(runs.values()) == {1}
    assert {variant for variant, _ in runs} <= set(claims_events.VARIANTS)
