"""transformers' Trainer with what ST-LLM adds: a share of the video dropped at every step, and its losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, draw_mask_ratio
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe.schema import Model, Recipe, Train
from st_llm_cli.training.cells import CellCollator, CellReader, CellStream
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.example import sample_rng
from st_llm_cli.training.data.stream import ExampleStream
from st_llm_cli.training.metrics import RunningMeans, StepListener, TellMetrics
from st_llm_cli.training.optimizer import build_optimizer, freeze
from st_llm_cli.training.tracks import TrackCollator, TrackReader, TrackStream


class StllmTrainer(Trainer):
    """Trains one stage: masks drawn anew at every step from (seed, step), each loss recorded by itself.

    Args:
        args: As transformers' Trainer.
        method: The recipe's model block; None where nothing is masked.
        stage: The training stage.
        kwargs: As transformers' Trainer.
    """

    def __init__(self, *args: Any, method: Model | None, stage: Train, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.method = method
        self.stage = stage
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
        output = model(**inputs, **masking)
        if not torch.isfinite(output.loss):
            what = f"the loss is {output.loss.item()} at step {step}"
            fix = "lower lr, or use precision: float32"
            raise TrainingError(what, where=f"stage '{self.stage.name}'", fix=fix)
        video = next(inputs[name] for name in ("frames", "features", "queries") if name in inputs)
        single = video.shape[1] == 1
        self.means.add(
            language_loss=output.language_loss,
            masked_video_loss=output.masked_video_loss,
            mask_ratio=None if single else masking.get("mask_ratio"),
            video_tokens=output.video_tokens,
            padding=output.padding,
        )
        return (output.loss, output) if return_outputs else output.loss

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Let the learning rate run its course over the steps that the stage says."""
        return super().create_scheduler(self.stage.schedule_steps or num_training_steps, optimizer)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss to what is logged."""
        super().log({**logs, **self.means.take()}, start_time)


def train_stage(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    recipe: Recipe,
    stage: Train,
    folder: Path,
    listener: StepListener,
    examples: ExampleStream | None = None,
) -> None:
    """Train a model in place by one stage of a recipe.

    The same model, recipe and number of threads give the same weights to the last bit on a CPU.

    Args:
        model: The model to train; left in evaluation mode.
        tokenizers: Its tokenizers.
        recipe: The recipe the stage stands in.
        stage: What to do.
        folder: Where checkpoints on the way go.
        listener: Told of every line of metrics.
        examples: The stage's samples; None makes them of the stage's sources.

    Raises:
        TrainingError: If the loss is not a number.
        DataError: If training data cannot be used.
    """
    if stage.precision == "bfloat16" and not torch.cuda.is_available():
        model.set_attn_implementation("eager")  # there three times faster than sdpa; slower in float32
    if stage.data and examples is None:
        examples = ExampleStream(stage, recipe.video, model.config.image_size)
    if stage.objective == "cells":
        trainer = _cells_trainer(model, stage, folder)
    elif stage.objective == "tracks":
        trainer = _tracks_trainer(model, tokenizers, recipe, stage, folder, examples)
    else:
        assert examples is not None, "the linter asks for data"
        trainer = _answers_trainer(model, tokenizers, recipe, stage, folder, examples)
    trainer.add_callback(TellMetrics(stage.name, listener))
    trainer.remove_callback(PrinterCallback)
    with _threads(stage.threads):
        trainer.train()
    model.eval()  # type: ignore[no-untyped-call]


def _answers_trainer(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    recipe: Recipe,
    stage: Train,
    folder: Path,
    examples: ExampleStream,
) -> StllmTrainer:
    freeze(model, stage.freeze)
    return StllmTrainer(
        model=model,
        args=_arguments(stage, folder),
        train_dataset=examples,
        data_collator=Collator(tokenizers, model.config),
        optimizers=(build_optimizer(model, stage), None),
        processing_class=tokenizers.language,
        method=recipe.model,
        stage=stage,
    )


def _cells_trainer(model: StllmForConditionalGeneration, stage: Train, folder: Path) -> StllmTrainer:
    freeze(model, (*stage.freeze, "projection", "language"))
    with _seeded(stage.seed):
        reader = CellReader(model)
    heads = [reader.color, reader.shape, reader.offset]
    return StllmTrainer(
        model=reader,
        args=_arguments(stage, folder),
        train_dataset=CellStream(stage, model.config.num_queries, model.config.image_size),
        data_collator=CellCollator(model.config),
        optimizers=(build_optimizer(model, stage, heads), None),
        method=None,
        stage=stage,
    )


def _tracks_trainer(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    recipe: Recipe,
    stage: Train,
    folder: Path,
    examples: ExampleStream | None,
) -> StllmTrainer:
    freeze(model, stage.freeze)
    with _seeded(stage.seed):
        reader = TrackReader(model)
    silent = TrackStream(stage, recipe.video.num_frames, model.config.image_size)
    return StllmTrainer(
        model=reader,
        args=_arguments(stage, folder),
        train_dataset=silent if examples is None else examples,
        data_collator=TrackCollator(Collator(tokenizers, model.config)),
        optimizers=(build_optimizer(model, stage, reader.heads.values()), None),
        method=None,
        stage=stage,
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make what is drawn inside depend on the seed alone, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


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


def _arguments(stage: Train, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.lr,
        # transformers' "constant" takes no warm-up.
        lr_scheduler_type="constant_with_warmup" if stage.schedule == "constant" else stage.schedule,
        warmup_steps=stage.warmup_steps,
        max_grad_norm=stage.max_gradient_norm,
        seed=stage.seed,
        bf16=stage.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        # The stream says itself in which order its samples are used.
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        logging_steps=stage.log_every,
        save_strategy="steps" if stage.save_every else "no",
        save_steps=stage.save_every or 1,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
