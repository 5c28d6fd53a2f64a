"""How other programs read the recorded replies, row by row and column by column."""

from typing import Any

import pytest

from st_llm_cli.bench.other_readers import (
    READERS,
    key_letter,
    lmms_eval_mvbench,
    lmms_eval_shared,
    lmms_eval_tvbench,
    readings_of,
)
from st_llm_cli.bench.released import is_right, reply_text
from st_llm_cli.bench.sample import Prediction, Sample
from st_llm_cli.bench.tempcompass import released_choice
from tests.bench.golden import golden_params, golden_rows

MODERN = golden_params("modern_mcq.jsonl")
MATCHES = golden_rows("mvbench_match.jsonl")
LETTERS_OF_COLUMNS = {
    "lmms_eval_tvbench_letter": lmms_eval_tvbench,
    "lmms_eval_extract_mcq_answer": lmms_eval_shared,
}
# VLMEvalKit's and VideoGPT+'s chains, and the released rule without its bracket: claimed by nothing here.
OTHER_CHAINS = {
    "stllm_check_ans_raw",
    "vlmevalkit_exact_matching",
    "vlmevalkit_check_ans",
    "vlmevalkit_check_ans_advanced",
    "videogpt_plus",
}


@pytest.mark.parametrize("row", MODERN)
def test_every_recorded_reading_is_reproduced(row: dict[str, Any]) -> None:
    reply, candidates, expected = row["raw_output"], row["candidates"], dict(row["expected"])
    said = released_choice(reply, candidates)
    found = {"rating": int(said == row["answer_letter"]), "match_success": said is not None}
    assert found == expected.pop("tempcompass_multi_choice_rule_only")
    assert {name: LETTERS_OF_COLUMNS[name](reply, candidates) or "" for name in expected} == expected


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in MATCHES])
def test_every_recorded_verdict_is_reproduced(row: dict[str, Any]) -> None:
    reply, candidates, expected = row["raw_output"], row["candidates"], row["expected"]
    right = is_right(reply, candidates, row["answer"])
    found: dict[str, Any] = {"stllm_pipeline": right, "ask_anything_pipeline": right}
    assert reply_text(reply) == row["stllm_pred"]
    if row["answer"] in candidates:  # lmms-eval breaks on the others, which the loader leaves out
        key = key_letter(candidates, row["answer"])
        found["lmms_eval_gt_letter"] = key
        found["lmms_eval"] = lmms_eval_mvbench(reply, candidates) == key
        found["lmms_eval_counted"] = bool(reply)
    known = {name: value for name, value in expected.items() if name in found}
    assert known == {name: found[name] for name in known}
    unclaimed = set(expected) - set(known) - OTHER_CHAINS
    assert not unclaimed or row["answer"] not in candidates


def asked(reply: str, **other: Any) -> Prediction:
    sample = Sample("t/0", "t", "choice", (), "q", "q", "two", ("one", "two", "two"))
    return Prediction(sample, reply, **other)


def test_one_reply_gets_as_many_verdicts_as_there_are_programs() -> None:
    found = readings_of([asked("It is not A. It is B"), asked("")])
    assert found == {
        "lmms-eval for MVBench": 0.0,
        "lmms-eval for TVBench": 0.0,
        "lmms-eval elsewhere": 0.5,
        "TempCompass without its judge": 0.0,
    }
    assert list(found) == list(READERS)


def test_empty_reply_leaves_one_average_and_is_wrong_in_the_others() -> None:
    found = readings_of([asked("B"), asked("")])
    assert found.pop("lmms-eval for MVBench") == 1.0
    assert set(found.values()) == {0.5}


def test_scored_letters_have_no_part_in_it() -> None:
    assert readings_of([asked("B) two", option=1)]) == {}
