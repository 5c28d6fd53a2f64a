"""Judging runs with a judge that misbehaves in every way known."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench.judge import ATTEMPTS, HttpJudge, NoReplyError, Paced, ask_until
from st_llm_cli.bench.judge_text import CALIBRATION, CRITERIA, LONGEST, VERSION, Case, messages_of
from st_llm_cli.bench.judged import Judged
from st_llm_cli.bench.sample import Prediction, Sample
from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.stages.judge import Price, estimate, expect, judge_run, opinions_of
from st_llm_cli.stages.judge_replies import NAME
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
    assert len(third.requests) == 1 + len(CALIBRATION)


def test_failures_are_asked_again_by_the_next_run(tmp_path: Path) -> None:
    assert judged([short(0)], Script({"<q0>": ["nonsense"]}), tmp_path).failed
    assert not judged([short(0)], Script({"<q0>": [YES]}), tmp_path).failed


def test_half_a_line_is_written_anew_and_a_damaged_one_named(tmp_path: Path) -> None:
    judged([short(0)], Script(), tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-5])
    script = Script({"<q0>": [Script().usual]})
    judged([short(0)], script, tmp_path)
    assert script.counts == {"<q0>": 1}
    assert (tmp_path / NAME).read_bytes().startswith(whole[: whole.rfind(b"\n", 0, -1) + 1])
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
    assert estimate([short(0)], "m", tmp_path, "strict").calls == 1 + len(CALIBRATION)
    judged([short(0)], Script(), tmp_path)
    assert estimate([short(0)], "m", tmp_path, "strict").calls == 0
    assert estimate([short(0), short(1)], "m", tmp_path, "strict").calls == 1 + len(CALIBRATION)


def test_estimate_before_the_answers_are_there_knows_how_many_there_will_be(tmp_path: Path) -> None:
    predictions = [long("generic", 0, "<g>"), long("temporal", 0, "<t>"), short(0)]
    before = expect([each.sample for each in predictions])
    assert before.calls == estimate(predictions, "m", tmp_path, "strict").calls == 5 + len(CALIBRATION)
    assert before.cost(Price(1e6, 0)) == before.read_tokens > 1000
    assert before.cost(Price(0, 2e6)) == 2 * before.written_tokens


def test_calibration_is_asked_whenever_the_judge_is_and_tells_when_it_changed(tmp_path: Path) -> None:
    no = '{"pred": "no", "score": 0}'
    truth = {case.questions[0]: [YES if verdict else no] for case, verdict in CALIBRATION}
    first = judged([short(0)], Script(truth), tmp_path)
    assert (first.calibration, first.calibration_first) == ("10 of 10", None)
    again = judged([short(0), short(1)], Script(usual=no), tmp_path)
    assert (again.calibration, again.calibration_first) == ("5 of 10", "10 of 10")
    assert again.criteria["match"].accuracy == 0.5


def test_other_scorer_uses_the_replies_it_can_use(tmp_path: Path) -> None:
    both = Script(usual='{"pred": "yes", "score": 5}')
    judged([short(0)], both, tmp_path, scorer="strict")
    again = Script()
    judged([short(0)], again, tmp_path, scorer="released")
    assert again.requests == []
    fenced = Script({"<q1>": ["```{'pred': 'yes', 'score': 5}```"]})
    judged([short(0), short(1)], fenced, tmp_path, scorer="strict")
    judged([short(0), short(1)], again, tmp_path, scorer="released")
    assert sum("<q1>" in each["messages"][1]["content"] for each in again.requests) == 1


def test_two_questions_that_say_the_same_are_asked_once(tmp_path: Path) -> None:
    script = Script({"<q>": [YES]})
    result = judged([short(0, question="<q>"), short(1, question="<q>")], script, tmp_path)
    assert script.counts["<q>"] == 1 and result.criteria["match"].judged == 2
    bad = judged([short(2, "x", "<r>"), short(3, "x", "<r>")], Script({"<r>": ["?"]}), tmp_path)
    assert list(bad.failed) == ["match of id2", "match of id3"]


def test_words_of_the_judge_do_not_change_without_their_version() -> None:
    texts = [messages_of(Case("x", name, ("q",), "r", ("a",))) for name in CRITERIA]
    assert VERSION == "1"
    assert hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12] == "d0a6eaeac2db"


def caption(number: int, reply: str | None, task: str = "captioning: order") -> Prediction:
    check = f"<c{number}> Which way?\nA. left\nB. right"
    sample = Sample(f"c/{number}", task, "description", (), "Describe.", "Describe.", "B. right", check=check)
    return Prediction(sample, reply, error=None if reply is not None else "VideoError: is damaged")


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ('{"option": "B"}', True),
        ("Sure: {'option': 'b'}", True),
        ('{"answer": "B. right"}', True),
        ("B", True),
        ("The answer is B.", True),
        ('{"option": "A"}', False),
        ('{"option": "none"}', False),
        ("None of them.", False),
    ],
)
def test_caption_is_worth_what_a_judge_learns_from_it(reply: str, right: bool, tmp_path: Path) -> None:
    script = Script({"<c0>": [reply]})
    result = judged([caption(0, "It goes right.")], script, tmp_path)
    assert result.criteria["caption"].accuracy == float(right)
    asked = next(each["messages"] for each in script.requests if "<c0>" in each["messages"][1]["content"])
    assert "It goes right." in asked[1]["content"] and "Reference" not in asked[1]["content"]


@pytest.mark.parametrize("reply", ['{"option": "D"}', '{"option": null}', "It moves.", "{}", '{"score": 3}'])
def test_choice_that_is_none_is_asked_again(reply: str, tmp_path: Path) -> None:
    result = judged([caption(0, "x")], Script({"<c0>": [reply, '{"option": "B"}']}), tmp_path)
    assert result.criteria["caption"].accuracy == 1.0 and not result.failed


def test_captions_are_counted_by_dimension_with_bounds(tmp_path: Path) -> None:
    predictions = [caption(0, "x"), caption(1, "x", "captioning: speed"), caption(2, "x"), caption(3, None)]
    script = Script({"<c0>": ['{"option": "B"}'], "<c1>": ['{"option": "A"}'], "<c2>": ["?"]})
    score = judged(predictions, script, tmp_path).criteria["caption"]
    assert (score.judged, score.total, score.released) == (3, 4, None)
    assert (score.lowest_accuracy, score.highest_accuracy) == (0.25, 0.5)
    assert score.tasks == {"captioning: order": 0.5, "captioning: speed": 0.0}


def test_opinions_are_found_again_by_question(tmp_path: Path) -> None:
    pair = [long("consistency", 0, f"<c{half}>", f"Q{half}") for half in (1, 2)]
    predictions = [short(0), short(1), *pair]
    judged(predictions, Script({"<q1>": ["?"]}, usual='{"pred": "no", "score": 2}'), tmp_path)
    found = opinions_of(predictions, tmp_path, "m", "strict")
    assert set(found) == {"id0", "consistency/0/Q1", "consistency/0/Q2"}
    (opinion,) = found["id0"]
    assert (opinion.criterion, opinion.judgement.match, opinion.judgement.score) == ("match", False, 2.0)
    assert opinions_of(predictions, tmp_path, "another judge", "strict") == {}


def test_judge_is_not_asked_faster_than_its_rate() -> None:
    now, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))
        now[0] += seconds

    with judge_server(Script(usual=YES)) as url:
        judge = Paced(HttpJudge(url, "m"), 30, sleep=sleep, clock=lambda: now[0])
        assert [judge.ask(USER) for _ in range(3)] == [YES] * 3
        now[0] += 60
        judge.ask(USER)
    assert waits == [2.0, 2.0] and judge.name == "m"


@pytest.mark.parametrize("rate", [0, -1])
def test_rate_must_be_above_nothing(rate: float) -> None:
    with pytest.raises(UsageError, match="judge_rate"):
        Paced(HttpJudge("http://x", "m"), rate)


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
    wanted = {"match": {"pred", "score"}, "caption": {"option"}}.get(criterion, {"score"})
    assert set(json.JSONDecoder().raw_decode(example)[0]) == wanted
