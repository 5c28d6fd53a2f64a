"""What a second question costs against the first, and whether a long conversation grows.

    python tests/performance/chat.py turns  [--rounds 3] [--threads 1]
    python tests/performance/chat.py memory [--turns 50] [--threads 1]

The model is 'wide' (recipes/wide.yaml): random weights in the proportions of the 7B model. `turns` prints the
time to the first token of four questions about 16 frames, in seconds and against the first question's, which
includes looking at the clip; contenders take turns, and the medians of their ratios are given. `memory` holds
one conversation that fills the language model's context and drops its oldest turns again and again; the peak
of the process is printed every five turns, and its slope by least squares from the turn with which the
context was full.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.session import Session
from st_llm_cli.stages.video_model import VideoModel, load_model
from tests.performance.wide import wide_checkpoint

NUM_FRAMES = 16
QUESTIONS = ("What color is the circle?", "What does it do first?", "And then?", "Where is it at the end?")
READS_QUESTION = "model.new.qformer.reads_question=true"
LONG_FRAMES, LONG_ANSWER = 32, 40
"""Frames and tokens of an answer in a long conversation, which fill the context in 20 turns."""


def first_token_seconds(model: VideoModel, frames: torch.Tensor, **settings: object) -> list[float]:
    """Time from each question to the first token of its answer; the first includes looking at the clip."""
    session = Session(model.model, model.tokenizers, **settings)  # type: ignore[arg-type]
    began = time.perf_counter()
    session.show("clip", frames=frames)
    looked = time.perf_counter() - began
    for question in QUESTIONS:
        for _ in session.ask(question, Generation(max_new_tokens=8)):
            pass
    works = [turn.work for turn in session.turns]
    return [work.first_token_seconds + (0 if number else looked) for number, work in enumerate(works) if work]


def compare_turns(rounds: int) -> None:
    """Print a line for each contender."""
    free, aware = load_model(str(wide_checkpoint())), load_model(str(wide_checkpoint(READS_QUESTION)))
    frames = torch.randn(NUM_FRAMES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    contenders: dict[str, tuple[VideoModel, dict[str, object]]] = {
        "question-free": (free, {}),
        "question-free, reading all again": (free, {"reuse": False}),
        "question-aware, per-question": (aware, {}),
        "question-aware, first-question": (aware, {"visual_tokens": "first-question"}),
    }
    taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (model, settings) in contenders.items():
            taken[name].append(first_token_seconds(model, frames, **settings))
    for name, times in taken.items():
        first = median(each[0] for each in times)
        later = [median(each[turn] / each[0] for each in times) for turn in range(1, len(QUESTIONS))]
        shares = "  ".join(f"{share:.3f}" for share in later)
        sys.stdout.write(f"{name:34} first {first:6.3f} s   later questions, shares of it  {shares}\n")


def peak_of_conversation(turns: int) -> None:
    """Print the peak memory of the process along a conversation."""
    model = load_model(str(wide_checkpoint()))
    session = Session(model.model, model.tokenizers)
    session.show("clip", frames=torch.randn(LONG_FRAMES, 3, 224, 224))
    peaks, dropped, full_after = [], 0, turns
    for number in range(1, turns + 1):
        for _ in session.ask(QUESTIONS[number % len(QUESTIONS)], Generation(max_new_tokens=LONG_ANSWER)):
            pass
        peaks.append(peak_megabytes())
        work = session.turns[-1].work
        assert work is not None
        dropped = work.dropped_turns
        full_after = min(full_after, number) if dropped else full_after
        if number % 5 == 0:
            used = work.reused_tokens + work.read_tokens + work.new_tokens
            sys.stdout.write(
                f"{number:3} turns  peak {peaks[-1]:6.1f} MB  {used:4} tokens in the context  "
                f"{dropped:2} turns dropped  first token {work.first_token_seconds:.3f} s\n"
            )
            sys.stdout.flush()
    for begin, what in (
        (1, "all turns"),
        (full_after, f"the turns since the context was full, {full_after}"),
    ):
        along = np.arange(begin, turns + 1)
        slope = np.polyfit(along, peaks[begin - 1 :], 1)[0] if len(along) > 1 else float("nan")
        sys.stdout.write(f"slope over {what}: {slope:+.3f} MB a turn\n")


def peak_megabytes() -> float:
    """Peak memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return peak * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("turns", "memory"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "turns":
        compare_turns(arguments.rounds)
    else:
        peak_of_conversation(arguments.turns)


if __name__ == "__main__":
    main()
