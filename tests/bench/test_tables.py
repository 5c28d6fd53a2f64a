"""The numbers of a run as CSV and LaTeX."""

import csv
import io
from dataclasses import replace

import pytest

from st_llm_cli.bench.judged import CriterionScore, Judged
from st_llm_cli.bench.record import RunRecord
from st_llm_cli.bench.tables import COLUMNS, csv_of, latex_of
from tests.bench.records import record_of


def rows(record: RunRecord) -> dict[tuple[str, str, str], dict[str, str]]:
    read = list(csv.DictReader(io.StringIO(csv_of(record))))
    assert all(tuple(row) == COLUMNS for row in read)
    return {(row["section"], row["name"], row["scorer"]): row for row in read}


def test_csv_has_every_number_with_what_it_is_of() -> None:
    read = rows(record_of("BBBA", control="BAAA"))
    task = read["task", "Moving Count", "strict"]
    assert (task["n"], task["value"], task["unit"], task["interval"]) == ("4", "75.0", "%", "Wilson")
    assert float(task["low"]) < 75 < float(task["high"])
    assert read["all", "micro", "released"]["value"] == "75.0"
    assert read["control", "blind", "strict"]["value"] == "25.0"
    record = record_of("BA")
    by_task = {"Moving Count": {"token F1": 0.25}}
    report = replace(record.report, judge_free={"token F1": 0.5}, judge_free_tasks=by_task)
    of_task = rows(replace(record, report=report))["without judge", "token F1: Moving Count", ""]
    assert (of_task["n"], of_task["value"]) == ("2", "25.0")
    assert (read["control", "temporal gain", "strict"]["value"], task["scorer"]) == ("50.0", "strict")


def test_judge_comes_with_its_bounds() -> None:
    score = CriterionScore(4.0, 1, 2, 2.0, 4.5, 1.0, 0.5, 1.0)
    judged = Judged("gpt", "1", "strict", {"match": score}, None, {}, "10 of 10")
    record = replace(record_of("BA", benchmark="msvd"), judged=judged)
    read = rows(record)
    assert [read["judged", "match", "gpt"][key] for key in ("n", "value", "low", "high")] == [
        "1",
        "4.0",
        "2.0",
        "4.5",
    ]
    assert read["judged", "match: same as reference", "gpt"]["low"] == "50.0"
    assert "judged: match & 1 & 100.0\\,\\% / 4.00 &  & 74.6 \\\\" in latex_of(record).replace("64.9", "")


def test_latex_has_published_numbers_beside_the_run_and_says_what_it_covers() -> None:
    made = latex_of(record_of("BBBA"))
    assert "Task & $n$ & tiny & ST-LLM 7B & VideoMind 7B \\\\" in made
    assert "Moving Count & 4 & 75.0 [30.1, 95.4] & 56.5 & 80.0 \\\\" in made
    assert "\\caption{tiny on mvbench: 4 of 4 questions." in made
    assert "ST-LLM" not in latex_of(
        record_of("BA", benchmark="msvd")
    )  # a judge's numbers, and there was none
    assert made.count("\\toprule") == made.count("\\bottomrule") == 1


@pytest.mark.parametrize(
    ("name", "written"),
    [("a_b & 50% {x}", "a\\_b \\& 50\\% \\{x\\}"), ("\\input[x]", "\\textbackslash{}input{[}x]")],
)
def test_latex_shows_names_as_they_are(name: str, written: str) -> None:
    made = latex_of(record_of("BA", settings={"model": name}))
    assert f"& {written} &" in made and f"\\caption{{{written} on" in made
