"""What an evaluation is about: which benchmark, which of its questions, looked at in which way."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from st_llm_cli.bench.benchmark import Benchmark, Loaded
from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.choice import PROMPT_STYLES
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError, UsageError, nearest
from st_llm_cli.recipe.other_stages import Evaluate
from st_llm_cli.stages.progress import Begin, unseen

ANSWERS = ("options", "generate")
SOUND_SAMPLERS = {"released_mvbench": "mvbench", "released_chat": "uniform", "uniform": "uniform"}
"""Sampler used instead of each released one, whose frames may lie outside of the clip or be too few."""


@dataclass(frozen=True)
class Plan:
    """What is to be evaluated, and how."""

    benchmark: str
    """Key of `BENCHMARKS`."""
    data: Path
    """Its folder."""
    answer: str = "options"
    """`options` scores the letters and writes nothing; `generate` has the model write, as released."""
    num_frames: int | None = None
    """Frames per clip; the model's own number if None."""
    released: bool = False
    """Follow the released scripts: frames chosen by their number and rule, beams as many as theirs."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks to ask; all if empty."""
    limit: int | None = None
    """Questions to ask, drawn by `seed`; all if None."""
    seed: int = 0
    max_new_tokens: int | None = None
    """Longest written answer, tokens; the benchmark's own number if None."""
    prompt_style: str = "released"
    """How multiple-choice questions are put: key of `PROMPT_STYLES`."""
    world: str | None = None
    """Benchmark `shapes`: the world to draw where the folder holds no clips; None: rich."""


def plan_of(stage: Evaluate) -> Plan:
    """What an `eval` stage asks for."""
    return Plan(
        stage.bench,
        Path(stage.data).expanduser(),
        answer=stage.answer or ("generate" if stage.released else "options"),
        num_frames=stage.frames,
        released=stage.released,
        tasks=stage.tasks,
        limit=stage.limit,
        seed=stage.seed,
        max_new_tokens=stage.max_new_tokens,
        world=stage.world,
    )


def check_command(plan: Plan) -> str:
    """The command that says which clips are missing, and where they are looked for."""
    return f"stllm eval --bench {plan.benchmark} --data {shlex.quote(str(plan.data))} --check"


def without_clips(plan: Plan, what: str) -> UsageError:
    """Say that clips are missing, and how to see where they are looked for."""
    fix = f"`{check_command(plan)}` says where they are looked for"
    return UsageError(what, where=str(plan.data), fix=fix)


def benchmark_named(name: str) -> Benchmark:
    """Find a benchmark.

    Raises:
        UsageError: If there is none of this name.
    """
    if name not in BENCHMARKS:
        raise UsageError(f"unknown benchmark '{name}'", where="benchmark", fix=nearest(name, BENCHMARKS))
    return BENCHMARKS[name]


def load(plan: Plan) -> tuple[Loaded, list[Sample]]:
    """Read a benchmark's questions and choose those that the plan is about.

    Raises:
        UsageError: If the plan names what is not there.
        DataError: If the benchmark's files are not there, or cannot be used.
    """
    check_plan(plan)
    benchmark = benchmark_named(plan.benchmark)
    draw_clips(plan)
    fix = f"check the path, and give {benchmark.layout}"
    try:
        is_there = plan.data.exists()
    except OSError as error:  # a name too long, or a folder that may not be looked into
        raise DataError(f"cannot be read: {error.strerror}", where=str(plan.data), fix=fix) from error
    if not is_there:
        raise DataError("no such file or folder", where=str(plan.data), fix=fix)
    loaded = benchmark.load(plan.data)
    selected = select(loaded.samples, plan.tasks, plan.limit, plan.seed)
    return loaded, [_in_style(sample, plan.prompt_style) for sample in selected]


def _in_style(sample: Sample, style: str) -> Sample:
    """Write a multiple-choice question as a style does; other kinds bring words of their own."""
    if sample.kind != "choice":
        return sample
    return replace(sample, prompt=PROMPT_STYLES[style].block(sample.question, sample.candidates))


