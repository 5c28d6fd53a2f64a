"""An evaluation that several processes can work on: each answers a share, and the answers become one file.

The processes may be workers of one command or belong to a launcher such as torchrun: what they write, and how
it becomes one file, is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from st_llm_cli.stages.controls import Controlled, control_folder
from st_llm_cli.stages.eval import Result, answer_share, collected
from st_llm_cli.stages.eval_plan import Plan, askable, load
from st_llm_cli.stages.share import Share, device_of
from st_llm_cli.tokens.store import CacheUse, TokenCache


@dataclass(frozen=True)
class Job:
    """All that an evaluation is."""

    plan: Plan
    folder: Path
    model: str
    """As for `load_model`."""
    controls: tuple[str, ...] = ()
    """Keys of `CONTROLS` to ask all questions again under, after the run itself."""
    device: str = "auto"
    dtype: str = "auto"
    cache: Path | None = None
    """Where the tokens of clips are kept; None looks at each clip anew."""
    batch_size: int = 1


@dataclass(frozen=True)
class Outcome:
    """What a process had to do with."""

    device: str
    """Where the model was."""
    use: CacheUse = field(default_factory=CacheUse)
    """What the token cache was good for."""


def answers_of(job: Job) -> int:
    """Count the answers that a job asks for, those under controls among them.

    Raises:
        UsageError: If the plan names what is not there.
        DataError: If the benchmark's files cannot be used.
    """
    return len(askable(load(job.plan)[1])) * (1 + len(job.controls))


def answer_job(job: Job, share: Share | None, step: Callable[[str], None]) -> Outcome:
    """Answer the questions of one process; what is answered already is not answered again.

    Args:
        job: The evaluation.
        share: This process's share; None for all of it.
        step: Called with the id of each question that is through.
    """
    from st_llm_cli.stages.video_model import load_model
    from st_llm_cli.stages.weights import weights_digest

    cache = None if job.cache is None else TokenCache(job.cache)
    device = device_of(share, job.device)
    model = load_model(job.model, device=device, dtype=job.dtype, seed=job.plan.seed, cache=cache)
    settings: dict[str, Any] = {
        "model": job.model,
        "weights": weights_digest(model.folder),
        "dtype": job.dtype,
    }
    same: dict[str, Any] = {"share": share, "batch_size": job.batch_size, "step": step}
    answer_share(model, job.plan, job.folder, settings=settings, **same)
    for name in job.controls:
        controlled, own = Controlled(model, name, job.plan.seed), {**settings, "control": name}
        answer_share(controlled, job.plan, control_folder(job.folder, name), settings=own, **same)
    return Outcome(str(model.model.device), CacheUse() if cache is None else cache.use)


def results_of(job: Job) -> tuple[Result, dict[str, Result]] | None:
    """Score a job's run and its controls; None while answers are missing, which other processes owe."""
    result = collected(job.plan, job.folder)
    controlled = {name: collected(job.plan, control_folder(job.folder, name)) for name in job.controls}
    whole = {name: each for name, each in controlled.items() if each is not None}
    return None if result is None or len(whole) < len(controlled) else (result, whole)
