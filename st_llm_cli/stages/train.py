"""Run a recipe's training stages, each from the result of the one before.

RUN/
├── recipe.yaml                 the resolved recipe, defaults included
├── environment.json            versions, machine, seeds, digests of each stage's data, state of git
├── metrics.jsonl               one line every few steps, all stages
├── .lock                       locked by whoever writes to the folder
├── loss.png                    how the losses went
├── skipped.jsonl               clips that could not be read, if there were any
├── checkpoints/NAME-NUMBER/    result of each stage: configuration, weights, tokenizer
└── work/NAME/                  the last checkpoint on the way, until the stage is done
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from st_llm_cli.errors import Interrupted, RecipeError, UsageError
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.stages.environment import describe_environment, refuse_other_data
from st_llm_cli.stages.run_folder import STOP, claimed, is_of, make_folder

if TYPE_CHECKING:
    from st_llm_cli.tokens.store import TokenCache
    from st_llm_cli.training.data.sources import Source
    from st_llm_cli.training.metrics import StepListener, StepMetrics

log = logging.getLogger(__name__)

WORTH_SAYING = 3.0
"""Times as slow as in float32 from which a precision is warned of."""


@dataclass(frozen=True)
class TrainResult:
    """What a run has come to."""

    checkpoint: Path
    """Result of the last stage; `--model` takes it, and the run folder too."""
    trained: tuple[str, ...]
    """Stages trained now."""
    skipped: tuple[str, ...]
    """Stages whose result was there already."""


def run(
    recipe: Recipe,
    output: Path,
    listener: StepListener | None = None,
    cache: TokenCache | None = None,
    until: str | None = None,
) -> TrainResult:
    """Run every training stage of a recipe that has no result in the folder yet.

    A run that is complete is only looked at, so its folder may be one that cannot be written to.

    Args:
        recipe: The recipe.
        output: Run folder; made where missing.
        listener: Told of every line of metrics.
        cache: Where clips' tokens are kept, for stages that may use them; None uses none.
        until: Name of the last stage to run; all if None.

    Raises:
        UsageError: If there is no stage of the name given.
        RecipeError: If the recipe trains nothing, or demands a cache that would not be sound.
        DataError: If training data are missing, or not as their format says.
        TrainingError: If the folder holds a run of another recipe, another process writes to it, or training
            cannot go on.
        CheckpointError: If the recipe starts from a checkpoint that cannot be loaded.
        Interrupted: If the process was told to stop; its state is saved. In the last step of the last stage
            that is no news: the run is complete. With `until` it is, for who means to go on after it.
    """
    from st_llm_cli.training.plot import plot_losses
    from st_llm_cli.training.requirements import check_requirements
    from st_llm_cli.training.scale import is_main_process, prepare_environment

    complete = complete_result(recipe, output, until)
    if complete is not None:
        return complete
    from st_llm_cli.training.data.sources import open_checked

    check_requirements(recipe, recipe.training)
    prepare_environment(recipe.training)
    # Of all stages at once: that the data of the second are missing is no news for after the first.
    sources = {stage.name: open_checked(stage) for stage in recipe.training}
    with claimed(output, recipe) if is_main_process() else nullcontext():
        if is_main_process():
            _make_folders(recipe, output, until)
        result = _train_stages(recipe, sources, output, listener, cache, until)
        if is_main_process() and result.trained:
            plot_losses(output / "metrics.jsonl", output / "loss.png")
    return result


def _make_folders(recipe: Recipe, output: Path, until: str | None) -> None:
    """Make the folders that all stages still to come write to: one that cannot be is no news for later."""
    pending = [name for name, result in _results(recipe, output, until).items() if not result.exists()]
    for folder in (output / "checkpoints", *(output / "work" / name for name in pending)):
        make_folder(folder)


def complete_result(recipe: Recipe, output: Path, until: str | None = None) -> TrainResult | None:
    """Find what a run has come to, if nothing is left to do.

    Args:
        recipe: The recipe.
        output: Run folder.
        until: As for `run`.

    Returns:
        The result, None if a stage is missing or the folder belongs to another recipe.

    Raises:
        UsageError: If there is no stage of the name given.
        RecipeError: If the recipe trains nothing.
    """
    results = _results(recipe, output, until)
    if not is_of(output, recipe) or not all(result.exists() for result in results.values()):
        return None
    return TrainResult(list(results.values())[-1], (), tuple(results))


def refuse_changed_data(recipe: Recipe, output: Path) -> None:
    """Refuse data that the next start in a run folder would not go on with.

    Raises:
        TrainingError: If an annotation file has changed since the stage under way began with it.
        DataError: If it is not there any more.
    """
    from st_llm_cli.training.data.sources import digests_of, open_sources
    from st_llm_cli.training.saving import last_checkpoint

    if not is_of(output, recipe):
        return
    for name, result in _results(recipe, output, None).items():
        if not result.exists() and last_checkpoint(output / "work" / name) is not None:
            stage = next(stage for stage in recipe.training if stage.name == name)
            refuse_other_data(output, name, digests_of(open_sources(stage)))


def without_training() -> RecipeError:
    """Say that a recipe trains nothing."""
    return RecipeError("has no training stage", where="stages", fix="add an entry '- train: …'")


def _results(recipe: Recipe, output: Path, until: str | None) -> dict[str, Path]:
    """Name the result of each training stage, up to the last one to run."""
    names = [stage.name for stage in recipe.training]
    if until is not None and until not in names:
        raise UsageError(f"no training stage '{until}'", where="--until", fix=f"one of {', '.join(names)}")
    if not names:
        raise without_training()
    last = len(names) if until is None else names.index(until) + 1
    folder = output / "checkpoints"
    return {name: folder / f"{name}-{number}" for number, name in enumerate(names[:last], start=1)}


def _train_stages(
    recipe: Recipe,
    sources: dict[str, list[Source]],
    output: Path,
    listener: StepListener | None,
    cache: TokenCache | None,
    until: str | None,
) -> TrainResult:
    trained, skipped = [], []
    start: Path | None = None
    results = _results(recipe, output, until)
    for stage, result in zip(recipe.training, results.values(), strict=False):
        if result.exists():
            skipped.append(stage.name)
        else:
            told = _train(recipe, stage, sources[stage.name], start, output, result, listener, cache)
            if told and (until is not None or stage != recipe.training[-1]):
                what, fix = "told to stop; its result is saved", "the same command goes on after it"
                raise Interrupted(what, where=f"stage '{stage.name}'", fix=fix)
            trained.append(stage.name)
        start = result
    return TrainResult(result, tuple(trained), tuple(skipped))


def _say_if_slow(recipe: Recipe, stage: Train) -> None:
    from st_llm_cli.training.devices import slowness_here
    from st_llm_cli.training.scale import is_main_process

    times = slowness_here(stage.precision) if is_main_process() else 1.0
    if times >= WORTH_SAYING:
        number = next(number for number, each in enumerate(recipe.stages) if each.train is stage)
        log.warning(
            "stage '%s': this processor takes %.0f times as long in %s as in float32 "
            "(--set stages.%d.train.precision=float32)",
            *(stage.name, times, stage.precision, number),
        )


def _train(
    recipe: Recipe,
    stage: Train,
    sources: list[Source],
    start: Path | None,
    output: Path,
    result: Path,
    listener: StepListener | None,
    cache: TokenCache | None,
) -> bool:
    """Train one stage to its end; whether the process was told to stop meanwhile, too late for it."""
    from st_llm_cli.stages.starting_point import starting_point
    from st_llm_cli.stages.training_tokens import say_if_cold, tokens_for_training
    from st_llm_cli.training.data.ledger import Ledger
    from st_llm_cli.training.data.sources import clips_of
    from st_llm_cli.training.data.stream import ExampleStream
    from st_llm_cli.training.saving import remove_checkpoints
    from st_llm_cli.training.scale import is_main_process, samples_of_a_step
    from st_llm_cli.training.trainer import train_stage

    work = output / "work" / stage.name
    # Both before minutes go into loading a model.
    ledger = Ledger(output / "skipped.jsonl", clips_of(sources), stage.max_failures)
    before = _take_up(recipe, stage, sources, output, work)
    listen = _writing_metrics(output / "metrics.jsonl", before, listener)
    log.info("stage '%s': %d steps", stage.name, stage.steps)
    _say_if_slow(recipe, stage)
    begun = starting_point(recipe, stage, start)
    model = begun.model
    tokens, reason = tokens_for_training(recipe, stage, model, cache, begun.folder)
    if reason is not None:
        log.warning("stage '%s': %s", stage.name, reason)
    with ExitStack() as closing:
        examples = None
        if stage.data:  # the other objectives can do without
            examples = ExampleStream(
                stage,
                recipe.video,
                model.config.image_size,
                sources=sources,
                ledger=ledger,
                tokens=tokens,
                per_step=samples_of_a_step(stage),
            )
            closing.callback(examples.close)
            cold = None if tokens is None else say_if_cold(tokens, examples.requests())
            if cold is not None and is_main_process():
                log.warning("stage '%s': %s", stage.name, cold)
        stop, adapter = output / STOP, begun.adapter
        told_late = train_stage(
            model, begun.tokenizers, recipe, stage, work, listen, examples, result, adapter, stop_file=stop
        )
    if is_main_process():
        remove_checkpoints(work)
    return told_late


def _take_up(recipe: Recipe, stage: Train, sources: list[Source], output: Path, work: Path) -> float:
    """Look where a stage stands, and write down what it goes on with; the seconds it has taken so far."""
    from st_llm_cli.training.data.sources import digests_of
    from st_llm_cli.training.metrics import cut_metrics
    from st_llm_cli.training.saving import sound_checkpoint, step_of
    from st_llm_cli.training.scale import is_main_process, process_count

    last = sound_checkpoint(work, process_count())
    data = digests_of(sources)
    if last is not None:  # else it begins anew, and its data may have been corrected
        refuse_other_data(output, stage.name, data)
    if not is_main_process():
        return 0.0
    describe_environment(output, recipe, process_count(), stage.name, data)
    return cut_metrics(output / "metrics.jsonl", stage.name, step_of(last))


def _writing_metrics(file: Path, before: float, listener: StepListener | None) -> StepListener:
    """Append each step's metrics to a file, and pass them on; `before` are the seconds of earlier starts."""
    from st_llm_cli.training.metrics import append_metrics

    def listen(metrics: StepMetrics) -> None:
        metrics = replace(metrics, seconds=round(before + metrics.seconds, 3))
        append_metrics(file, metrics)
        if listener is not None:
            listener(metrics)

    return listen