def check_plan(plan: Plan) -> None:
    """Refuse what cannot be done before anything is read.

    Raises:
        UsageError: Saying which wish it is.
    """
    if plan.answer not in ANSWERS:
        raise UsageError(
            f"unknown way to answer '{plan.answer}'", where="answer", fix=nearest(plan.answer, ANSWERS)
        )
    if plan.prompt_style not in PROMPT_STYLES:
        what, fix = f"unknown style '{plan.prompt_style}'", nearest(plan.prompt_style, PROMPT_STYLES)
        raise UsageError(what, where="prompt_style", fix=fix)
    if plan.released and plan.prompt_style != "released":
        what = f"the style '{plan.prompt_style}' contradicts the released one"
        raise UsageError(what, where="prompt_style", fix="leave out `prompt_style`, or `released`")
    if plan.released and plan.num_frames is not None:
        what = f"{plan.num_frames} frames contradict the released number"
        raise UsageError(what, where="num_frames", fix="leave out `num_frames`, or `released`")
    if plan.world is not None:
        if plan.benchmark != "shapes":
            what, fix = f"'{plan.benchmark}' has no worlds", "leave it out, or choose the benchmark shapes"
            raise UsageError(what, where="world", fix=fix)
        from st_llm_cli.stages.drawn_shapes import check_world

        check_world(plan.data, plan.world)
    numbers = {
        "limit": plan.limit,
        "num_frames": plan.num_frames,
        "max_new_tokens": plan.max_new_tokens,
    }
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise UsageError(f"{number} is not above 0", where=name, fix="give at least 1")


def check_batch_size(batch_size: int) -> None:
    """Refuse a number of questions that cannot be answered together.

    Raises:
        UsageError: If it is not above 0.
    """
    if batch_size < 1:
        raise UsageError(f"{batch_size} is not above 0", where="batch_size", fix="give at least 1")


def draw_clips(plan: Plan, begin: Begin = unseen, processes: int = 1) -> None:
    """Draw the clips of the benchmark `shapes`, unless the folder holds them already.

    Args:
        plan: Of any benchmark; nothing is drawn for others.
        begin: As for `drawn_shapes.draw`, as is the rest.
        processes: How many draw.

    Raises:
        UsageError: If another process draws there and does not come to an end.
        DataError: If the folder holds other things, or cannot be written.
    """
    if plan.benchmark == "shapes":
        from st_llm_cli.stages.drawn_shapes import draw

        draw(plan.data, plan.world, begin, processes)


def select(
    samples: Sequence[Sample], tasks: Sequence[str] = (), limit: int | None = None, seed: int = 0
) -> list[Sample]:
    """Choose questions, in the benchmark's order; those that are scored together stay together.

    Args:
        samples: All questions.
        tasks: Names of tasks, or the beginning of ids (`action_count`); all if empty.
        limit: Number wanted; None for all. The last group may bring a few more.
        seed: Seed of the drawing.

    Raises:
        UsageError: If a task is not there.
    """
    chosen = list(samples)
    if tasks:
        known = {sample.task for sample in samples} | {sample.id.split("/")[0] for sample in samples}
        for task in tasks:
            if task not in known:
                raise UsageError(f"no task '{task}'", where="tasks", fix=nearest(task, sorted(known)))
        chosen = [each for each in chosen if each.task in tasks or each.id.split("/")[0] in tasks]
    if limit is None or limit >= len(chosen):
        return chosen
    units: dict[str, list[Sample]] = {}
    for sample in chosen:
        units.setdefault(f"group {sample.group}" if sample.group else f"id {sample.id}", []).append(sample)
    order = list(units)
    random.Random(seed).shuffle(order)
    kept: set[str] = set()
    for unit in order:
        if len(kept) >= limit:
            break
        kept |= {sample.id for sample in units[unit]}
    return [sample for sample in chosen if sample.id in kept]


def askable(samples: Iterable[Sample]) -> list[Sample]:
    """Give the questions whose clips are there and that can be scored."""
    return [sample for sample in samples if not sample.missing and not sample.problem]


def missing_media(samples: Iterable[Sample]) -> list[Media]:
    """Give the clips that were not found, each once."""
    return list(
        {(m.name, m.tried): m for sample in samples if not sample.problem for m in sample.missing}.values()
    )


def frames_of(plan: Plan, model_frames: int) -> tuple[str, int | None]:
    """Give the name of the sampler and the number of frames; None: about one a second, 4 to 16."""
    benchmark = BENCHMARKS[plan.benchmark]
    if plan.released:
        return benchmark.released_sampler, benchmark.released_frames
    sampler = SOUND_SAMPLERS.get(benchmark.released_sampler, benchmark.released_sampler)
    return sampler, plan.num_frames or model_frames
