"""Train a model by one stage of a recipe, from its last checkpoint on, and write what came of it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.trainer_callback import PrinterCallback

from st_llm_cli.errors import Interrupted
from st_llm_cli.model.file_modes import follow_umask
from st_llm_cli.model.lora import Adapter, save_adapter
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers, save_tokenizers
from st_llm_cli.recipe.schema import Recipe, Train
from st_llm_cli.training.attention import choose_attention
from st_llm_cli.training.cells import CellCollator, CellReader, CellStream
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.stream import ExampleStream
from st_llm_cli.training.metrics import StepListener, TellMetrics
from st_llm_cli.training.mfu import seconds_at_peak
from st_llm_cli.training.mishaps import explained
from st_llm_cli.training.optimizer import build_optimizer, freeze_for
from st_llm_cli.training.saving import last_checkpoint, step_of
from st_llm_cli.training.scale import samples_of_a_step
from st_llm_cli.training.settings import trainer_arguments
from st_llm_cli.training.stllm_trainer import StllmTrainer
from st_llm_cli.training.stopping import StopOnSignal
from st_llm_cli.training.tracks import TrackCollator, TrackReader, TrackStream

log = logging.getLogger(__name__)


def train_stage(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    recipe: Recipe,
    stage: Train,
    folder: Path,
    listener: StepListener,
    examples: ExampleStream | None = None,
    result: Path | None = None,
    adapter: Adapter | None = None,
    stop_file: Path | None = None,
) -> bool:
    """Train a model in place by one stage of a recipe, from the last checkpoint in its folder on.

    The same model, recipe and numbers of processes and threads give the same weights to the last bit on a
    CPU, interrupted or not.

    Args:
        model: The model to train; left in evaluation mode.
        tokenizers: Its tokenizers.
        recipe: The recipe the stage stands in.
        stage: What to do.
        folder: Where checkpoints on the way go.
        listener: Told of every line of metrics, in the main process.
        examples: The stage's samples; None makes them of the stage's sources.
        result: Folder for the trained model; None saves nothing but checkpoints on the way.
        adapter: What was added to the language model, if that is all of it that learns.
        stop_file: Tells to stop by being there.

    Returns:
        Whether the process was told to stop too late to stop before the end: the stage is done.

    Raises:
        TrainingError: If training cannot go on: the loss is not a number, or memory or disk is full.
        Interrupted: If the process was told to stop; its state is saved.
        DataError: If training data cannot be used.
    """
    last = last_checkpoint(folder)
    if last is not None:
        log.warning("stage '%s' goes on from step %d", stage.name, step_of(last))
    choose_attention(model, stage.precision, cpu=not torch.cuda.is_available())
    if stage.data and examples is None:
        examples = ExampleStream(
            stage, recipe.video, model.config.image_size, per_step=samples_of_a_step(stage)
        )
    with explained(stage.name, folder):  # the model goes to its device here
        if stage.objective == "cells":
            trainer = _cells_trainer(model, recipe, stage, folder)
        elif stage.objective == "tracks":
            trainer = _tracks_trainer(model, tokenizers, recipe, stage, folder, examples)
        else:
            assert examples is not None, "the linter asks for data"
            trainer = _answers_trainer(model, tokenizers, recipe, stage, folder, examples, adapter)
    stopper = StopOnSignal(stop_file)
    trainer.add_callback(stopper)
    level = None if examples is None or examples.tokens is None else examples.tokens.level
    at_peak = seconds_at_peak(model, recipe, stage, level)
    trainer.add_callback(TellMetrics(stage.name, listener, at_peak))
    trainer.remove_callback(PrinterCallback)
    with _threads(stage.threads), explained(stage.name, folder):
        try:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
            if stopper.stopped:
                step = trainer.state.global_step
                raise Interrupted(
                    f"stopped at step {step} of {stage.steps}; its state is saved",
                    where=f"stage '{stage.name}'",
                    fix="the same command goes on from there",
                )
            if result is not None:
                _save_result(trainer, model, tokenizers, result)
            told_late = stopper.is_told()
        finally:
            stopper.stop_listening()
    model.eval()  # type: ignore[no-untyped-call]
    return told_late


def _save_result(
    trainer: StllmTrainer, model: StllmForConditionalGeneration, tokenizers: Tokenizers, result: Path
) -> None:
    """Write the trained model; all processes take part where each holds a piece of the weights."""
    gathered = None
    if trainer.is_deepspeed_enabled:
        gathered = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.should_save:
        # A result has its name only once it is whole: the name is what says that the stage is done.
        unfinished = result.with_name(f".{result.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            if trainer.adapter is None:
                model.save_pretrained(unfinished, state_dict=gathered)
            else:
                save_adapter(model, trainer.adapter, unfinished, gathered)
            save_tokenizers(tokenizers, unfinished)
            follow_umask(unfinished)
            os.replace(unfinished, result)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)  # it takes the room that may be missing
            raise
    trainer.accelerator.wait_for_everyone()


def _answers_trainer(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    recipe: Recipe,
    stage: Train,
    folder: Path,
    examples: ExampleStream,
    adapter: Adapter | None,
) -> StllmTrainer:
    freeze_for(model, recipe.model, stage)
    return StllmTrainer(
        model=model,
        args=trainer_arguments(stage, folder),
        train_dataset=examples,
        data_collator=Collator(tokenizers, model.config),
        optimizer=lambda: build_optimizer(model, stage),
        tokenizers=tokenizers,
        adapter=adapter,
        method=recipe.model,
        stage=stage,
    )


def _cells_trainer(
    model: StllmForConditionalGeneration, recipe: Recipe, stage: Train, folder: Path
) -> StllmTrainer:
    freeze_for(model, recipe.model, stage)
    with _seeded(stage.seed):
        reader = CellReader(model)
    heads = [reader.color, reader.shape, reader.offset]
    return StllmTrainer(
        model=reader,
        args=trainer_arguments(stage, folder),
        train_dataset=CellStream(_whole_steps(stage), model.config.num_queries, model.config.image_size),
        data_collator=CellCollator(model.config),
        optimizer=lambda: build_optimizer(model, stage, heads),
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
    freeze_for(model, recipe.model, stage)
    with _seeded(stage.seed):
        reader = TrackReader(model)
    silent = TrackStream(_whole_steps(stage), recipe.video.num_frames, model.config.image_size)
    return StllmTrainer(
        model=reader,
        args=trainer_arguments(stage, folder),
        train_dataset=silent if examples is None else examples,
        data_collator=TrackCollator(Collator(tokenizers, model.config)),
        optimizer=lambda: build_optimizer(model, stage, [*reader.heads.values(), reader.verdict]),
        method=None,
        stage=stage,
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make what is drawn inside depend on the seed alone, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _whole_steps(stage: Train) -> Train:
    """The same stage, a batch of which is what all processes and passes of a step see together."""
    return stage.model_copy(update={"batch_size": samples_of_a_step(stage)})


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
