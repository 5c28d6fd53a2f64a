"""`stllm rescore` as a user meets it."""

import json
from pathlib import Path

import pytest

from st_llm_cli.stages.eval import run
from st_llm_cli.stages.eval_plan import Plan
from tests.bench.golden import mini_folder
from tests.cli.conftest import Stllm
from tests.stages.judge_server import Script, judge_server
from tests.stages.test_eval import Rote

MINI = mini_folder()


@pytest.mark.parametrize("name", ["mvbench", "tvbench", "tempcompass", "vcgbench", "msvd"])
def test_run_scored_again_gives_the_same_numbers(name: str, stllm: Stllm, tmp_path: Path) -> None:
    run(Rote(), Plan(name, MINI / name, limit=9), tmp_path)
    ran = stllm("rescore", tmp_path, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == json.loads((tmp_path / "scores.json").read_text())


def test_lone_file_says_that_its_coverage_is_not_known(stllm: Stllm, tmp_path: Path) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path)
    shared = tmp_path / "theirs.jsonl"
    shared.write_bytes((tmp_path / "predictions.jsonl").read_bytes())
    ran = stllm("rescore", shared, "--scorer", "released")
    assert ran.code == 0, ran.err
    assert "covers 20 questions; how many there should be is not known" in ran.out
    assert ran.out.index("released") < ran.out.index("strict")


def test_report_is_written_anew_into_a_run_and_nowhere_for_a_file_alone(stllm: Stllm, tmp_path: Path) -> None:
    folder, alone = tmp_path / "run", tmp_path / "alone"
    run(Rote(), Plan("tvbench", MINI / "tvbench", limit=3), folder)
    assert stllm("rescore", folder).code == 0
    assert "tvbench" in (folder / "report.html").read_text() and (folder / "scores.csv").exists()
    alone.mkdir()
    (alone / "theirs.jsonl").write_bytes((folder / "predictions.jsonl").read_bytes())
    assert stllm("rescore", alone / "theirs.jsonl").code == 0
    assert [path.name for path in alone.iterdir()] == ["theirs.jsonl"]
    assert stllm("rescore", alone / "theirs.jsonl", "--output", tmp_path / "new").code == 0
    assert "how many there should be is not known" in (tmp_path / "new" / "report.html").read_text()


def test_folder_that_cannot_be_written_is_an_error(stllm: Stllm, tmp_path: Path) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), tmp_path / "run")
    (tmp_path / "file").touch()
    ran = stllm("rescore", tmp_path / "run", "--output", tmp_path / "file")
    assert ran.code == 1
    assert "cannot be written" in ran.err and "--output" in ran.err


def test_folder_of_other_things_or_of_another_run_is_left_as_it_is(stllm: Stllm, tmp_path: Path) -> None:
    own, other, notes = tmp_path / "own", tmp_path / "other", tmp_path / "notes"
    for folder in (own, other):
        run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), folder)
    notes.mkdir()
    (notes / "scores.csv").write_text("mine")
    (notes / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for folder, what in ((other, "holds a run"), (notes, "exists, and holds other files than a report's")):
        ran = stllm("rescore", own, "--output", folder)
        assert ran.code == 2
        assert f"{folder}: {what} (give a new folder as --output)" in ran.err
    assert stllm("rescore", own / "predictions.jsonl", "--output", own).code == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    for folder in (own, tmp_path / "new", tmp_path / "new"):
        assert stllm("rescore", own, "--output", folder).code == 0


def test_another_judge_reads_stored_answers(stllm: Stllm, tmp_path: Path) -> None:
    run(Rote(), Plan("msvd", MINI / "msvd"), tmp_path)
    with judge_server(Script(usual='{"pred": "yes", "score": 4}')) as url:
        ran = stllm("rescore", tmp_path, "--judge-url", url, "--judge-model", "other")
    assert ran.code == 0, ran.err
    assert "match: 4.00 of 5, 100.0 % the same as the reference" in ran.out
    assert json.loads((tmp_path / "judged.json").read_text())["judge"] == "other"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "predictions.jsonl: cannot be read"),
        ({"predictions.jsonl": ""}, "predictions.jsonl: holds no predictions"),
        ({"predictions.jsonl": None, "scores.json": "{}"}, "scores.json: cannot be used"),
        ({"predictions.jsonl": None, "scores.json": "["}, "scores.json: cannot be used"),
    ],
)
def test_run_that_cannot_be_scored(
    files: dict[str, str | None], message: str, stllm: Stllm, tmp_path: Path
) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), tmp_path / "good")
    (tmp_path / "run").mkdir()
    for name, content in files.items():
        whole = (tmp_path / "good" / name).read_text()
        (tmp_path / "run" / name).write_text(whole if content is None else content)
    ran = stllm("rescore", tmp_path / "run")
    assert ran.code == 1
    assert message in ran.err and "Traceback" not in ran.err
