"""Judging runs with a judge that misbehaves in every way known."""

import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench.judge import ATTEMPTS, HttpJudge, NoReplyError, ask_until
from st_llm_cli.bench.judge_text import CALIBRATION, CRITERIA, LONGEST, Case, messages_of
from st_llm_cli.bench.judged import Judged
from st_llm_cli.bench.sample import Prediction, Sample
from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.stages.judge import NAME, estimate, judge_run
from tests.bench.golden import golden_params
from tests.stages.judge_server import Reply, Script, cut_short, dawdle, hang_up, judge_server, raw, status

USER = [{"role": "user", "content": "well?"}]
YES = '{"pred": "yes", "score": 4}'


def short(number: int, reply: str | None = "a dog", question: str | None = None) -> Prediction:
    text = question or f"<q{number}>"
    sample = Sample(f"id{number}", "all", "short answer", (), text, text, "a puppy")
    return Prediction(sample, reply, error=None if reply is not None else "VideoError: is damaged")


def long(task: str, number: int, question: str, part: str | None = None) -> Prediction:
    group = f"{task}/{number}"
    id = group if part is None else f"{group}/{part}"
    return Prediction(Sample(id, task, "long answer", (), question, question, "ref", (), group, part), "said")


def judged(
    predictions: list[Prediction], script: Script, folder: Path, timeout_seconds: float = 10.0, **other: Any
) -> Judged:
    with judge_server(script) as url:
        judge = HttpJudge(url, "m", timeout_seconds=timeout_seconds)
        result = judge_run(predictions, judge, folder, sleep=lambda seconds: None, **other)
    assert result is not None
    return result


def row_predictions(row: dict[str, Any]) -> list[Prediction]:
    """Predictions of a recorded batch, as our own benchmarks hold them."""
    task = {"1_correctness": "generic", "3_context": "generic"}.get(row["script"].split("/")[1])
    found = []
    for number, each in enumerate(row["predictions"]):
        if "question" in each:
            found.append(short(number, each["pred"], each["question"]))
        elif "Q1" in each:
            found += [long("consistency", number, each[f"Q{half}"], f"Q{half}") for half in (1, 2)]
        else:
            assert task is not None
            found.append(long(task, number, each["Q"]))
    return found


@pytest.mark.parametrize("row", golden_params("judge_batches.jsonl"))
def test_recorded_batches_give_the_official_numbers(row: dict[str, Any], tmp_path: Path) -> None:
    replies: dict[str, list[Reply]] = {
        piece: [status(500) if reply == "__RAISE__" else reply for reply in listed]
        for piece, listed in row["reply_script"].items()
    }
    predictions = row_predictions(row)
    wanted = row["script"].split("/")[1].split("_")[-1]
    criterion = "match" if wanted == "qa" else wanted
    if criterion in ("correctness", "context"):
        # One answer is judged by three criteria; the script's replies are for one of them.
        script = Script(usual='{"score": 1}')
        about = CRITERIA[criterion].about

        def one_criterion(message: str) -> Reply:
            asked = script.requests[-1]["messages"][0]["content"]
            return Script.next(scripted, message) if about in asked else script.usual

        scripted = Script(replies)
        script.next = one_criterion  # type: ignore[method-assign]
        result = judged(predictions, script, tmp_path, scorer="released", workers=1)
        calls = sum(scripted.counts.values())
    else:
        script = Script(replies, usual='{"pred": "yes", "score": 1}')
        result = judged(predictions, script, tmp_path, scorer="released", workers=3)
        calls = sum(script.counts.values())
    assert calls == row["expected"]["api_calls"]
    totals = result.criteria[criterion].released
    assert totals is not None
    (run,) = row["expected"]["runs"]
    score = next(value for name, value in run["numbers"].items() if name.startswith("Average score"))
    assert totals["score"] == pytest.approx(score)
    if criterion == "match":
        assert totals["accuracy"] == pytest.approx(run["numbers"]["Accuracy"])


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(status(500), id="status 500"),
        pytest.param(status(429, Retry_After="7"), id="status 429"),
        pytest.param(hang_up, id="hangs up"),
        pytest.param(dawdle, id="too slow"),
        pytest.param(cut_short, id="cut short"),
        pytest.param(raw(b"<html>busy</html>"), id="not JSON"),
        pytest.param(raw(b"{}"), id="no choices"),
        pytest.param(raw(b'{"choices": []}'), id="empty choices"),
        pytest.param(raw(b'{"choices": [{"message": {"content": null}}]}'), id="null"),
        pytest.param(raw(b"\xff\xfe\xff"), id="not UTF-8"),
        pytest.param("", id="empty"),
        pytest.param("I'm sorry, I cannot evaluate this.", id="refusal"),
        pytest.param("{'pred': 'partially', 'score': 3}", id="neither yes nor no"),
        pytest.param('{"pred": "yes", "score": 11}', id="out of range"),
    ],
)
def test_misbehaviour_that_passes_is_got_over(bad: Reply, tmp_path: Path) -> None:
    script = Script({"<q0>": [bad, bad, YES]})
    result = judged([short(0)], script, tmp_path, timeout_seconds=0.5 if bad is dawdle else 10.0)
    assert script.counts["<q0>"] == 3
    assert not result.failed
    assert (result.criteria["match"].score, result.criteria["match"].accuracy) == (4.0, 1.0)


