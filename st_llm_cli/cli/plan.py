"""`stllm train --dry-run`: show what a recipe's training would take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from st_llm_cli.cli.sizes import size_text

if TYPE_CHECKING:
    from st_llm_cli.recipe import Recipe
    from st_llm_cli.stages.plan_training import StagePlan, TrainingPlan

SMALL = 50_000_000
"""Parameters below which a GPU waits for the processor."""


def show_plan(recipe: Recipe, device: str | None, processes: int, *, as_json: bool) -> None:
    """Plan a recipe and print it.

    Raises:
        PlanError: If it does not fit, once it is printed.
    """
    from st_llm_cli.stages.plan_training import plan, refuse_what_cannot_fit

    planned = plan(recipe, device=device, processes=processes)
    typer.echo(json.dumps(_facts(planned), indent=1) if as_json else "\n".join(plan_lines(planned)))
    refuse_what_cannot_fit(planned)


def _facts(planned: TrainingPlan) -> dict[str, object]:
    stages = [
        asdict(stage) | {"flops": asdict(stage.flops) | {"total": stage.flops.total}}
        for stage in planned.stages
    ]
    return asdict(planned) | {"stages": stages, "fits": planned.fits, "hours": planned.hours}


def plan_lines(planned: TrainingPlan) -> Iterator[str]:
    """Write a plan for people."""
    device = planned.device
    count = f"{planned.processes} x " if planned.processes > 1 else ""
    yield (
        f"{count}{device.name}: {size_text(int(device.memory))}, {device.flops / 1e12:.3g} TFLOP/s, "
        f"of which {device.efficiency:.0%} is counted on"
    )
    yield f"model sizes from {planned.sizes_from}"
    for stage in planned.stages:
        yield ""
        yield from _stage_lines(stage, planned)
    if len(planned.stages) > 1:
        yield ""
        yield f"all stages: {_hours(planned.hours)}"
    small = max(sum(part.trained + part.frozen for part in stage.parts) for stage in planned.stages) < SMALL
    if small and device.name != "cpu":
        yield ""
        yield (
            f"A model this small does not use {device.efficiency:.0%} of a GPU, which waits for operations "
            "to be started: one of 8 M parameters came to 3 to 7 %. Expect some ten times as long."
        )


def _stage_lines(stage: StagePlan, planned: TrainingPlan) -> Iterator[str]:
    shape, memory = stage.shape, stage.memory
    yield f"stage '{stage.name}'"
    for part in stage.parts:
        yield f"  {part.name:<22}{_many(part.trained):>8} trained {_many(part.frozen):>8} frozen"
    clip = f"{_plural(shape.frames, 'frame')}, {_plural(shape.video_tokens, 'video token')}"
    yield f"  clip                  {clip}"
    if shape.language:
        dropped = f", {shape.kept_tokens} after dropping" if shape.kept_tokens < shape.video_tokens else ""
        yield (
            f"  sequence              {shape.video_tokens + shape.text.length} tokens{dropped}"
            f", {shape.text.length} of text, {shape.text.answer} learnt"
        )
    if stage.cached is not None:
        total = size_text(int(stage.cache_bytes_per_clip * stage.samples))
        yield (
            f"  token cache           {stage.cached}, {size_text(int(stage.cache_bytes_per_clip))} a clip, "
            f"at most {total}"
        )
    flops = stage.flops
    language = flops.student + flops.head
    shares = (("encoder", flops.encoder), ("language model", language), ("teacher", flops.teacher))
    text = ", ".join(f"{name} {part / flops.total:.0%}" for name, part in shares if part)
    yield f"  work per pass         {flops.total / 1e12:.3g} TFLOP: {text}"
    batch = "no batch fits" if stage.batch is None else f"a batch of {stage.batch} fits"
    yield (
        f"  memory                {size_text(int(memory.peak))} with a batch of {shape.clips}"
        f"{'' if stage.fits else ', does not fit'}; {batch}"
    )
    yield (
        f"                        weights {size_text(int(memory.weights))}, gradients "
        f"{size_text(int(memory.gradients))}, optimiser {size_text(int(memory.optimizer))}, "
        f"activations {size_text(int(memory.activations))}"
    )
    filled = "" if stage.cached is None else ", once the token cache is filled"
    yield f"  time                  {_hours(stage.hours)} for {stage.samples:,} samples{filled}"


def _many(count: int) -> str:
    """Write a number of parameters: `6.74 B`, `125 M`, `0`."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
