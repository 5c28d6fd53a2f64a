"""What a run's folder tells its report."""

import json
import resource
from pathlib import Path

import pytest

from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.judged import CriterionScore, Judged
from st_llm_cli.errors import DataError
from st_llm_cli.stages.controls import run_control
from st_llm_cli.stages.eval import Result, run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.report import record_of, write_environment, write_report
from st_llm_cli.stages.strips import NAME as STRIPS_NAME
from tests.bench.golden import mini_folder
from tests.bench.page.test_run_page import data_of
from tests.stages.test_controls import Watcher
from tests.stages.test_eval import Rote

PLAN = Plan("tvbench", mini_folder() / "tvbench", limit=4)


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return run(Watcher(), PLAN, tmp_path / "run")


def test_controls_that_are_through_are_part_of_it(result: Result) -> None:
    assert record_of(result.folder, result.report, result.predictions, pictures=0).gain is None
    blind = run_control(Watcher(), PLAN, result.folder, "blind")
    whole = record_of(result.folder, result.report, result.predictions, pictures=0)
    assert whole.gain is not None and set(whole.gain.against) == set(whole.controls) == {"blind"}
    path = blind.folder / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert record_of(result.folder, result.report, result.predictions, pictures=0).gain is None


def test_settings_and_environment_are_part_of_it(result: Result) -> None:
    write_environment(result.folder, "stllm eval --bench tvbench", "cpu")
    record = record_of(result.folder, result.report, result.predictions, pictures=0)
    assert record.settings["sampler"] == "mvbench"
    assert record.environment["command"] == "stllm eval --bench tvbench"
    assert record.environment["torch"] and record.environment["date"].count("-") == 2


def test_judge_comes_back_as_it_was_kept(result: Result) -> None:
    score = CriterionScore(4.0, 1, 1, 4.0, 4.0, 1.0, 1.0, 1.0, {"score": 4.0})
    judged = Judged("gpt", "1", "strict", {"match": score}, None, {"match of 3": "no reply"}, "10 of 10")
    (result.folder / "judged.json").write_text(json.dumps({**judged.as_json(), "date": "2026-11-25"}))
    record = record_of(result.folder, result.report, result.predictions, pictures=0)
    assert (record.judged, record.judged_on) == (judged, "2026-11-25")
    page = (write_report(result.folder, result.report, result.predictions, pictures=0)[-1]).read_text()
    assert "Read by gpt on 2026-11-25 with text 1" in page and "100.0 %" in page


@pytest.mark.parametrize("name", ["judged.json", "settings.json"])
def test_damaged_file_of_a_run_is_named(name: str, result: Result) -> None:
    (result.folder / name).write_text('{"criteria": 1}' if name == "judged.json" else "[")
    with pytest.raises(DataError, match=name):
        record_of(result.folder, result.report, result.predictions, pictures=0)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if (mini_folder() / name).is_dir()])
def test_every_kind_of_benchmark_has_its_report(name: str, tmp_path: Path) -> None:
    done = run(Rote(), Plan(name, mini_folder() / name, "generate"), tmp_path)
    made = {
        path.name: path.read_text()
        for path in write_report(tmp_path, done.report, done.predictions, pictures=0)
    }
    rows = data_of(made["report.html"])["rows"]
    assert [row["id"] for row in rows] == [each.sample.id for each in done.predictions]
    numbers = len(made["scores.csv"].splitlines()) - 1
    assert numbers >= len(done.report.judge_free) + sum(
        len(own.tasks) for own in done.report.scorers.values()
    )
    if done.report.needs_judge:
        assert f"{done.report.needs_judge} answers are for a judge" in made["report.html"]
    assert done.report.coverage.label in made["scores.tex"].replace("\\_", "_")


def test_report_that_finds_no_room_leaves_what_is_there_as_it_was(result: Result) -> None:
    def write() -> list[Path]:
        write_environment(result.folder, "stllm eval", "cpu")
        return write_report(result.folder, result.report, result.predictions, pictures=4)

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in result.folder.iterdir()}

    write()
    (result.folder / STRIPS_NAME).unlink()
    before, limit = files(), resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (4, len(before["environment.json"]), len(before["scores.json"])):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))
        try:
            with pytest.raises(DataError, match="cannot be written: File too large"):
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert files() == before


def test_same_run_gives_the_same_files(result: Result, tmp_path: Path) -> None:
    first = [p.read_bytes() for p in write_report(result.folder, result.report, result.predictions)]
    again = write_report(result.folder, result.report, result.predictions, output=tmp_path / "again")
    assert [path.read_bytes() for path in again] == first
    assert [path.name for path in again] == ["scores.json", "scores.csv", "scores.tex", "report.html"]
