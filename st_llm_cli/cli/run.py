"""`stllm run`: every stage of a recipe, in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from st_llm_cli.cli.eval_run import draw_with_progress, keep_command
from st_llm_cli.cli.eval_screen import DEFAULT_PICTURES, report_on, show_report
from st_llm_cli.cli.options import CacheOption, DebugOption, JsonOption
from st_llm_cli.cli.recipes import RecipeArgument, SetOption, points_to
from st_llm_cli.cli.screen import note, only_results_on_stdout, progress_of
from st_llm_cli.cli.token_cache import note_use, open_cache
from st_llm_cli.cli.train import (
    GpusOption,
    HostfileOption,
    OutputOption,
    Several,
    TinyOption,
    clear_stop,
    run_folder,
    small_settings,
)
from st_llm_cli.cli.train_screen import training_progress
from st_llm_cli.errors import Interrupted
from st_llm_cli.stages.ending import ends_when_told

if TYPE_CHECKING:
    from st_llm_cli.recipe import Recipe
    from st_llm_cli.stages.run import Step
    from st_llm_cli.tokens.store import TokenCache


@ends_when_told()
def run(
    recipe: RecipeArgument,
    settings: SetOption = None,
    output: OutputOption = None,
    tiny: TinyOption = False,
    gpus: GpusOption = None,
    hostfile: HostfileOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run every stage that a recipe selects: fill the token cache, train, measure.

    A stage that is complete in the run folder is skipped, one that was interrupted goes on.

    Examples:
    - `stllm run my.yaml --output runs/mine`
    - `stllm run my.yaml --gpus 8`
    - `stllm run my.yaml --tiny`
    """
    from st_llm_cli.recipe import load_recipe
    from st_llm_cli.stages.run import check_evaluations, check_steps, steps_of
    from st_llm_cli.stages.run_folder import refuse_other
    from st_llm_cli.training.scale import check_deepspeed_files

    loaded = load_recipe(recipe, settings or ())
    check_evaluations(loaded)
    check_deepspeed_files(loaded.training)
    folder = run_folder(recipe, output, tiny=tiny)
    if tiny:
        settings = small_settings(recipe, settings, folder)
        loaded = load_recipe(recipe, settings)
    refuse_other(folder, loaded)  # of which every stage may be complete
    tokens = open_cache(cache)
    done: list[str] = []
    skipped: list[str] = []
    steps = steps_of(loaded, folder)
    pending = [step for step in steps if not step.is_complete]
    with points_to(recipe):
        check_steps(loaded, pending, tokens, trains_here=hostfile is None)
    if pending:
        clear_stop(folder)
    for step in steps:
        label = f"{step.kind} {step.name}"
        if step.is_complete:
            note(f"{label}: done already")
            skipped.append(label)
            continue
        _stop_if_told(folder, label)
        note(f"{label} …")
        if step.kind == "train":
            several = Several(recipe, settings, folder, gpus, hostfile, cache, debug)
            _train(loaded, step, folder, tokens, several)
        elif step.kind == "eval":
            _evaluate(loaded, step, folder, tokens, quiet=as_json)
        else:
            assert tokens is not None, "checked before the first stage"
            _fill_cache(loaded, step, folder, tokens)
        done.append(label)
    if done:
        clear_stop(folder)  # made during the last stage, after which there is nothing to stop
    note_use(tokens)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "done": done, "skipped": skipped}))


def _stop_if_told(folder: Path, label: str) -> None:
    """Look for the file that tells a run to stop; only training looks for it on the way.

    Raises:
        Interrupted: If it is there; it is removed.
    """
    from st_llm_cli.stages.run_folder import STOP, forget_stop

    if (folder / STOP).exists():
        forget_stop(folder)
        what, fix = f"told to stop ({folder / STOP}) before it began", "the same command goes on with it"
        raise Interrupted(what, where=label, fix=fix)


def _train(recipe: Recipe, step: Step, folder: Path, cache: TokenCache | None, several: Several) -> None:
    from st_llm_cli.stages.train import run

    # A run told to stop in the last step of all is complete; before another stage it stops.
    until = step.name if recipe.stages[step.number + 1 :] else None
    if several.wanted:
        code = several.run([] if until is None else ["--until", until], results=False)
        if code != 0:
            raise typer.Exit(code)
        return
    with training_progress(recipe) as show, only_results_on_stdout():
        run(recipe, folder, show, cache, until)


def _evaluate(recipe: Recipe, step: Step, folder: Path, cache: TokenCache | None, *, quiet: bool) -> None:
    """Measure, write the report and show the scores; with `quiet` only write."""
    from st_llm_cli.stages.eval_plan import plan_of
    from st_llm_cli.stages.run import evaluate

    stage = recipe.stages[step.number].eval
    assert stage is not None
    draw_with_progress(plan_of(stage))
    with ExitStack() as stack, only_results_on_stdout():
        result, device = evaluate(recipe, step, folder, cache, _progress_in(stack, step))
    keep_command(result.folder, device)
    report_on(result.folder, result.report, result.predictions, SCORER, DEFAULT_PICTURES)
    if not quiet:
        show_report(result.report, SCORER)
    note(f"the whole report, with every answer: {result.folder / 'report.html'}")


def _fill_cache(recipe: Recipe, step: Step, folder: Path, cache: TokenCache) -> None:
    from st_llm_cli.stages.run import fill_cache

    with ExitStack() as stack, only_results_on_stdout():
        fill_cache(recipe, step, folder, cache, _progress_in(stack, step))


def _progress_in(stack: ExitStack, step: Step) -> Callable[[int], Callable[[str], None]]:
    """Show progress from when the number of items is known until the stack is left."""
    return lambda total: stack.enter_context(progress_of(total, step.kind)).step


SCORER = "strict"
"""Put first in what is shown of an evaluation."""
