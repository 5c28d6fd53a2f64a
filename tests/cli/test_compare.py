"""`stllm compare` as a user meets it."""

import json
from pathlib import Path

import pytest

from st_llm_cli.bench.sample import Prediction
from st_llm_cli.stages.prediction_file import PredictionFile
from tests.bench.test_compare import run_of
from tests.cli.conftest import Stllm


def keep(folder: Path, predictions: list[Prediction]) -> Path:
    with PredictionFile(folder, {}) as file:
        for prediction in predictions:
            file.add(prediction)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return keep(tmp_path / "a", run_of("A" * 10 + "B" * 10)), keep(tmp_path / "b", run_of("B" * 20))


def test_better_run_is_called_better(stllm: Stllm, runs: tuple[Path, Path]) -> None:
    ran = stllm("compare", *runs)
    assert ran.code == 0, ran.err
    assert f"{runs[1]} against {runs[0]}: better by 50.0 ± 11.5 points, p = 0.00" in ran.out
    assert "50.0 % and 100.0 % of 20 questions (strict)" in ran.out
    assert "even: +50.0 points of 10" in ran.out
    assert "95 % interval of the difference +" in ran.out
    assert "McNemar p = 0.00195, paired t-test p = 0.000" in ran.out
    assert "10 won: id0, id1" in ran.out and "0 lost" in ran.out


def test_questions_answered_differently_are_listed(stllm: Stllm, runs: tuple[Path, Path]) -> None:
    ran = stllm("compare", *runs)
    assert "the same answer to 10 of 20 questions (50.0 %)\n    id0: A and B\n" in ran.out
    (row,) = json.loads(stllm("compare", *runs, "--json").out)
    assert row["disagreed"]["id9"] == ["A", "B"] and len(row["disagreed"]) == 10


def test_equal_runs_are_not_distinguishable(stllm: Stllm, runs: tuple[Path, Path]) -> None:
    ran = stllm("compare", runs[0], runs[0] / "predictions.jsonl")
    assert "not distinguishable (0.0 ± 0.0 points, p = 1)" in ran.out


def test_json_lists_every_flip(stllm: Stllm, runs: tuple[Path, Path]) -> None:
    (row,) = json.loads(stllm("compare", *runs, "--json").out)
    assert (row["run"], row["base"], len(row["won"])) == (str(runs[1]), str(runs[0]), 10)


def test_comparison_as_a_page(stllm: Stllm, runs: tuple[Path, Path], tmp_path: Path) -> None:
    ran = stllm("compare", *runs, "--html", tmp_path / "new" / "ab.html")
    assert ran.code == 0, ran.err
    page = (tmp_path / "new" / "ab.html").read_text()
    assert "Better by 50.0 ± 11.5 points" in page and "id0" in page
    ran = stllm("compare", *runs, runs[0], "--html", tmp_path / "abc.html")
    assert ran.code == 2 and "a page is about two runs" in ran.err
    ran = stllm("compare", *runs, "--html", tmp_path)
    assert ran.code == 2 and "cannot be written" in ran.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ((), 2, "one run cannot be compared"),
        (("nowhere",), 1, "nowhere: cannot be read: No such file"),
        (("nowhere", "--scorer", "loose"), 2, "unknown scorer 'loose'"),
    ],
)
def test_what_cannot_be_compared(
    more: tuple[str, ...], code: int, message: str, stllm: Stllm, runs: tuple[Path, Path]
) -> None:
    ran = stllm("compare", runs[0], *more)
    assert ran.code == code
    assert message in ran.err and "Traceback" not in ran.err
