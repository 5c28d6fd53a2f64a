"""The page of a run, as far as it can be read without a browser."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from st_llm_cli.bench.judged import CriterionScore, Judged
from st_llm_cli.bench.page import questions
from st_llm_cli.bench.page.run_page import run_page
from st_llm_cli.bench.record import RunRecord, Strip
from st_llm_cli.bench.report import Ceiling
from tests.bench.page.test_markup import EVIL
from tests.bench.records import record_of


def data_of(page: str) -> dict[str, Any]:
    """What the page hands its script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def states(record: RunRecord) -> list[str]:
    return [row["state"] for row in data_of(run_page(record))["rows"]]


def test_every_answer_is_there_with_both_verdicts() -> None:
    data = data_of(run_page(record_of(["B", "A", "", None, "both"])))
    assert data["scorers"] == ["strict", "released"]
    assert [row["state"] for row in data["rows"]] == ["right", "wrong", "unreadable", "failed", "unreadable"]
    assert data["rows"][2]["verdicts"] == {
        "strict": [False, None, "empty"],
        "released": [True, None, "first words compared"],
    }
    assert data["rows"][2]["disagree"] and not data["rows"][0]["disagree"]
    assert data["rows"][3]["error"] == "DamagedVideoError: broken"


def test_scorer_put_first_decides_what_is_right() -> None:
    assert states(record_of(["", "B"])) == ["unreadable", "right"]
    assert states(record_of(["", "B"], scorer="released")) == ["right", "right"]


def test_what_time_changed_is_told_of_each_answer() -> None:
    page = run_page(record_of("BBAA", control="ABBA"))
    assert [row["time"] for row in data_of(page)["rows"]] == ["gained", "kept", "lost", "never"]
    assert data_of(page)["rows"][0]["others"] == {"blind": ["A", False]}
    assert "Temporal gain +0.0 points" in page and "not distinguishable from none" in page


def test_part_of_a_benchmark_is_never_shown_as_the_whole() -> None:
    record = record_of("BB")
    assert "These numbers are over a part of the benchmark" not in run_page(record)
    coverage = replace(record.report.coverage, size=4000, label="2 of 4000 questions")
    part = run_page(replace(record, report=replace(record.report, coverage=coverage)))
    assert "These numbers are over a part of the benchmark: 2 of 4000 questions." in part
    assert "Not the same measurement: this run covers 2 of 4000 questions." in part


def test_published_numbers_come_with_their_source() -> None:
    page = run_page(record_of("BB"))
    assert 'data-baseline="ST-LLM 7B"' in page and "ST-LLM 7B: 56.5 %" in page
    assert 'href="https://github.com/TencentARC/ST-LLM"' in page
    assert "Published:" not in run_page(record_of("BB", benchmark="custom"))


def test_published_verdicts_of_judges_do_not_stand_beside_word_by_word_scores() -> None:
    record = record_of("BB", benchmark="msvd")
    assert "strict" in record.report.scorers and "Published:" not in run_page(record)
    score = CriterionScore(4.0, 2, 2, 4.0, 4.0, 1.0, 1.0, 1.0)
    judged = Judged("gpt", "1", "strict", {"match": score}, None, {}, "10 of 10")
    assert "ST-LLM: 74.6 %" in run_page(replace(record, judged=judged))


def test_how_it_was_run_is_on_the_page() -> None:
    settings = {
        "model": "m",
        "weights": "sha256:12",
        "limit": None,
        "num_frames": 8,
        "seed": 0,
        "released": False,
    }
    environment = {"command": "stllm eval --bench mvbench", "torch": "2.13.0"}
    page = run_page(record_of("B", settings=settings, environment=environment))
    assert "$ stllm eval --bench mvbench" in page and "2.13.0" in page and "weights sha256:12" in page
    assert '<th scope="row">frames</th><td>8</td>' in page and "questions at most" not in page
    assert '<th scope="row">seed</th><td>0</td>' in page and "as the released scripts" not in page


def test_options_that_stand_in_the_question_are_not_shown_twice() -> None:
    record = record_of("B")
    asked = replace(record.predictions[0].sample, question="How many move?\nThink.\nA. one\nB. two")
    shown = run_page(replace(record, predictions=[replace(record.predictions[0], sample=asked)]))
    (row,) = data_of(shown)["rows"]
    assert (row["question"], row["options"]) == ("How many move?\nThink.", ["one", "two"])


def test_evil_texts_stay_texts() -> None:
    record = record_of([EVIL, "B"], settings={"model": EVIL}, environment={"command": EVIL})
    page = run_page(record)
    assert page.count("<script") == 2 and "<img" not in page
    assert data_of(page)["rows"][0]["reply"] == EVIL


def test_what_is_possible_without_order_stands_beside_the_score() -> None:
    record = record_of("BBBA")
    assert "without order" not in run_page(record)
    report = replace(record.report, ceilings={"Moving Count": Ceiling(0.25, 0.5)})
    page = run_page(replace(record, report=report))
    assert page.count("<title>best without order: 25.0</title>") == 2  # of the task, and of all questions
    assert '25.0<span class="under">one frame: 50.0</span>' in page


def test_pictures_are_found_by_their_clip() -> None:
    data = data_of(run_page(record_of("BA", strips={"1.mp4": Strip(b"jpeg", (0.0, 0.5))})))
    assert [row["strips"] for row in data["rows"]] == [[], [0]]
    assert data["strips"] == [{"jpeg": "anBlZw==", "times": [0.0, 0.5]}]


def test_of_very_many_questions_evenly_spaced_ones_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MOST_QUESTIONS", 3)
    page = run_page(record_of("BBBBBBB"))
    assert [row["id"] for row in data_of(page)["rows"]] == ["count/0", "count/3", "count/6"]
    assert "3 of 7, evenly spaced" in page


def test_free_answers_are_shown_without_a_judge() -> None:
    free = record_of("BB", benchmark="msvd")
    rows = [
        replace(
            each,
            sample=replace(each.sample, kind="long answer", candidates=(), answer="two of them"),
            reply="two",
        )
        for each in free.predictions
    ]
    measures = {"judge_free": {"token F1": 0.5}, "judge_free_tasks": {"temporal": {"token F1": 0.25}}}
    report = replace(free.report, scorers={}, needs_judge=2, **measures)
    page = run_page(replace(free, predictions=rows, report=report))
    assert "2 answers are for a judge" in page and "token F1: temporal: 0.250" in page
    assert [row["state"] for row in data_of(page)["rows"]] == ["none", "none"]
