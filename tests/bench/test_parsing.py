"""Replies to multiple-choice questions, read strictly and as released."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_llm_cli.bench.parsing import Reading, read_choice
from st_llm_cli.bench.released import is_right, key_text, letter_of, reply_text
from st_llm_cli.bench.sample import LETTERS
from tests.bench.golden import golden_params, golden_rows

ROWS = golden_params("mvbench_match.jsonl")
# Rows on which `strict` and a careful human differ; none is known.
KNOWN_DIFFERENCES: set[str] = set()
PETS = ["a dog", "a cat", "A fish"]


def strictly_right(row: dict[str, Any]) -> bool:
    reading = read_choice(row["raw_output"], row["candidates"])
    return reading.option is not None and row["candidates"][reading.option] == row["answer"]


@pytest.mark.parametrize("row", ROWS)
def test_released_verdict(row: dict[str, Any]) -> None:
    right = is_right(row["raw_output"], row["candidates"], row["answer"])
    assert right is row["expected"]["stllm_pipeline"]
    assert key_text(row["candidates"], row["answer"]) == row["gt"]
    assert reply_text(row["raw_output"]) == row["stllm_pred"]


@pytest.mark.parametrize("row", [row for row in ROWS if row.values[0]["intended"]["correct"] is not None])
def test_strict_reading_is_the_human_one(row: dict[str, Any]) -> None:
    differs = strictly_right(row) is not row["intended"]["correct"]
    assert differs == (row["id"] in KNOWN_DIFFERENCES)


def test_strict_agrees_with_humans_on_97_percent() -> None:
    rows = [row for row in golden_rows("mvbench_match.jsonl") if row["intended"]["correct"] is not None]
    agreed = sum(strictly_right(row) is row["intended"]["correct"] for row in rows)
    assert agreed / len(rows) >= 0.97


@pytest.mark.parametrize(
    ("reply", "option", "rule"),
    [
        ("", None, "empty"),
        (" \n", None, "empty"),
        (".(", None, "degenerate"),
        ("B", 1, "letter alone"),
        ("(b)", 1, "letter alone"),
        ("B) whatever\n(C) is wrong", 1, "letter in front"),
        ("(A) or (B)", None, "several"),
        ("A dog", 0, "same text"),
        ("B dogs run", 1, "letter before its text"),
        ("A fish", 2, "same text"),
        ("The answer is A fish.", 2, "text contained"),
        ("The answer is a cat.", 1, "text contained"),
        ("The answer is B.", 1, "letter announced"),
        ("Option A is not shown, so (C)", 2, "letter announced"),
        ("A blurry shape", None, "unparsed"),
        ("a dog chases a cat", None, "several"),
        ("(H)", None, "unparsed"),
        ("<think>(A)?</think> C", 2, "letter alone"),
    ],
)
def test_rule_that_decides(reply: str, option: int | None, rule: str) -> None:
    assert read_choice(reply, PETS) == Reading(option, rule)


def test_naming_one_of_two_equal_options_names_an_answer() -> None:
    assert read_choice("open it", ["Open it.", "Close it.", "Open it."]).option == 0


def test_longer_of_two_options_found_is_meant() -> None:
    assert read_choice("it was not moving at all", ["moving", "not moving"]).option == 1


@given(st.text(), st.lists(st.text(), min_size=1, max_size=8))
def test_any_reply_gets_a_reading_within_the_options(reply: str, candidates: list[str]) -> None:
    option = read_choice(reply, candidates).option
    assert option is None or 0 <= option < len(candidates)


@given(st.lists(st.text(alphabet="abc def", min_size=3), min_size=2, max_size=5), st.data())
def test_released_answers_are_read_alike_by_both_scorers(candidates: list[str], data: st.DataObject) -> None:
    option = data.draw(st.integers(0, len(candidates) - 1))
    reply = f"{LETTERS[option]}) {candidates[option]}"
    assert read_choice(reply, candidates).option == option
    assert letter_of(reply, len(candidates)) == LETTERS[option]


def test_released_reply_without_a_word_names_no_option_and_is_right() -> None:
    assert is_right("", ["one", "two"], "two")
    assert letter_of("", 2) is None
