"""Numbers of a run: averages of the official scripts, coverage, intervals, pairs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.mvbench import TASKS
from st_llm_cli.bench.report import report_of
from st_llm_cli.bench.sample import Media, Prediction, Sample
from st_llm_cli.bench.vinoground import LETTERS
from tests.bench.golden import golden_file

RUNS = json.loads(golden_file("mvbench_aggregate.json").read_text())
PAIRS = json.loads(golden_file("vinoground_aggregate.json").read_text())
NAMES = tuple(task.name for task in TASKS.values())


def sample(number: int, task: str = "t", answer: str = "two", **other: Any) -> Sample:
    clip = Media(f"{number}.mp4", None)
    base = Sample(f"{task}/{number}", task, "choice", (clip,), "q", "q", answer, ("one", "two"))
    return replace(base, **other)


def run_of(samples: list[Sample], replies: list[str | None]) -> list[Prediction]:
    return [
        Prediction(each, reply, error=None if reply is not None else "DamagedVideoError: broken")
        for each, reply in zip(samples, replies, strict=True)
    ]


@pytest.mark.parametrize("run", [pytest.param(run, id=run["name"]) for run in RUNS])
def test_released_averages(run: dict[str, Any]) -> None:
    assert run["samples"]
    samples = [
        sample(number, row["task_type"], row["answer"], candidates=tuple(row["candidates"]))
        for number, row in enumerate(run["samples"])
    ]
    predictions = run_of(samples, [row["raw_output"] for row in run["samples"]])
    report = report_of("mvbench", Loaded(tuple(samples), 4000, "", (), NAMES), samples, predictions)
    scored = report.scorers["released"]
    official = dict(run["expected"]["stllm_acc_dict"])
    total = official.pop("Total Acc")
    assert {task: [round(rate.value * rate.n), rate.n] for task, rate in scored.tasks.items()} == official
    assert list(scored.tasks) == [name for name in NAMES if name in official]
    assert f"{100 * scored.micro.value:.2f}%" == total
    assert 100 * scored.micro.value == pytest.approx(run["expected"]["ask_anything_leaderboard"]["Avg"])
    assert 100 * scored.macro.value == pytest.approx(run["expected"]["macro_mean_over_20_tasks"])


def test_vinoground_scores_are_the_official_ones() -> None:
    samples, replies = [], []
    for index, reply, answer in PAIRS["rows_idx_pred_gt"]:
        pair, half, side = index.split("_")
        other = {"kind": "pair", "candidates": LETTERS, "group": pair, "part": f"{half} {side}"}
        samples.append(replace(sample(len(samples), side, answer), **other))
        replies.append(reply)
    assert samples
    report = report_of("vinoground", Loaded(tuple(samples), 2000, ""), samples, run_of(samples, replies))
    for scorer in ("strict", "released"):
        groups = report.scorers[scorer].groups
        found = {f"{name}_score": 100 * rate.value for name, rate in groups.items()}
        assert found == pytest.approx(PAIRS["expected"])


def test_half_a_pair_is_no_pair() -> None:
    lonely = sample(0, "text", "A", kind="pair", candidates=LETTERS, group="0", part="pos text")
    report = report_of("vinoground", Loaded((lonely,), 2000, ""), [lonely], run_of([lonely], ["A"]))
    assert report.scorers["strict"].groups == {}


def test_void_replies_are_wrong_strictly_and_counted_where_they_are_right_as_released() -> None:
    samples = [sample(number) for number in range(4)]
    report = report_of(
        "custom", Loaded(tuple(samples), 4, ""), samples, run_of(samples, ["", ".", "B", "(A)"])
    )
    strict, released = report.scorers["strict"], report.scorers["released"]
    assert (strict.micro.value, strict.empty, strict.unparsed, strict.void_but_right) == (0.25, 2, 2, 0)
    assert (released.micro.value, released.empty, released.void_but_right) == (0.75, 2, 2)


def test_questions_that_were_not_asked_are_never_part_of_a_number() -> None:
    found = Media("x.mp4", golden_file("mvbench_match.jsonl"))
    samples = [
        sample(0, clips=(found,)),
        sample(1, clips=(found,)),
        sample(2, clips=(found,)),
        sample(3, "pose"),
        sample(4, clips=(found,), problem="its answer is none of the candidates"),
    ]
    predictions = run_of(samples[:3], ["B", "A", None])
    report = report_of("mvbench", Loaded(tuple(samples), 4000, "", ("Count",)), samples, predictions)
    assert report.scorers["strict"].micro.n == 3
    assert report.scorers["strict"].rules["not asked"] == 1
    assert report.coverage.missing == {"pose": 1}
    assert report.coverage.problems == {"t/4": "its answer is none of the candidates"}
    assert report.coverage.not_decoded == {"t/2": "DamagedVideoError: broken"}
    assert report.coverage.label == (
        "3 of 4000 questions; pose: 1 without clip; 1 unusable; 1 not decodable, counted as wrong; "
        "no questions of Count"
    )


def test_part_after_the_end_of_its_clip_is_told_from_a_clip_that_cannot_be_decoded() -> None:
    samples = [sample(0), sample(1)]
    outside = replace(run_of(samples[:1], [None])[0], error="PartOutsideError: ends after 3.8 s, …")
    predictions = [outside, *run_of(samples[1:], [None])]
    report = report_of("custom", Loaded(tuple(samples), 2, ""), samples, predictions)
    assert report.coverage.label.endswith(
        "1 about a part after the end of the clip, counted as wrong; 1 not decodable, counted as wrong"
    )


def test_micro_and_macro_differ_where_tasks_do() -> None:
    samples = [sample(number, "large") for number in range(3)] + [sample(3, "small")]
    report = report_of(
        "custom", Loaded(tuple(samples), 4, ""), samples, run_of(samples, ["B", "B", "B", "A"])
    )
    scored = report.scorers["strict"]
    assert (scored.micro.value, scored.macro.value, scored.macro.n) == (0.75, 0.5, 2)


def test_interval_of_a_perfect_score_still_knows_doubt() -> None:
    samples = [sample(number) for number in range(5)]
    report = report_of("custom", Loaded(tuple(samples), 5, ""), samples, run_of(samples, ["B"] * 5))
    rate = report.scorers["strict"].micro
    assert rate.value == rate.high == 1.0 and 0.5 < rate.low < 0.6


def test_written_answers_are_compared_without_a_judge() -> None:
    short = [sample(n, kind="short answer", answer="a dog", candidates=()) for n in range(2)]
    long = [sample(2, kind="long answer", answer="a dog", candidates=())]
    replies: list[str | None] = ["Dog.", "the dog runs", "cat"]
    report = report_of("msvd", Loaded((*short, *long), 3, ""), short + long, run_of(short + long, replies))
    assert report.judge_free == pytest.approx(
        {"token F1": (1 + 2 / 3) / 3, "same words": 1 / 3, "holds the reference": 2 / 3}
    )
    assert report.needs_judge == 1
    assert list(report.scorers) == ["strict"]
    assert json.loads(json.dumps(report.as_json()))["coverage"]["scored"] == 2


def test_written_answers_are_compared_by_type_of_question() -> None:
    samples = [
        sample(number, task, "red", candidates=(), kind="short answer") for number, task in enumerate("aab")
    ]
    loaded = Loaded(tuple(samples), 3, "", (), ("b", "a", "c"))
    report = report_of("activitynet", loaded, samples, run_of(samples, ["red", "blue", "a red car"]))
    assert list(report.judge_free_tasks) == ["b", "a"]
    assert report.judge_free_tasks["a"] == {"token F1": 0.5, "same words": 0.5, "holds the reference": 0.5}
    assert report.judge_free_tasks["b"]["holds the reference"] == 1.0
    alone = report_of("msvd", loaded, samples[:1], run_of(samples[:1], ["red"]))
    assert alone.judge_free_tasks == {}