@pytest.mark.parametrize("bad", [status(500), "nonsense", hang_up])
def test_misbehaviour_that_stays_is_a_listed_failure_with_bounds(bad: Reply, tmp_path: Path) -> None:
    script = Script({"<q0>": [bad], "<q1>": [YES]})
    result = judged([short(0), short(1)], script, tmp_path)
    score = result.criteria["match"]
    assert script.counts["<q0>"] == ATTEMPTS
    assert list(result.failed) == ["match of id0"]
    assert (score.judged, score.total) == (1, 2)
    assert (score.score, score.lowest, score.highest) == (4.0, 2.0, 4.5)
    assert (score.accuracy, score.lowest_accuracy, score.highest_accuracy) == (1.0, 0.5, 1.0)
    assert score.released is None


def test_refusal_of_one_question_is_not_repeated(tmp_path: Path) -> None:
    script = Script({"<q0>": [status(400, b"content filter")]})
    result = judged([short(0), short(1)], script, tmp_path)
    assert script.counts["<q0>"] == 1
    assert "content filter" in result.failed["match of id0"]
    assert result.criteria["match"].judged == 1


@pytest.mark.parametrize("code", [401, 403, 404])
def test_judge_that_will_never_reply_ends_the_run(code: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"status {code}: no"):
        judged([short(0)], Script(usual=status(code)), tmp_path)


def test_waits_grow_and_obey_the_judge() -> None:
    waits: list[float] = []
    script = Script({"well?": [status(500), status(500), status(429, Retry_After="9"), status(503), YES]})
    with judge_server(script) as url:
        assert ask_until(HttpJudge(url, "m"), USER, lambda reply: True, sleep=waits.append) == YES
    assert waits == [1.0, 2.0, 9.0, 8.0]


def test_unusable_reply_is_asked_again_at_once_and_shown_in_the_end() -> None:
    waits: list[float] = []
    with judge_server(Script(usual="hm")) as url, pytest.raises(NoReplyError, match="unusable reply 'hm'"):
        ask_until(HttpJudge(url, "m"), USER, lambda reply: False, attempts=3, sleep=waits.append)
    assert waits == [0.0, 0.0]


def test_nobody_there_is_a_failure_that_says_so() -> None:
    with pytest.raises(NoReplyError, match="refused"):
        HttpJudge("http://127.0.0.1:9/v1", "m").ask(USER)


def test_address_must_be_one() -> None:
    with pytest.raises(UsageError, match="'file:///etc/passwd' is no address"):
        HttpJudge("file:///etc/passwd", "m")


def test_request_names_model_temperature_and_key_and_hides_the_key() -> None:
    script = Script()
    with judge_server(script) as url:
        judge = HttpJudge(url + "/", "some-model", "secret")
        judge.ask(USER)
    (request,) = script.requests
    assert (request["path"], request["model"], request["temperature"]) == (
        "/v1/chat/completions",
        "some-model",
        0,
    )
    assert script.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(judge)


