"""transformers' Trainer with what ST-LLM adds: a share of the video dropped at every step, and its losses."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import Trainer

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.lora import Adapter, load_adapter, save_adapter
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, draw_mask_ratio
from st_llm_cli.model.tokenizers import Tokenizers, save_tokenizers
from st_llm_cli.recipe.schema import Model, Train
from st_llm_cli.training.data.example import sample_rng
from st_llm_cli.training.metrics import RunningMeans
from st_llm_cli.training.saving import (
    UNFINISHED,
    finish_writing,
    last_checkpoint,
    start_writing,
    what_is_left,
)
from st_llm_cli.training.scale import process_count


class StllmTrainer(Trainer):
    """Trains one stage: masks drawn anew at every step from (seed, step), each loss recorded by itself.

    Args:
        args: As transformers' Trainer.
        method: The recipe's model block; None where nothing is masked.
        stage: The training stage.
        optimizer: Makes the optimiser, once the model stands where it is trained.
        tokenizers: Saved with every checkpoint; None where there is no language model.
        adapter: What was added to the language model, if that is all of it that learns.
        kwargs: As transformers' Trainer.
    """

    def __init__(
        self,
        *args: Any,
        method: Model | None,
        stage: Train,
        optimizer: Callable[[], Optimizer],
        tokenizers: Tokenizers | None = None,
        adapter: Adapter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # The model divides by the number of labels it is told; nothing is left to divide afterwards.
        self.model_accepts_loss_kwargs = True
        self.method = method
        self.stage = stage
        self.build_optimizer = optimizer
        self.tokenizers = tokenizers
        self.adapter = adapter
        self.means = RunningMeans()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Run the model on one batch, with this step's share of the video dropped.

        Raises:
            TrainingError: If the loss is not a number.
        """
        step = self.state.global_step
        seeds = inputs.pop("mask_seeds", None)
        masking = {} if self.method is None else step_masking(self.method, self.stage, step, seeds)
        passes = self.stage.accumulate
        if num_items_in_batch is not None:
            # Labels of an average pass: so the mean over passes and processes is that over all labels.
            masking["num_items_in_batch"] = num_items_in_batch / (passes * self.accelerator.num_processes)
        output = model(**inputs, **masking)
        if not torch.isfinite(output.loss):
            raise self._no_number(output.loss.item())
        self._record(inputs, output, masking.get("mask_ratio"))
        loss = output.loss if num_items_in_batch is None else output.loss / passes
        return (loss, output) if return_outputs else loss

    def _no_number(self, loss: float) -> TrainingError:
        assert self.args.output_dir is not None
        folder = Path(self.args.output_dir)
        what = f"the loss is {loss} at step {self.state.global_step + 1}; {what_is_left(folder)}"
        advice = [f"lower lr (it is {self.stage.lr:g})", f"raise warmup_steps ({self.stage.warmup_steps})"]
        if self.stage.precision != "float32":
            advice.append("use precision: float32")
        fix = f"{', '.join(advice[:-1])} or {advice[-1]}, in a new run (--output NEW)"
        last = last_checkpoint(folder)
        if last is not None and self.adapter is None:
            fix += f"; it may begin with these weights (--set model.checkpoint={last})"
        return TrainingError(what, where=f"stage '{self.stage.name}'", fix=fix)

    def _record(self, inputs: dict[str, Any], output: Any, mask_ratio: float | None) -> None:
        video = next(inputs[name] for name in ("frames", "features", "queries") if name in inputs)
        single = video.shape[1] == 1
        self.means.add(
            language_loss=output.language_loss,
            masked_video_loss=output.masked_video_loss,
            mask_ratio=None if single else mask_ratio,
            video_tokens=output.video_tokens,
            padding=output.padding,
        )

    def get_train_dataloader(self) -> Any:
        """Let processes that draw samples leave signals, which a terminal sends to all, to this one."""
        loader = super().get_train_dataloader()
        for each in (loader, getattr(loader, "base_dataloader", loader)):
            each.worker_init_fn = _leave_signals
        return loader

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimiser that the stage asks for."""
        if self.optimizer is None:
            self.optimizer = self.build_optimizer()
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Let the learning rate run its course over the steps that the stage says."""
        return super().create_scheduler(self.stage.schedule_steps or num_training_steps, optimizer)

    def _get_learning_rate(self) -> float:
        """The stage's, whatever rate the part has that comes first in the optimiser."""
        first: float = super()._get_learning_rate()
        assert self.optimizer is not None, "nothing is logged before the first step"
        # DeepSpeed's own schedulers note no peak.
        peak: float = self.optimizer.param_groups[0].get("initial_lr", self.stage.lr)
        return first if peak == self.stage.lr else first / peak * self.stage.lr

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss to what is logged: means over all processes, tokens of a whole step."""
        means = self.means.take()
        if means:
            names = sorted(means)
            values = torch.tensor([means[name] for name in names], device=self.args.device)
            means = dict(zip(names, self.accelerator.reduce(values, "mean").tolist(), strict=True))
            means["video_tokens"] *= self.stage.accumulate * self.accelerator.num_processes
        super().log({**logs, **means}, start_time)

    def _get_output_dir(self, trial: Any) -> str:
        assert self.args.output_dir is not None
        return str(Path(self.args.output_dir) / UNFINISHED)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        assert self.args.output_dir is not None
        folder, step = Path(self.args.output_dir), self.state.global_step
        if step == self.state.max_steps:
            return  # the result is written next
        if self.args.should_save:
            start_writing(folder)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            finish_writing(folder, step, process_count())
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        assert output_dir is not None, "checkpoints have a folder of their own"
        if self.adapter is None:
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            assert isinstance(self.model, StllmForConditionalGeneration)
            save_adapter(self.model, self.adapter, Path(output_dir), state_dict)
        if self.args.should_save and self.tokenizers is not None:
            save_tokenizers(self.tokenizers, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.adapter is None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            assert isinstance(self.model, StllmForConditionalGeneration)
            load_adapter(self.model, Path(resume_from_checkpoint))


def step_masking(method: Model, stage: Train, step: int, seeds: Tensor | None = None) -> dict[str, Any]:
    """What the model is told about masking at one step; the share dropped is the same on every process.

    Args:
        method: The recipe's model block.
        stage: The training stage.
        step: Optimiser steps done so far.
        seeds: Of what is dropped from each clip or row, so that it does not depend on what stands beside it;
            None draws by the step for all of them.
    """
    if method.masking is None or not stage.mask:
        return {"mask_ratio": None, "masked_video": False}
    seed = sample_rng(stage.seed, "mask", step).getrandbits(63)
    generator: Any = torch.Generator().manual_seed(seed)
    ratio = draw_mask_ratio(generator, **method.masking.model_dump())
    if seeds is not None:
        generator = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    masked_video = method.mvm is not None and step % method.mvm.every == 0
    return {"mask_ratio": ratio, "generator": generator, "masked_video": masked_video}


def _leave_signals(worker: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
