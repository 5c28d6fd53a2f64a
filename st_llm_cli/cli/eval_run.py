"""The long part of `stllm eval`: questions are answered, with progress, by one process or several."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from st_llm_cli.cli.screen import note, progress_of
from st_llm_cli.cli.token_cache import use_text

if TYPE_CHECKING:
    from pathlib import Path

    from st_llm_cli.bench.gain import Gain
    from st_llm_cli.stages.eval import Result
    from st_llm_cli.stages.eval_job import Job
    from st_llm_cli.stages.eval_plan import Plan
    from st_llm_cli.stages.share import Share


def draw_with_progress(plan: Plan) -> None:
    """Draw the clips of the benchmark `shapes`, where its folder holds none, on the cores there are."""
    from st_llm_cli.stages.eval_plan import draw_clips
    from st_llm_cli.stages.machine import usable_cores

    with ExitStack() as stack:
        draw_clips(
            plan,
            lambda total: stack.enter_context(progress_of(total, "drawing clips to ask about")).step,
            processes=min(usable_cores(), MOST_THAT_DRAW),
        )


def keep_command(folder: Path, device: str) -> None:
    """Keep with a run by which command, with which packages and on which device it was measured."""
    from st_llm_cli.stages.report import write_environment

    write_environment(folder, shlex.join(["stllm", *sys.argv[1:]]), device)


def answer_questions(job: Job, share: Share | None, workers: int) -> tuple[Result, dict[str, Result]] | None:
    """Have the questions answered, also under controls; None where other processes still owe answers."""
    from st_llm_cli.stages.eval_job import answer_job, answers_of, results_of
    from st_llm_cli.stages.prediction_file import refuse_foreign
    from st_llm_cli.stages.workers import answer_with_workers

    # What is wrong with the data or the folder is said before the model's long wait.
    total = answers_of(job)
    refuse_foreign(job.folder)
    if share is not None:
        total = max(1, total // share.count)
        note(f"share {share.index + 1} of {share.count} ({share.by}), about {total} answers")
    try:
        with progress_of(total, f"asking {job.plan.benchmark}") as progress:
            if workers > 1:
                outcome = answer_with_workers(job, workers, progress.step)
            else:
                outcome = answer_job(job, share, progress.step)
    except KeyboardInterrupt:
        note(f"interrupted; what was answered is in {job.folder}, the same command goes on")
        raise
    if outcome.use.hits + outcome.use.misses:
        note(use_text(outcome.use))
    keep_command(job.folder, outcome.device)
    results = results_of(job)
    if results is None:
        note(f"{job.folder}: this share is through; the last one to finish gives the numbers")
    return results


def keep_gain(result: Result, controlled: dict[str, Result], scorer: str) -> Gain | None:
    """Compare a run with its controls, and keep the numbers; None where no control or no score is there."""
    from st_llm_cli.bench.gain import gain_of
    from st_llm_cli.stages.run_folder import write_run_file

    if not controlled or scorer not in result.report.scorers:
        return None
    gain = gain_of(result.predictions, {name: each.predictions for name, each in controlled.items()}, scorer)
    write_run_file(result.folder / "controls.json", json.dumps(asdict(gain), indent=1) + "\n")
    return gain


MOST_THAT_DRAW = 8
"""Processes: more would take longer to start than to draw."""