def test_replies_are_never_paid_for_twice(tmp_path: Path) -> None:
    predictions = [short(number) for number in range(3)]
    first, second = Script(), Script()
    before = judged(predictions, first, tmp_path)
    assert judged(predictions, second, tmp_path) == before
    assert (len(first.requests), len(second.requests)) == (3 + len(CALIBRATION), 0)
    third = Script()
    judged([*predictions[:2], short(2, "another answer")], third, tmp_path)
    assert len(third.requests) == 1


def test_failures_are_asked_again_by_the_next_run(tmp_path: Path) -> None:
    assert judged([short(0)], Script({"<q0>": ["nonsense"]}), tmp_path).failed
    assert not judged([short(0)], Script({"<q0>": [YES]}), tmp_path).failed


def test_half_a_line_is_written_anew_and_a_damaged_one_named(tmp_path: Path) -> None:
    judged([short(0)], Script(), tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-5])
    script = Script()
    judged([short(0)], script, tmp_path)
    assert len(script.requests) == 1
    assert (tmp_path / NAME).read_bytes() == whole
    (tmp_path / NAME).write_bytes(b"nonsense\n" + whole)
    with pytest.raises(DataError, match="line 1 is damaged"):
        judged([short(0)], Script(), tmp_path)


def test_five_dimensions_and_their_mean(tmp_path: Path) -> None:
    predictions = [
        long("generic", 0, "<g>"),
        long("temporal", 0, "<t>"),
        long("consistency", 0, "<c>", "Q1"),
        long("consistency", 0, "<d>", "Q2"),
    ]
    script = Script({"<g>": ['{"score": 3}'], "<t>": ['{"score": 1}'], "<c>": ['{"score": 5}']})
    result = judged(predictions, script, tmp_path)
    assert {name: score.score for name, score in result.criteria.items()} == {
        "correctness": 3,
        "detail": 3,
        "context": 3,
        "temporal": 1,
        "consistency": 5,
    }
    assert result.mean == 3.0
    asked = next(each for each in script.requests if "<c>" in each["messages"][1]["content"])
    assert "<d>" in asked["messages"][1]["content"]


def test_mean_of_some_dimensions_is_none(tmp_path: Path) -> None:
    assert judged([long("temporal", 0, "<t>")], Script(usual='{"score": 1}'), tmp_path).mean is None


def test_question_that_was_never_asked_is_worth_nothing_and_costs_nothing(tmp_path: Path) -> None:
    script = Script(usual=YES)
    result = judged([short(0), short(1, None)], script, tmp_path)
    assert len(script.requests) == 1 + len(CALIBRATION)
    assert (result.criteria["match"].score, result.criteria["match"].accuracy) == (2.0, 0.5)


def test_judge_that_always_agrees_is_seen_by_the_calibration(tmp_path: Path) -> None:
    right = sum(verdict for _, verdict in CALIBRATION)
    assert judged([short(0)], Script(usual=YES), tmp_path).calibration == f"{right} of {len(CALIBRATION)}"


def test_nothing_to_judge(tmp_path: Path) -> None:
    sample = Sample("a/0", "a", "choice", (), "q", "q", "a", ("a",))
    assert judge_run([Prediction(sample, "A")], HttpJudge("http://x", "m"), tmp_path) is None


def test_estimate_counts_what_is_still_to_be_asked(tmp_path: Path) -> None:
    judge = HttpJudge("http://127.0.0.1:9", "m")
    assert estimate([short(0)], judge, tmp_path, "strict").calls == 1 + len(CALIBRATION)
    judged([short(0)], Script(), tmp_path)
    assert estimate([short(0), short(1)], judge, tmp_path, "strict").calls == 1


def test_judge_is_told_everything_once_and_never_more_than_it_should() -> None:
    case = Case("x", "consistency", ("first?", "second?"), "the truth", ("one", "z" * 9999))
    system, user = (message["content"] for message in messages_of(case))
    assert "agree with each other" in system and '{"score": 3}' in system
    assert user.count("first?") == user.count("second?") == user.count("the truth") == 1
    assert user.count("z") == LONGEST


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_asks_for_json(criterion: str) -> None:
    (system, _) = messages_of(Case("x", criterion, ("q",), "r", ("a",)))
    example = system["content"][system["content"].index("{") :]
    assert set(json.loads(example)) == ({"pred", "score"} if criterion == "match" else {"score"})
