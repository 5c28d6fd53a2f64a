"""Verdicts of the two scorers."""

import pytest

from st_llm_cli.bench.sample import Prediction, Sample
from st_llm_cli.bench.scoring import FAILED, answer_words, judge_reply, token_f1


def asked(reply: str | None, answer: str = "two", kind: str = "choice") -> Prediction:
    candidates = ("one", "two", "two") if kind == "choice" else ("one", "two")
    return Prediction(Sample("t/0", "t", kind, (), "q", "q", answer, candidates), reply)


def test_empty_reply_is_wrong_strictly_and_right_as_released() -> None:
    strict, released = judge_reply(asked(""), "strict"), judge_reply(asked(""), "released")
    assert strict is not None and not strict.correct and strict.rule == "empty"
    assert released is not None and released.correct and released.answer is None


def test_either_of_two_equal_options_is_right_strictly_and_the_last_as_released() -> None:
    for letter, as_released in (("B", False), ("C", True)):
        strict, released = judge_reply(asked(letter), "strict"), judge_reply(asked(letter), "released")
        assert strict is not None and strict.correct
        assert released is not None and released.correct is as_released


@pytest.mark.parametrize("scorer", ["strict", "released"])
def test_question_that_could_not_be_asked_is_wrong_by_name(scorer: str) -> None:
    verdict = judge_reply(asked(None), scorer)
    assert verdict is not None and not verdict.correct and verdict.rule == FAILED


def test_only_a_judge_reads_captions_written_by_a_model() -> None:
    assert judge_reply(asked("a dog runs", kind="description"), "strict") is None


def test_pairs_are_compared_by_their_first_character_as_released() -> None:
    first = judge_reply(asked("because", kind="pair"), "released")
    assert first is not None and first.correct and first.answer == "B"
    strict = judge_reply(asked("because", kind="pair"), "strict")
    assert strict is not None and not strict.correct


def test_short_answers_are_compared_without_case_articles_and_marks() -> None:
    assert answer_words("The Dog.") == answer_words("dog")
    assert judge_reply(asked("A two!", kind="short answer"), "strict").correct  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reply", "reference", "value"),
    [("a red dog", "red dog", 1.0), ("red", "red dog", 2 / 3), ("cat", "dog", 0.0), ("", "dog", 0.0)],
)
def test_token_f1(reply: str, reference: str, value: float) -> None:
    assert token_f1(reply, reference) == pytest.approx(value)
