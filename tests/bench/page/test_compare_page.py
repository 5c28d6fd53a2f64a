"""The page of a comparison, as far as it can be read without a browser."""

from st_llm_cli.bench.compare import compare_runs, in_words
from st_llm_cli.bench.page.compare_page import compare_page
from st_llm_cli.bench.record import Strip
from tests.bench.page.test_markup import EVIL
from tests.bench.page.test_run_page import data_of
from tests.bench.test_compare import run_of


def test_every_flip_comes_first_with_both_answers() -> None:
    first, second = run_of("AABB"), run_of("ABBA")
    page = compare_page(compare_runs(first, second), ("old", "new"), first, second, {})
    data = data_of(page)
    assert [(row["id"], row["state"]) for row in data["rows"]] == [
        ("id1", "won"),
        ("id3", "lost"),
        ("id0", "neither"),
        ("id2", "both"),
    ]
    assert data["scorers"] == ["new", "old"] and data["others"] == "replies"
    assert data["rows"][0]["others"] == {"old": ["A", False], "new": ["B", True]}
    assert "Not distinguishable (0.0 ± " in page


def test_page_says_what_the_terminal_says() -> None:
    first, second = run_of("A" * 20), run_of("B" * 20)
    compared = compare_runs(first, second)
    page = compare_page(compared, ("old", "new"), first, second, {"1.mp4": Strip(b"x", (0.0,))})
    said = in_words(compared)
    assert said.startswith("better by 100.0 ± 0.0 points, p = ") and f"B{said[1:]}." in page
    assert "even: +100.0" in page and data_of(page)["rows"][1]["strips"] == [0]


def test_questions_only_one_run_was_asked_are_left_out_and_counted() -> None:
    first, second = run_of("AAA"), run_of("BBB", start=1)
    page = compare_page(compare_runs(first, second), ("old", "new"), first, second, {})
    assert len(data_of(page)["rows"]) == 2
    assert "Left out: 1 only in the base, 1 only in the other run." in page


def test_evil_names_stay_texts() -> None:
    first, second = run_of("A"), run_of("B")
    page = compare_page(compare_runs(first, second), (EVIL, "new"), first, second, {})
    assert page.count("<script") == 2 and "<img" not in page
