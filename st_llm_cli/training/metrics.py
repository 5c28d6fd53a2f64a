"""What a training run says about itself while it runs."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


@dataclass(frozen=True)
class StepMetrics:
    """One line of `metrics.jsonl`: means over the steps since the line before."""

    stage: str
    """Name of the training stage."""
    step: int
    """Optimiser steps done."""
    steps: int
    """Optimiser steps of the stage."""
    loss: float
    """What is minimised."""
    language_loss: float | None
    """Cross-entropy per answer token, nats; None without a language model."""
    masked_video_loss: float | None
    """Loss of masked video modelling, unweighted, over the steps that used it; None if none did."""
    mask_ratio: float | None
    """Share of video tokens dropped; None without masking."""
    video_tokens: float
    """Video tokens that a step's sequences held, after dropping."""
    padding: float | None
    """Share of the positions the language model read that only made rows equally long; None without one."""
    gradient_norm: float
    """Before it was cut."""
    learning_rate: float
    """Of the stage; parts with one of their own (`part_lr`) keep their ratio to it."""
    seconds: float
    """Since the start of the stage."""
    video_tokens_per_second: float
    """Since the line before, over all processes."""
    memory_gb: float
    """Most memory used so far: of the GPU, else of the process; GB of 10^9 bytes."""
    mfu: float | None = None
    """Share of the device's dense 16-bit peak that the step's products took, without what checkpointing does
    again; None where the peak is not known, as on a CPU."""


StepListener = Callable[[StepMetrics], None]


class RunningMeans:
    """Means of named quantities since they were last asked for; a quantity may be absent at some steps."""

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = {}

    def add(self, **quantities: Tensor | float | None) -> None:
        """Take one step's quantities in; None counts as absent."""
        for name, value in quantities.items():
            if value is not None:
                self._seen.setdefault(name, []).append(float(value))

    def take(self) -> dict[str, float]:
        """Give the means back and begin anew."""
        means = {name: sum(values) / len(values) for name, values in self._seen.items()}
        self._seen.clear()
        return means


class TellMetrics(TrainerCallback):
    """Tells a listener what the Trainer logs.

    Args:
        stage: Name of the stage.
        listener: Called with every line of metrics.
        at_peak: Seconds that a step would take at the peak of the device; None where that is not known.
    """

    def __init__(self, stage: str, listener: StepListener, at_peak: float | None = None) -> None:
        self.stage = stage
        self.listener = listener
        self.at_peak = at_peak
        self._started = self._told = time.monotonic()
        self._step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = self._told = time.monotonic()
        self._step = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the last steps have their line too, when they are fewer than a line's."""
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell one line; the Trainer's summary at the end is not one."""
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        now = time.monotonic()
        pace = (state.global_step - self._step) / max(now - self._told, 1e-9)
        self._told, self._step = now, state.global_step
        self.listener(
            StepMetrics(
                stage=self.stage,
                step=state.global_step,
                steps=state.max_steps,
                loss=logs["loss"],
                language_loss=logs.get("language_loss"),
                masked_video_loss=logs.get("masked_video_loss"),
                mask_ratio=logs.get("mask_ratio"),
                video_tokens=logs["video_tokens"],
                padding=logs.get("padding"),
                gradient_norm=float(logs["grad_norm"]),
                learning_rate=logs["learning_rate"],
                seconds=round(now - self._started, 3),
                video_tokens_per_second=round(logs["video_tokens"] * pace, 1),
                memory_gb=round(_peak_bytes() / 1e9, 3),
                mfu=None if self.at_peak is None else round(self.at_peak * pace, 4),
            )
        )


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def append_metrics(path: Path, metrics: StepMetrics) -> None:
    """Write one line of `metrics.jsonl`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(metrics)) + "\n")


def cut_metrics(path: Path, stage: str, step: int) -> float:
    """Remove the lines that a killed run wrote after the checkpoint from which the stage goes on.

    Args:
        path: A `metrics.jsonl`; it may be missing, and end in half a line.
        stage: Name of the stage.
        step: Optimiser steps done in that checkpoint.

    Returns:
        Seconds the stage had taken by then.
    """
    if not path.exists():
        return 0.0
    kept, seconds = [], 0.0
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            continue  # half a line
        row = json.loads(line)
        if row["stage"] == stage and row["step"] > step:
            continue
        if row["stage"] == stage:
            seconds = row["seconds"]
        kept.append(line)
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, path)
    return seconds
