"""Runs behind docs/claims.md: training one, and the row that keeps what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

from st_llm_cli.stages.video_model import VideoModel
from st_llm_cli.tokens.atomic import put_whole
from st_llm_cli.training.data.example import Example
from tests.performance.claims_processes import processes
from tests.performance.right_answers import right_answers


@dataclass(frozen=True)
class Row:
    """What one run came to."""

    variant: str
    seed: int
    step_seconds: float
    """Of a training step: of the fastest ten in a row, where other work counts least."""
    memory_gb: float
    """Largest memory while training: of the process, or on a GPU of its tensors."""
    right: dict[str, str]
    """For each number of frames, one bit for each answer, packed: clip by clip, in the order of the kinds."""


AnyRow = TypeVar("AnyRow", bound=Row)


class Runs(Protocol):
    """The runs of a part of the page."""

    def fill(self, jobs: int) -> None:
        """Keep the tokens of all clips, by so many processes: runs side by side would each do all of it."""

    def measure(self, variant: str, seed: int) -> Row:
        """Train a variant and ask its result about held-out clips."""


class Part(NamedTuple):
    """Runs that are wanted."""

    runs: Callable[[], Runs]
    """Gets ready to measure them, if any is missing; what it gives is sent to other processes."""
    variants: Sequence[str]
    path: Path
    """The file of rows."""


def measure_all(parts: Sequence[Part], seeds: Sequence[int], jobs: int = 1) -> None:
    """Append a row for each variant and seed as soon as it is measured; those that are there stay.

    Args:
        parts: What is to be measured.
        seeds: Of the trainings.
        jobs: Runs side by side.

    Raises:
        RuntimeError: If a run fails: those beside it come to their end first, and no other begins.
    """
    wanted = []
    for part in parts:
        if missing := _missing(part, seeds):
            runs = part.runs()
            runs.fill(jobs)
            wanted += [(part.path, runs, *which) for which in missing]
    failure: BaseException | None = None
    with processes(jobs) as workers:
        going_on = {}
        for number, (path, runs, variant, seed) in enumerate(wanted, start=1):
            begin = f"{path.stem}: {variant}, seed {seed} ({number} of {len(wanted)}) …"
            going_on[workers.submit(_measure, runs, variant, seed, begin)] = path
        while going_on:
            for future in wait(going_on, return_when=FIRST_COMPLETED).done:
                path = going_on.pop(future)
                if future.exception() is None:
                    _append(future.result(), path)
                    continue
                failure = failure or future.exception()
                going_on = {other: path for other, path in going_on.items() if not other.cancel()}
    if failure is not None:
        raise failure


def _measure(runs: Runs, variant: str, seed: int, begin: str) -> Row:
    say(begin)
    return runs.measure(variant, seed)


def _missing(part: Part, seeds: Sequence[int]) -> list[tuple[str, int]]:
    done = {(row["variant"], row["seed"]) for row in map(json.loads, _lines(part.path))}
    return [(variant, seed) for seed in seeds for variant in part.variants if (variant, seed) not in done]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _append(row: Row, path: Path) -> None:
    put_whole(path, [f"{line}\n".encode() for line in (*_lines(path), json.dumps(asdict(row)))])
    say(f"{path.stem}: {row.variant}, seed {row.seed}: {row.step_seconds:.2f} s a step")


def say(text: str) -> None:
    """Print a line at once: the next may be minutes away."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def read_rows(path: Path, kind: type[AnyRow]) -> list[AnyRow]:
    """Rows measured before, of a class of them."""
    return [kind(**json.loads(line)) for line in _lines(path)]


def trained(folder: Path) -> tuple[float, float]:
    """Seconds of the fastest steps of a run, and its largest memory, GB; see `Row`."""
    metrics: list[dict[str, Any]] = [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    ]
    steps = [
        (later["seconds"] - line["seconds"]) / (later["step"] - line["step"])
        for line, later in pairwise(metrics)
    ]
    return round(min(steps), 4), max(line["memory_gb"] for line in metrics)


def answers(model: VideoModel, clips: Sequence[Example]) -> str:
    """Which questions about held-out clips a model answers to the letter, packed."""
    with torch.autocast(model.model.device.type, torch.bfloat16):  # as in training
        return packed([right for clip in right_answers(model, clips) for right in clip])


def packed(bits: Sequence[int]) -> str:
    """Bits as hexadecimal digits, four in each; their number is a multiple of four."""
    return f"{int(''.join(map(str, bits)), 2):0{len(bits) // 4}x}"


def unpacked(digits: str) -> list[int]:
    """The bits again."""
    return [int(bit) for bit in f"{int(digits, 16):0{len(digits) * 4}b}"]


Places = Sequence[Sequence[int]]
"""For each held-out clip, which of all answers count."""


def by_clip(rows: Sequence[Row], frames: str, places: Places) -> list[float]:
    """Share of right answers about each clip that has any that count, the mean of some runs.

    Args:
        rows: The runs.
        frames: Number of frames that they were asked with.
        places: The answers that count.
    """
    right = [unpacked(row.right[frames]) for row in rows]
    return [mean(run[place] for run in right for place in own) for own in places if own]


def every(places: Sequence[int], asked: int, clips: int) -> Places:
    """The same places among the answers about each clip, where every clip is asked as much."""
    return [[asked * clip + place for place in places] for clip in range(clips)]
