"""Two runs over the same questions."""

import pytest

from st_llm_cli.bench.compare import compare_runs
from st_llm_cli.bench.sample import Media, Prediction, Sample
from st_llm_cli.errors import DataError


def run_of(
    letters: str, *, start: int = 0, clips: int | None = None, question: str = "q"
) -> list[Prediction]:
    """A run whose right answer is always B; two tasks in turn."""
    found = []
    for number, letter in enumerate(letters, start=start):
        clip = Media(f"{number % clips if clips else number}.mp4", None)
        task = "even" if number % 2 == 0 else "odd"
        sample = Sample(f"id{number}", task, "choice", (clip,), question, question, "two", ("one", "two"))
        found.append(Prediction(sample, letter))
    return found


def test_better_run_is_told_from_chance() -> None:
    compared = compare_runs(run_of("A" * 10 + "B" * 10), run_of("B" * 20))
    assert (compared.first, compared.second, compared.difference) == (0.5, 1.0, 0.5)
    assert compared.differs and compared.p_value < 0.01 and compared.mcnemar_p_value < 0.01
    assert 0 < compared.low < 0.5 < compared.high < 1
    assert (len(compared.won), compared.lost) == (10, ())


def test_runs_that_trade_questions_are_not_told_apart() -> None:
    compared = compare_runs(run_of("AABB"), run_of("BBAA"))
    assert (compared.difference, compared.differs) == (0.0, False)
    assert (compared.won, compared.lost) == (("id0", "id1"), ("id2", "id3"))


def test_questions_about_one_clip_count_as_one() -> None:
    apart = compare_runs(run_of("A" * 20), run_of("B" * 20))
    together = compare_runs(run_of("A" * 20, clips=3), run_of("B" * 20, clips=3))
    assert apart.differs and not together.differs


def test_clips_that_all_agree_do_not_make_a_difference_certain() -> None:
    """Drawing clips that are all alike gives one number; of 3 or 20 such clips others may still differ."""
    few, many = (compare_runs(run_of("A" * n), run_of("A" * n)) for n in (3, 20))
    assert (few.low, few.high) == (pytest.approx(-0.5615, abs=1e-3), pytest.approx(0.5615, abs=1e-3))
    assert few.low < many.low < 0 < many.high < 0.2
    whole = compare_runs(run_of("A" * 20), run_of("B" * 20))
    assert (whole.difference, whole.high) == (1.0, 1.0) and 0.8 < whole.low < 1


def test_tasks_are_corrected_for_their_number() -> None:
    compared = compare_runs(run_of("A" * 20), run_of("B" * 20))
    assert {name: each.n for name, each in compared.tasks.items()} == {"even": 10, "odd": 10}
    assert compared.tasks["even"].p_value == pytest.approx(2 * 2 / 2**10)


def test_other_answers_are_listed_also_where_both_are_wrong() -> None:
    compared = compare_runs(run_of("ABA??"), run_of("AB?A?"))
    assert compared.disagreed == {"id2": ("A", None), "id3": (None, "A")}
    assert (compared.agreement, compared.won, compared.lost) == (0.6, (), ())


def test_only_shared_questions_are_compared() -> None:
    compared = compare_runs(run_of("AAA"), run_of("BBB", start=1))
    assert (compared.n, compared.only_first, compared.only_second) == (2, 1, 1)


def test_runs_without_shared_questions_are_refused() -> None:
    with pytest.raises(DataError, match="no question in common"):
        compare_runs(run_of("A"), run_of("A", start=5))


def test_same_id_for_another_question_is_refused() -> None:
    with pytest.raises(DataError, match="'id0' is another question in each run"):
        compare_runs(run_of("A"), run_of("A", question="other"))
