"""What the released judge scripts do when something goes wrong, and what happens here, case by case."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench.judge import ATTEMPTS, HttpJudge
from st_llm_cli.bench.judge_text import CALIBRATION
from st_llm_cli.bench.sample import Prediction
from st_llm_cli.stages.judge import judge_run
from st_llm_cli.stages.judge_replies import NAME as REPLIES
from st_llm_cli.stages.prediction_file import PredictionFile, collect
from tests.bench.golden import golden_file
from tests.cli.conftest import Ran, Stllm
from tests.stages.judge_server import Reply, Script, judge_server, status
from tests.stages.test_judge import short

RECORDED = golden_file("judge_behaviours.json")
if not RECORDED.exists():
    pytest.skip("the recordings named by STLLM_BENCH hold no such file", allow_module_level=True)
BEHAVIOURS: dict[str, Any] = json.loads(RECORDED.read_text())
RERUN_INSIDE = "rerun_with_output_json_inside_output_dir"
RERUN_OUTSIDE = "rerun_with_output_json_outside"
MALFORMED = "permanently_malformed_reply"
STALE = "stale_result_of_other_run_is_counted"
OTHER_SCHEMA = "upstream_video_chatgpt_qa_judge_on_stllm_prediction_schema"
NEITHER = "all_neither_yes_nor_no"
EMPTY = "empty_prediction_list"
SLASH = "slash_in_id"
NEVER_ENDS = [{"status": "never_terminates", "numbers": {}}]
DIVIDES_BY_ZERO = [{"status": "crash", "error": "ZeroDivisionError", "numbers": {}}]


def test_no_other_behaviour_was_recorded() -> None:
    assert set(BEHAVIOURS) == {
        *(RERUN_INSIDE, RERUN_OUTSIDE, MALFORMED, STALE, OTHER_SCHEMA, NEITHER, EMPTY, SLASH)
    }


def batch_of(numbers: dict[str, float], calls: int) -> tuple[list[Prediction], dict[str, list[Reply]]]:
    """Answers, and what a judge says to each, that give recorded numbers in so many calls."""
    yes, no = int(numbers["Yes count"]), int(numbers["No count"])
    rows = next(n for n in range(yes + no, 1000) if (numbers["Average score"] * n + 1e-9) % 1 < 1e-6)
    points = round(numbers["Average score"] * rows)
    said = ["yes"] * yes + ["no"] * no + ["hard to tell"] * (rows - yes - no)
    replies: dict[str, list[Reply]] = {}
    for number, word in enumerate(said):
        score = points // rows + (number < points % rows)
        replies[f"<q{number}>"] = [f"{{'pred': '{word}', 'score': {score}}}"]
    replies["<q0>"] = [status(500)] * (calls - rows) + replies["<q0>"]
    return [short(number) for number in range(rows)], replies


def write_run(folder: Path, predictions: Sequence[Prediction]) -> None:
    """A run as it stands on disk."""
    with PredictionFile(folder, {}) as file:
        for prediction in predictions:
            file.add(prediction)
    assert collect(folder, [each.sample for each in predictions]) is not None


def have_judged(stllm: Stllm, folder: Path, script: Script) -> tuple[Ran, dict[str, Any]]:
    """Have a run judged by command; what it said, and the numbers of `match` that it kept."""
    with judge_server(script) as url:
        judge = ("--judge-url", url, "--judge-model", "m")
        ran = stllm("rescore", folder, "--scorer", "released", *judge)
    assert ran.code == 0, ran.err
    match: dict[str, Any] = json.loads((folder / "judged.json").read_text())["criteria"]["match"]
    return ran, match


def asked(script: Script) -> int:
    """How often a judge was asked about answers of the run."""
    return sum(script.counts.values())


@pytest.mark.parametrize("case", [RERUN_INSIDE, RERUN_OUTSIDE])
def test_judging_again_in_the_same_folder_gives_the_same_numbers(
    case: str, stllm: Stllm, tmp_path: Path
) -> None:
    runs = BEHAVIOURS[case] if case == RERUN_INSIDE else BEHAVIOURS[case]["runs"]
    statuses = [run["status"] for run in runs]
    assert statuses == (["ok", "crash"] if case == RERUN_INSIDE else ["ok", "ok"])
    calls = BEHAVIOURS[RERUN_OUTSIDE]["api_calls_total"]
    predictions, replies = batch_of(runs[0]["numbers"], calls)
    write_run(tmp_path, predictions)
    first, second = Script(replies), Script(replies)
    _, once = have_judged(stllm, tmp_path, first)
    _, again = have_judged(stllm, tmp_path, second)
    assert once == again
    assert once["released"]["accuracy"] == pytest.approx(runs[0]["numbers"]["Accuracy"])
    assert once["released"]["score"] == pytest.approx(runs[0]["numbers"]["Average score"])
    assert asked(second) == 0
    assert asked(first) == calls


def test_reply_that_is_always_malformed_ends_as_a_named_failure(tmp_path: Path) -> None:
    assert BEHAVIOURS[MALFORMED] == NEVER_ENDS
    script = Script({"<q0>": ["{'pred': 'yes', 'score': 4"]})
    with judge_server(script) as url:
        judge = HttpJudge(url, "m")
        found = judge_run([short(0)], judge, tmp_path, scorer="released", sleep=lambda seconds: None)
    assert found is not None and asked(script) == ATTEMPTS
    assert list(found.failed) == ["match of id0"]
    score = found.criteria["match"]
    assert (score.judged, score.lowest, score.highest, score.released) == (0, 0.0, 5.0, None)


def test_verdict_about_an_answer_of_another_run_is_not_counted(stllm: Stllm, tmp_path: Path) -> None:
    recorded = BEHAVIOURS[STALE]
    assert len(recorded["result_keys"]) == 2 and recorded["api_calls"] == 1
    yes, no = "{'pred': 'yes', 'score': 5}", "{'pred': 'no', 'score': 1}"
    write_run(tmp_path / "other", [short(1)])
    have_judged(stllm, tmp_path / "other", Script({"<q1>": [no]}))
    write_run(tmp_path / "own", [short(0)])
    (tmp_path / "own" / REPLIES).write_bytes((tmp_path / "other" / REPLIES).read_bytes())
    script = Script({"<q0>": [yes]})
    _, match = have_judged(stllm, tmp_path / "own", script)
    assert (match["judged"], match["total"], match["accuracy"], match["score"]) == (1, 1, 1.0, 5.0)
    assert asked(script) == recorded["api_calls"]
    request = next(each for each in script.requests if "<q0>" in each["messages"][-1]["content"])
    assert [message["role"] for message in request["messages"]] == recorded["request_shape"]["roles"]


def test_predictions_of_another_schema_are_an_error_that_names_the_line(stllm: Stllm, tmp_path: Path) -> None:
    (crash,) = BEHAVIOURS[OTHER_SCHEMA]
    assert (crash["status"], crash["error"]) == ("crash", "KeyError")
    row = {"id": "v_a0", "question": "<q0>", "answer": "a puppy", "pred": "a dog"}
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text(json.dumps(row) + "\n")
    ran = stllm("rescore", theirs)
    assert ran.code == 1
    assert f"{theirs}: line 1 is no prediction, it lacks 'candidates'" in ran.err
    assert "give a file" in ran.err and "Traceback" not in ran.err


def test_verdicts_that_are_neither_yes_nor_no_have_a_score_and_no_accuracy(
    stllm: Stllm, tmp_path: Path
) -> None:
    assert BEHAVIOURS[NEITHER] == DIVIDES_BY_ZERO
    write_run(tmp_path, [short(0), short(1)])
    script = Script({piece: ["{'pred': 'partially', 'score': 3}"] for piece in ("<q0>", "<q1>")})
    ran, match = have_judged(stllm, tmp_path, script)
    assert "match: none of 2 judged" in ran.out
    assert (match["released"], match["accuracy"]) == (None, None)
    assert (match["lowest_accuracy"], match["highest_accuracy"]) == (0.0, 1.0)


def test_nothing_to_judge_is_said_and_no_crash(stllm: Stllm, tmp_path: Path) -> None:
    assert BEHAVIOURS[EMPTY] == DIVIDES_BY_ZERO
    (tmp_path / "predictions.jsonl").touch()
    script = Script()
    with judge_server(script) as url:
        ran = stllm("rescore", tmp_path, "--judge-url", url, "--judge-model", "m")
    assert ran.code == 1 and "holds no predictions" in ran.err
    assert len(script.requests) <= 1  # nothing but the greeting is paid for


def test_slash_in_an_id_is_judged_once(stllm: Stllm, tmp_path: Path) -> None:
    assert BEHAVIOURS[SLASH] == NEVER_ENDS
    plain, slashed = short(0), short(1)
    slashed = replace(slashed, sample=replace(slashed.sample, id="videos/v_a0.mp4/../0"))
    write_run(tmp_path, [plain, slashed])
    script = Script(usual="{'pred': 'yes', 'score': 4}")
    _, match = have_judged(stllm, tmp_path, script)
    assert (match["judged"], match["accuracy"]) == (2, 1.0)
    assert len(script.requests) == 1 + len(CALIBRATION) + 2  # the greeting, the known cases, the answers
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []
