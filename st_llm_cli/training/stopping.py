"""Being told to stop: finish the step, save, and leave.

SLURM and Kubernetes send SIGTERM some time before they kill; Ctrl-C sends SIGINT. A second signal of the
same kind ends the process at once. A file says the same where no signal reaches, as from machine to machine.
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from st_llm_cli.training.scale import is_main_process

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopOnSignal(TrainerCallback):
    """Saves and stops after the step in which any process was told to stop.

    Args:
        file: Tells so by being there; the main process looks, and removes it when it stops.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.stopped = False
        """Whether training was stopped before its end."""
        self._told = False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Listen from now on."""
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save and stop if any process was told to; all must agree, or they would wait for each other."""
        # After the last step the result is what is saved, and who trains asks then.
        if state.global_step < state.max_steps and self.is_told():
            self.stopped = control.should_save = control.should_training_stop = True

    def is_told(self) -> bool:
        """Whether any process was told to stop; all must ask at once. Removes the file that said so."""
        told = _any_process(self._told or self._told_by_file())
        if told and self.file is not None and is_main_process():
            self.file.unlink(missing_ok=True)
        return told

    def stop_listening(self) -> None:
        """Leave signals to whom they were left before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _told_by_file(self) -> bool:
        if self.file is None or not is_main_process() or not self.file.exists():
            return False
        log.warning("told to stop (%s): saving …", self.file)
        return True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        # At once: a second SIGTERM is not to wait until the interpreter has its turn.
        again = signal.SIG_DFL if number == signal.SIGTERM else self._before[signal.SIGINT]
        signal.signal(number, again or signal.SIG_DFL)
        log.warning("told to stop (%s): saving after this step …", signal.Signals(number).name)


def _any_process(told: bool) -> bool:
    here = PartialState()
    if here.num_processes == 1:
        return told
    votes = torch.tensor(int(told), device=here.device)
    torch.distributed.all_reduce(votes)
    return bool(votes.item())
