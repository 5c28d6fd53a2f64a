"""Judges' replies, read tolerantly and as released."""

import json
from typing import Any

import pytest

from st_llm_cli.bench.judge_reply import (
    Judgement,
    ReleasedCrashError,
    read_judgement,
    released_accepts,
    released_judgement,
    released_totals,
)
from tests.bench.golden import golden_file, golden_params

# Neither yes nor no to a reader: "not sure", "unknown", "yes and no", "know".
UNCLEAR = {"bq009", "bq010", "bq042", "bq043"}


def official(reply: str, matches: bool) -> dict[str, Any]:
    """What the official script makes of one row with this reply."""
    if not released_accepts(reply):
        return {"status": "never_terminates", "numbers": {}}
    try:
        judgement = released_judgement(reply, matches)
        totals = released_totals([judgement], matches)
    except ReleasedCrashError as error:
        return {"status": "crash", "error": str(error), "numbers": {}}
    if not matches:
        return {"status": "ok", "numbers": {"Average score for correctness": totals["score"]}}
    numbers = {
        "Yes count": float(judgement.match is True),
        "No count": float(judgement.match is False),
        "Accuracy": totals["accuracy"],
        "Average score": totals["score"],
    }
    return {"status": "ok", "numbers": numbers}


@pytest.mark.parametrize("row", golden_params("judge_reply_qa.jsonl"))
def test_official_reading_of_a_match(row: dict[str, Any]) -> None:
    assert official(row["reply"], matches=True) == row["expected"]["official"]
    assert released_accepts(row["reply"]) is row["expected"]["official_reply_accepted"]


@pytest.mark.parametrize("row", golden_params("judge_reply_score.jsonl"))
def test_official_reading_of_a_score(row: dict[str, Any]) -> None:
    assert official(row["reply"], matches=False) == row["expected"]["official"]
    assert released_accepts(row["reply"]) is row["expected"]["official_reply_accepted"]


@pytest.mark.parametrize("row", golden_params("judge_reply_qa.jsonl"))
def test_tolerant_reading_reads_all_that_is_clear(row: dict[str, Any]) -> None:
    judgement = read_judgement(row["reply"], matches=True)
    clear = row["expected"]["lmms_eval_parse"]
    if row["id"] in UNCLEAR:
        assert judgement is None
    elif clear is not None and clear[0].strip(".") in ("yes", "no") and 0 <= clear[1] <= 5:
        assert judgement is not None
        assert (judgement.match, int(judgement.score)) == (clear[0].strip(".") == "yes", clear[1])
    elif judgement is not None:
        assert 0 <= judgement.score <= 5 and judgement.match is not None


@pytest.mark.parametrize(
    ("reply", "judgement"),
    [
        ('{"pred": "no", "score": 1}', Judgement(1, False)),
        ("Sure! ```json\n{'pred': 'Yes.', 'score': '4.5'}\n```", Judgement(4.5, True)),
        ("{{'pred': 'yes', 'score': 4}}", Judgement(4, True)),
        ("{\u201cpred\u201d: \u201cyes\u201d, \u201cscore\u201d: 4}", Judgement(4, True)),
        ("{pred: 'yes', score: 4}", Judgement(4, True)),
        ("Score: 4, pred: yes", Judgement(4, True)),
        ('{"Pred": "yes", "Score": 4}', Judgement(4, True)),
        ('{"pred": "yes", "score": true}', None),
        ('{"pred": "yes", "score": 7}', None),
        ('{"pred": "partially", "score": 3}', None),
        ('{"pred": "not sure", "score": 3}', None),
        ('{"pred": "yes", "score": null}', None),
        ("{'pred': 'yes', 'score': 4/5}", None),
        ("yes", None),
        ("", None),
        ("I cannot judge this.", None),
    ],
)
def test_tolerant_reading(reply: str, judgement: Judgement | None) -> None:
    assert read_judgement(reply, matches=True) == judgement


def test_score_alone_is_enough_where_no_match_is_asked() -> None:
    assert read_judgement("{'score': 4}", matches=False) == Judgement(4.0)
    assert read_judgement("{'score': 4}", matches=True) is None


@pytest.mark.parametrize("row", golden_params("judge_batches.jsonl"))
def test_official_totals_of_whole_runs(row: dict[str, Any]) -> None:
    matches = row["script"].endswith("_qa")
    judgements = []
    calls = 0
    for replies in row["reply_script"].values():
        for reply in replies:
            calls += 1
            if reply != "__RAISE__" and released_accepts(reply):
                judgements.append(released_judgement(reply, matches))
                break
    totals = released_totals(judgements, matches)
    (run,) = row["expected"]["runs"]
    assert calls == row["expected"]["api_calls"]
    expected = run["numbers"]
    assert totals["score"] == pytest.approx(
        next(value for name, value in expected.items() if name.startswith("Average score"))
    )
    if matches:
        assert totals["accuracy"] == pytest.approx(expected["Accuracy"])


def test_recorded_crashes_of_totals() -> None:
    behaviours = json.loads(golden_file("judge_behaviours.json").read_text())
    crash = {"status": "crash", "error": "ZeroDivisionError", "numbers": {}}
    assert behaviours["empty_prediction_list"] == behaviours["all_neither_yes_nor_no"] == [crash]
    for nothing in ([], [Judgement(3.0, None)]):
        with pytest.raises(ReleasedCrashError, match="ZeroDivisionError"):
            released_totals(nothing, matches=True)
