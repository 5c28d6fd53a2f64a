"""Run every stage of a recipe in order, each where the one before has left off; what is complete is skipped.

Beside what training writes (train.py), the run folder holds:

RUN/
├── extracted/NUMBER.json       tally of a filled token cache
└── eval/NUMBER-BENCH/          answers, scores and report of an evaluation
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from st_llm_cli.errors import RecipeError, UsageError
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages.eval_plan import askable, benchmark_named, check_plan, load, plan_of
from st_llm_cli.stages.run_folder import claimed, write_run_file

if TYPE_CHECKING:
    from st_llm_cli.stages.eval import Result
    from st_llm_cli.stages.progress import Begin
    from st_llm_cli.tokens.store import TokenCache


@dataclass(frozen=True)
class Step:
    """One stage of a recipe, and where it stands."""

    number: int
    """Place among the stages, from 0."""
    kind: str
    """`extract_features`, `train` or `eval`."""
    name: str
    """As a person is told: name of the training stage, or of the benchmark."""
    result: Path
    """What is there once it is complete."""

    @property
    def is_complete(self) -> bool:
        """Whether it need not be done again."""
        return self.result.exists()


def steps_of(recipe: Recipe, output: Path) -> list[Step]:
    """List the stages of a recipe, each with its result."""
    steps = []
    trained = 0
    for number, stage in enumerate(recipe.stages):
        if stage.train is not None:
            trained += 1
            result = output / "checkpoints" / f"{stage.train.name}-{trained}"
            steps.append(Step(number, "train", stage.train.name, result))
        elif stage.eval is not None:
            result = output / "eval" / f"{number}-{stage.eval.bench}" / "scores.json"
            steps.append(Step(number, "eval", stage.eval.bench, result))
        else:
            result = output / "extracted" / f"{number}.json"
            steps.append(Step(number, "extract_features", "clips of the stages after it", result))
    return steps


def check_evaluations(recipe: Recipe) -> None:
    """Refuse what no evaluation could do, before hours of training.

    Raises:
        UsageError: Saying which wish it is.
    """
    for stage in recipe.stages:
        if stage.eval is not None:
            benchmark_named(stage.eval.bench)
            plan = plan_of(stage.eval)
            check_plan(plan)
            if not plan.data.exists() and stage.eval.bench != "shapes":
                raise UsageError("no such folder", where=stage.eval.data, fix="correct eval.data")


def check_steps(
    recipe: Recipe, steps: Sequence[Step], cache: TokenCache | None, *, trains_here: bool
) -> None:
    """Refuse what a later stage could not do, before the hours of those before it.

    Args:
        recipe: The recipe.
        steps: Those that are still to be done.
        cache: Where clips' tokens are kept.
        trains_here: Whether this machine trains; what others have is not known here.

    Raises:
        RecipeError: If there is no cache to fill.
        StllmError: As `refuse_foreign` and `check_requirements`.
    """
    from st_llm_cli.stages.prediction_file import refuse_foreign
    from st_llm_cli.training.requirements import check_requirements

    if trains_here:
        trained = [recipe.stages[step.number].train for step in steps]
        check_requirements(recipe, [stage for stage in trained if stage is not None])
    for step in steps:
        if step.kind == "eval":
            refuse_foreign(step.result.parent)
        if step.kind == "extract_features" and cache is None:
            where = f"stages.{step.number}.extract_features"
            raise RecipeError("the cache is turned off", where=where, fix="drop it, or --cache DIR")


def evaluate(
    recipe: Recipe, step: Step, output: Path, cache: TokenCache | None, begin: Begin
) -> tuple[Result, str]:
    """Measure what has been trained before a stage.

    Args:
        recipe: The recipe.
        step: The stage.
        output: Run folder.
        cache: Where clips' tokens are kept.
        begin: Called with the number of questions; what it returns, with each that is through.

    Returns:
        What came out, and the device it was measured on.

    Raises:
        StllmError: As `stllm eval`.
    """
    from st_llm_cli.stages.eval import run
    from st_llm_cli.stages.video_model import load_model
    from st_llm_cli.stages.weights import weights_digest

    stage = recipe.stages[step.number].eval
    assert stage is not None
    with claimed(output, recipe):
        name = _model_before(recipe, step, output)
        model = load_model(name, seed=stage.seed, cache=cache)
        settings = {"model": name, "weights": weights_digest(model.folder), "dtype": "auto"}
        plan = plan_of(stage)
        told = begin(len(askable(load(plan)[1])))
        result = run(model, plan, step.result.parent, settings=settings, step=told)
    return result, str(model.model.device)


def fill_cache(recipe: Recipe, step: Step, output: Path, cache: TokenCache, begin: Begin) -> None:
    """Fill the token cache with the clips that the stages that follow will look at.

    Args:
        recipe: The recipe.
        step: The stage.
        output: Run folder.
        cache: Where clips' tokens are kept.
        begin: Called with the number of clips; what it returns, with each that is through.

    Raises:
        UsageError: If no stage may use kept tokens.
        StllmError: As `stllm extract-features`.
    """
    from st_llm_cli.model.checkpoint import load_checkpoint
    from st_llm_cli.stages.extract_features import Outcome, Wish
    from st_llm_cli.stages.feature_jobs import recipe_jobs, run_jobs

    stage = recipe.stages[step.number].extract_features
    assert stage is not None
    with claimed(output, recipe):
        rest = recipe.model_copy(update={"stages": recipe.stages[step.number + 1 :]})
        name = _model_before(recipe, step, output)
        loaded = load_checkpoint(name, dtype="float32")  # as training computes frozen encoders
        jobs = recipe_jobs(rest, loaded.model, loaded.folder, cache)
        told = begin(sum(len(job.requests) for job in jobs))

        def report(outcome: Outcome) -> None:
            told(str(outcome.video))

        wish = Wish(
            workers=stage.workers,
            deadline=stage.deadline,
            batch_frames=stage.batch_frames,
            max_failures=stage.max_failures,
        )
        tally = run_jobs(jobs, wish, report)
        write_run_file(step.result, json.dumps(asdict(tally)) + "\n")


def _model_before(recipe: Recipe, step: Step, output: Path) -> str:
    """What has been trained before a stage; else what the recipe starts from."""
    before = [each.result for each in steps_of(recipe, output)[: step.number] if each.kind == "train"]
    name = str(before[-1]) if before else recipe.model.checkpoint
    assert name is not None, "the linter lets no model work that knows nothing yet"
    return name
