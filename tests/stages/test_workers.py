"""Several processes leave the file that one leaves, whoever of them is killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import CheckpointError, UsageError
from st_llm_cli.shapes.words import vocabulary
from st_llm_cli.stages.eval import answer_share, collected, run
from st_llm_cli.stages.eval_job import Job, answer_job, results_of
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.prediction_file import NAME, PredictionFile, part_name
from st_llm_cli.stages.share import Share
from st_llm_cli.stages.workers import answer_with_workers, check_workers
from tests.bench.golden import mini_folder
from tests.micro import write_micro_checkpoint
from tests.stages.test_eval import Rote

TVBENCH = mini_folder() / "tvbench"
WORDS = sorted(vocabulary())


def shares(count: int) -> list[Share]:
    return [Share(index, count, "--shard") for index in range(count)]


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"))


@pytest.mark.parametrize("count", [2, 4])
def test_shares_become_the_file_of_one_process(count: int, tmp_path: Path) -> None:
    plan = Plan("mvbench", mini_folder() / "mvbench")
    whole = run(Rote(), plan, tmp_path / "whole")
    asked = []
    for share in reversed(shares(count)):
        assert collected(plan, tmp_path / "parts") is None if asked else True
        model = Rote()
        answer_share(model, plan, tmp_path / "parts", share=share)
        asked.append(len(model.asked))
    result = collected(plan, tmp_path / "parts")
    assert result is not None and result.report == whole.report
    assert sum(asked) == 60 and min(asked) > 0
    assert (tmp_path / "parts" / NAME).read_bytes() == (tmp_path / "whole" / NAME).read_bytes()
    assert not list((tmp_path / "parts").glob("*.part*"))


def test_questions_about_one_clip_stay_in_one_share(tmp_path: Path) -> None:
    plan = Plan("vcgbench", mini_folder() / "vcgbench")
    clips = []
    for share in shares(3):
        model = Rote()
        answer_share(model, plan, tmp_path, share=share)
        clips.append({request.path for request in model.requests})
    assert not clips[0] & clips[1] and not clips[1] & clips[2] and not clips[0] & clips[2]


def test_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    plan = Plan("tvbench", TVBENCH)
    whole = run(Rote(), plan, tmp_path / "whole")
    for share in shares(3)[:2]:
        with pytest.raises(KeyboardInterrupt):
            answer_share(Rote(stop_after=3), plan, tmp_path / "cut", share=share)
    model = Rote()
    answer_share(model, plan, tmp_path / "cut", share=Share(0, 2, "--shard"))
    again = Rote()
    result = run(again, plan, tmp_path / "cut")
    assert len(model.asked) + len(again.asked) == 20 - 6
    assert result.report == whole.report
    assert (tmp_path / "cut" / NAME).read_bytes() == (tmp_path / "whole" / NAME).read_bytes()


def test_two_processes_do_not_answer_the_same_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st_llm_cli.stages.prediction_file.PATIENCE_SECONDS", 0.1)
    share = Share(0, 2, "--shard")
    with PredictionFile(tmp_path, {}, share), pytest.raises(UsageError, match="another stllm is writing"):
        PredictionFile(tmp_path, {}, share).__enter__()
    with PredictionFile(tmp_path, {}, share), PredictionFile(tmp_path, {}, Share(1, 2, "--shard")):
        assert (tmp_path / part_name(share)).exists()


def test_shares_of_other_settings_are_refused(tmp_path: Path) -> None:
    first, second = shares(2)
    answer_share(Rote(), Plan("tvbench", TVBENCH), tmp_path, share=first, settings={"model": "one"})
    with pytest.raises(UsageError, match="model was 'one', is 'two'"):
        answer_share(Rote(), Plan("tvbench", TVBENCH), tmp_path, share=second, settings={"model": "two"})


def test_job_answers_controls_too_and_waits_for_all_shares(micro: Path, tmp_path: Path) -> None:
    job = Job(Plan("tvbench", TVBENCH, limit=4), tmp_path, str(micro), controls=("blind",), batch_size=2)
    steps: list[str] = []
    first, second = shares(2)
    answer_job(job, first, steps.append)
    assert results_of(job) is None
    answer_job(job, second, steps.append)
    results = results_of(job)
    assert results is not None and list(results[1]) == ["blind"]
    assert len(steps) == 8
    assert len(results[0].predictions) == len(results[1]["blind"].predictions) == 4


@pytest.mark.slow
def test_workers_leave_the_bytes_of_one_process(micro: Path, tmp_path: Path) -> None:
    plan = Plan("custom", long_benchmark(tmp_path / "data", clips=7))

    def job(name: str) -> Job:
        return Job(plan, tmp_path / name, str(micro), batch_size=3, cache=tmp_path / f"cache-{name}")

    answer_job(job("one"), None, lambda id: None)
    one = results_of(job("one"))
    assert one is not None and len({each.reply for each in one[0].predictions}) > 1
    for count in (2, 4):
        steps: list[str] = []
        outcome = answer_with_workers(job(str(count)), count, steps.append)
        many = results_of(job(str(count)))
        assert many is not None and many[0].report == one[0].report
        assert len(steps) == len(set(steps)) == 21
        assert outcome.use.hits + outcome.use.misses == 7
        assert (tmp_path / str(count) / NAME).read_bytes() == (tmp_path / "one" / NAME).read_bytes()


@pytest.mark.slow
def test_workers_mistake_is_the_commands_mistake(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    job = Job(Plan("tvbench", TVBENCH), tmp_path / "run", str(tmp_path / "model"))
    with pytest.raises(CheckpointError):
        answer_with_workers(job, 2, lambda id: None)


@pytest.mark.parametrize(
    ("count", "share", "message"),
    [(0, None, "0 workers"), (2, Share(1, 4, "torchrun"), r"one of 4 already \(torchrun\)")],
)
def test_number_of_workers_that_cannot_be_meant(count: int, share: Share | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_workers(count, share)


# ---- killed without warning


def long_benchmark(folder: Path, clips: int = 24) -> Path:
    """A few clips of the miniature again and again, with three questions each."""
    sources = sorted(TVBENCH.glob("video/*/*.mp4"))
    folder.mkdir()
    rows: list[dict[str, Any]] = []
    for number in range(clips):
        shutil.copy(sources[number % 4], folder / f"{number}.mp4")
        for part in range(3):
            options = WORDS[number + part : number + part + 3]
            row = {"video": f"{number}.mp4", "question": " ".join(WORDS[part : part + 1 + number % 5])}
            rows.append({**row, "candidates": options, "answer": options[0]})
    file = folder / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def command(data: Path, folder: Path, model: Path, *more: str) -> list[str]:
    plan = ["--bench", "custom", "--data", str(data), "--output", str(folder), "--model", str(model)]
    written = ["--answer", "generate", "--max-new-tokens", "6", "--cache", "off", "--batch-size", "2"]
    return [sys.executable, "-m", "st_llm_cli", "eval", *plan, *written, *more]


def answered(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("predictions*.jsonl"))


def kill_at(rows: int, line: list[str], folder: Path) -> bool:
    """Kill a run once it has so many answers; whether it was still at work."""
    with subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and answered(folder) < rows and time.monotonic() < deadline:
            time.sleep(0.002)
        working = process.poll() is None
        process.send_signal(signal.SIGKILL)
    return working


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_run_goes_on_and_leaves_the_bytes_of_one_that_was_not(
    workers: int, micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = long_benchmark(tmp_path / "data")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(data, whole, micro), check=True, capture_output=True)
    again = command(data, cut, micro, "--workers", str(workers))
    draw = random.Random(workers)
    rows = draw.randint(5, 50)
    assert kill_at(rows, again, cut)
    assert rows <= answered(cut) < 72
    ended = subprocess.run(again, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert (cut / NAME).read_bytes() == (whole / NAME).read_bytes()
    assert not list(cut.glob("*.part*"))
    assert os.listdir(cut).count(NAME) == 1
