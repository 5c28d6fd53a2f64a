"""How long an evaluation takes: ways to answer, several workers, and the runner itself.

    python tests/performance/evaluation.py [--rounds 3] [--clips 2] [--new-tokens 16]
    python tests/performance/evaluation.py --workers [--clips 12]

The model is 'wide' with random weights, on one torch thread, batch 1. Clips are decoded beforehand and
contenders take turns in every round; each line gives the median of the processor's seconds a question, which
other programs on the machine disturb little. With `--workers`, one worker is timed against two by the clock,
one thread each: that needs two cores with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.shapes.folder import write_folder
from st_llm_cli.stages.eval import question_of, request_for, run
from st_llm_cli.stages.eval_job import Job
from st_llm_cli.stages.eval_plan import Plan, load
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.stages.workers import answer_with_workers
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.request import Request
from tests.performance.wide import wide_checkpoint

RUNNER_QUESTIONS = 2000
ALONE = 3


class Instant:
    """Answers at once, so that what is left is the runner's own time."""

    num_frames = 16
    transform = None

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        for request in requests:
            yield request, object()

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        yield from (0 for _ in questions)


def runner_seconds(folder: Path, per_clip: int) -> float:
    """The processor's seconds a question of everything but reading clips and answering."""
    rows = []
    for number in range(RUNNER_QUESTIONS):
        name = f"{number // per_clip}.mp4"
        (folder / name).touch()
        options = ["to the left", "to the right", "up", "down"]
        row = {"video": name, "question": f"Where does number {number} go?", "candidates": options}
        rows.append(json.dumps({**row, "answer": options[0], "id": str(number)}))
    (folder / "mine.jsonl").write_text("\n".join(rows))
    began = time.process_time()
    run(Instant(), Plan("custom", folder / "mine.jsonl"), folder / f"run-{per_clip}")
    return (time.process_time() - began) / RUNNER_QUESTIONS


def questions_by_clip(model: VideoModel, folder: Path, new_tokens: int) -> list[list[Question]]:
    """Multiple-choice questions of the world of shapes, with clips that are decoded, to be written."""
    plan = Plan("custom", folder, "generate", max_new_tokens=new_tokens)
    _, selected = load(plan)
    about: dict[Request, list[Any]] = {}
    for sample in selected:
        about.setdefault(request_for(model, plan, sample.clips[0]), []).append(sample)
    clips = model.read_clips(list(about))
    return [
        [replace(question_of(plan, sample, clip), max_new_tokens=new_tokens) for sample in about[request]]
        for request, clip in clips
    ]


def choosing(asked: Sequence[Question]) -> list[Question]:
    """The same questions, to be answered by the scores of the letters."""
    return [replace(question, letters="ABCD"[: question.text.count("\n(")]) for question in asked]


def one_by_one(model: VideoModel, asked: Sequence[Question]) -> int:
    """Ask some of the questions, each as if it were the only one; their number."""
    for question in asked[:ALONE]:
        list(model.answer_all([question]))
    return len(asked[:ALONE])


def all_of_a_clip(model: VideoModel, asked: Sequence[Question]) -> int:
    return len(list(model.answer_all(asked)))


def ways(folder: Path, root: Path, new_tokens: int) -> dict[str, Callable[[int], int]]:
    """What is compared, each called with the number of a clip; the others are held against the last."""
    checkpoint = str(wide_checkpoint())
    plain, cached = load_model(checkpoint), load_model(checkpoint, cache=TokenCache(root))
    pictures = questions_by_clip(plain, folder, new_tokens)
    questions_by_clip(cached, folder, new_tokens)
    tokens = questions_by_clip(cached, folder, new_tokens)
    return {
        "options, tokens from the cache, a clip's questions together": lambda n: all_of_a_clip(
            cached, choosing(tokens[n])
        ),
        "options, tokens from the cache, each alone": lambda n: one_by_one(cached, choosing(tokens[n])),
        "generate, tokens from the cache, a clip's questions together": lambda n: all_of_a_clip(
            cached, tokens[n]
        ),
        "generate, tokens from the cache, each alone": lambda n: one_by_one(cached, tokens[n]),
        "generate, no cache, each alone": lambda n: one_by_one(plain, pictures[n]),
    }


def compare_ways(arguments: argparse.Namespace, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    write_folder(folder / "shapes", arguments.clips)
    model = load_model(str(wide_checkpoint()))
    counts = [len(asked) for asked in questions_by_clip(model, folder / "shapes", 1)]
    say(f"{sum(counts)} questions about {len(counts)} clips, {arguments.new_tokens} new tokens at most")
    contenders = ways(folder / "shapes", folder / "cache", arguments.new_tokens)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        clip = number % len(counts)
        for name, work in contenders.items():
            began = time.process_time()
            count = work(clip)
            seconds[name].append((time.process_time() - began) / count)
    slowest = median(list(seconds.values())[-1])
    for name, taken in seconds.items():
        each = median(taken)
        say(f"{name:62} {each:8.3f} s a question  {slowest / each:6.1f} times as fast")


def compare_workers(arguments: argparse.Namespace, folder: Path) -> None:
    write_folder(folder / "shapes", arguments.clips)
    plan = Plan("custom", folder / "shapes")
    seconds = {}
    for count in (1, 2):
        job = Job(plan, folder / f"run-{count}", str(wide_checkpoint()), device="cpu")
        times: list[float] = []
        answer_with_workers(job, count, lambda id, times=times: times.append(time.perf_counter()))  # type: ignore[misc]
        # From the first answer on: loading a model is not what is measured.
        seconds[count] = (times[-1] - times[0]) / (len(times) - 1)
        say(f"{count} workers: {len(times)} answers, {seconds[count]:.3f} s each")
    say(f"two workers are {seconds[1] / seconds[2]:.2f} times as fast as one")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--workers", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.workers:
            compare_workers(arguments, folder)
            return
        for per_clip in (1, 10):
            (folder / str(per_clip)).mkdir()
            own = runner_seconds(folder / str(per_clip), per_clip) * 1000
            say(f"the runner itself, {per_clip} questions about a clip: {own:.2f} ms a question")
        compare_ways(arguments, folder)


if __name__ == "__main__":
    main()
