"""Runs made up for reports."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.gain import gain_of
from st_llm_cli.bench.record import RunRecord
from st_llm_cli.bench.report import report_of
from st_llm_cli.bench.sample import Media, Prediction, Sample


def sample(number: int, task: str = "Moving Count", **other: Any) -> Sample:
    """A question about a clip of its own whose right answer is (B) two."""
    clip = Media(f"{number}.mp4", Path(f"{number}.mp4"))
    question = f"How many move in clip {number}?"
    base = Sample(f"count/{number}", task, "choice", (clip,), question, question, "two", ("one", "two"))
    return replace(base, **other)


def record_of(
    replies: str | list[str | None], *, benchmark: str = "mvbench", control: str | None = None, **other: Any
) -> RunRecord:
    """A run with one question for each reply; `control` gives the letters said under control `blind`."""
    samples = [sample(number) for number in range(len(replies))]
    predictions = [
        Prediction(each, reply, error=None if reply is not None else "DamagedVideoError: broken")
        for each, reply in zip(samples, replies, strict=True)
    ]
    report = report_of(benchmark, Loaded(tuple(samples), None, ""), samples, predictions)
    record = RunRecord(report, predictions, settings={"model": "tiny", "answer": "generate"})
    if control is not None:
        blind = [Prediction(each, letter) for each, letter in zip(samples, control, strict=True)]
        answers = {"blind": {each.sample.id: each for each in blind}}
        record = replace(record, gain=gain_of(predictions, {"blind": blind}), controls=answers)
    return replace(record, **other)
