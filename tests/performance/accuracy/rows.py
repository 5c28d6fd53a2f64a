"""Everything that was asked and answered, in two files: what all tables are made of.

choices.jsonl   a line a multiple-choice question: its options, the best possible without order, and what
                was answered to the frames as they are ("full") and under each control
answers.jsonl   a line a clip of what was asked freely, and of the plain world: for each question its
                kind, its text, what is true, the best possible without order, and what was said if it
                was something else
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from st_llm_cli.bench.sample import Media, Prediction, Sample
from st_llm_cli.shapes.encode import Encoding
from tests.performance.accuracy.asking import Answer
from tests.performance.accuracy.tables import Choices

FULL = "full"
PARTS = ("ends", "corners", "plain")
"""What the answers of one line belong to."""


def write_rows(folder: Path, choices: Choices, answers: dict[str, Sequence[Answer]]) -> None:
    """Write both files into a folder; answers by `PARTS`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "choices.jsonl", _choice_rows(choices))
    _write(folder / "answers.jsonl", (row for part in PARTS for row in _clip_rows(part, answers[part])))


def read_rows(folder: Path) -> tuple[Choices, dict[str, list[Answer]]]:
    """Read what `write_rows` has written."""
    answers: dict[str, list[Answer]] = {part: [] for part in PARTS}
    for row in _read(folder / "answers.jsonl"):
        answers[row["part"]] += _answers_of(row)
    return _choices_of(list(_read(folder / "choices.jsonl"))), answers


def _choice_rows(choices: Choices) -> Iterator[dict[str, Any]]:
    replies: dict[str, dict[str, list[str | None]]] = defaultdict(lambda: defaultdict(list))
    for control, predictions in {FULL: choices.full, **choices.controls}.items():
        for each in predictions:
            replies[each.sample.id][control].append(each.reply)
    for each in choices.full:
        sample = each.sample
        (clip,) = sample.clips
        yield {
            "id": sample.id,
            "task": sample.task,
            "kind": sample.kind,
            "clip": clip.name,
            "question": sample.question,
            "candidates": sample.candidates,
            "answer": sample.answer,
            "order_blind": choices.ceilings[sample.id],
            "replies": replies[sample.id],
        }


def _choices_of(rows: list[dict[str, Any]]) -> Choices:
    found: dict[str, list[Prediction]] = {}
    samples = [
        Sample(
            row["id"],
            row["task"],
            row["kind"],
            (Media(row["clip"], None),),
            row["question"],
            "",
            row["answer"],
            tuple(row["candidates"]),
        )
        for row in rows
    ]
    for control, first in rows[0]["replies"].items():
        found[control] = [
            Prediction(sample, row["replies"][control][number])
            for number in range(len(first))
            for sample, row in zip(samples, rows, strict=True)
        ]
    full = found.pop(FULL)
    return Choices(full, found, {row["id"]: row["order_blind"] for row in rows})


def _clip_rows(part: str, answers: Sequence[Answer]) -> Iterator[dict[str, Any]]:
    for _, group in groupby(answers, lambda each: (each.world, each.video)):
        own = list(group)
        asked = [
            [each.kind, each.question, each.truth, each.order_blind, *([] if each.right else [each.reply])]
            for each in own
        ]
        facts = {name: value for name, value in asdict(own[0]).items() if name in CLIP_FACTS}
        yield {"part": part, **facts, "asked": asked}


def _answers_of(row: dict[str, Any]) -> Iterator[Answer]:
    facts = {name: row[name] for name in CLIP_FACTS} | {"encoding": Encoding(**row["encoding"])}
    for kind, question, truth, order_blind, *reply in row["asked"]:
        said = reply[0] if reply else truth
        yield Answer(**facts, kind=kind, question=question, truth=truth, order_blind=order_blind, reply=said)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


CLIP_FACTS = ("video", "world", "objects", "encoding", "seconds")
