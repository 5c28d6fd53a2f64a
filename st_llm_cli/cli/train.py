"""`stllm train`: run a recipe's training stages."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.options import CacheOption, DebugOption, JsonOption
from st_llm_cli.cli.recipes import RecipeArgument, SetOption, points_to
from st_llm_cli.cli.screen import note, only_results_on_stdout
from st_llm_cli.cli.token_cache import note_use, open_cache
from st_llm_cli.cli.train_screen import training_progress
from st_llm_cli.errors import UsageError
from st_llm_cli.stages.ending import ends_when_told

if TYPE_CHECKING:
    from st_llm_cli.stages.train import TrainResult
    from st_llm_cli.tokens.store import TokenCache

SCALE = "Several processes"

PLAN = "Plan"

GpusOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Processes, one per GPU, or on the CPU; also of a plan.",
        rich_help_panel=SCALE,
    ),
]
TinyOption = Annotated[
    bool,
    typer.Option(
        "--tiny",
        help="The same in small, to see it work: ten to 120 thousand random weights, two steps of two clips.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Run folder; default: runs/RECIPE."),
]
HostfileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Machines, a line each: NAME slots=GPUS.", rich_help_panel=SCALE),
]


@ends_when_told()
def train(
    recipe: RecipeArgument,
    settings: SetOption = None,
    output: OutputOption = None,
    check_data: Annotated[
        bool,
        typer.Option("--check-data", help="Only read annotations and media; exit 1 if anything is wrong."),
    ] = False,
    tiny: TinyOption = False,
    until: Annotated[
        str | None, typer.Option(metavar="NAME", help="Stop after this stage; default: the last.")
    ] = None,
    gpus: GpusOption = None,
    hostfile: HostfileOption = None,
    cache: CacheOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what it would take: parameters, FLOPs, memory, hours.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Plan for h200, h100, a100-80g, rtx4090 …, cpu, or '80GB,312TF'; default: what is here.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a model by a recipe, stage by stage.

    Each stage starts from the result of the one before. Given again for the same folder, the command
    skips the stages whose result is there and goes on from the last checkpoint of the one under way.
    SIGTERM and Ctrl-C save first. The run folder is itself a model: `--model DIR`.

    Examples:
    - `stllm train tiny/shapes`
    - `stllm train instructblip_qa --dry-run --device a100-80g --gpus 8`
    - `stllm train my.yaml --set stages.0.train.steps=100 --output runs/try`
    - `stllm train my.yaml --check-data`
    - `stllm train my.yaml --tiny`
    - `stllm train my.yaml --gpus 8 --set stages.0.train.deepspeed=zero2`
    """
    from st_llm_cli.recipe import load_recipe
    from st_llm_cli.stages.run_folder import refuse_other
    from st_llm_cli.stages.train import complete_result, refuse_changed_data, run
    from st_llm_cli.training.requirements import check_requirements
    from st_llm_cli.training.scale import check_deepspeed_files, is_main_process

    loaded = load_recipe(recipe, settings or ())
    if tiny and dry_run:
        raise UsageError("what is done in small is not worth planning", where="--dry-run", fix="drop --tiny")
    if check_data and dry_run:
        fix = "one at a time; the data first"
        raise UsageError("two questions at once", where="--check-data, --dry-run", fix=fix)
    if device is not None and not dry_run:
        fix = "add --dry-run; training itself takes the GPUs that are here"
        raise UsageError("says what to plan for, and goes with --dry-run", where="--device", fix=fix)
    if check_data:
        from st_llm_cli.cli.check_data import check_training_data

        check_training_data(loaded, as_json=as_json)
        return
    if dry_run:
        from st_llm_cli.cli.plan import show_plan

        show_plan(loaded, device, processes_of(gpus, hostfile), as_json=as_json)
        refuse_changed_data(loaded, run_folder(recipe, output, tiny=False))
        return
    folder = run_folder(recipe, output, tiny=tiny)
    if tiny:
        settings = small_settings(recipe, settings, folder)
        loaded = load_recipe(recipe, settings)
    several = Several(recipe, settings, folder, gpus, hostfile, cache, debug)
    check_deepspeed_files(loaded.training)
    if complete_result(loaded, folder, until) is None:
        refuse_other(folder, loaded)
        clear_stop(folder)
        if hostfile is None:
            with points_to(recipe):
                check_requirements(loaded, loaded.training)  # each process would take a while to say so
        if several.wanted:
            options = ["--json"] if as_json else []
            raise typer.Exit(several.run(options + ([] if until is None else ["--until", until])))
    tokens = open_cache(cache)
    with training_progress(loaded) as show, only_results_on_stdout():
        result = run(loaded, folder, show, tokens, until)
    if is_main_process():
        _show_result(result, folder, tokens, as_json=as_json)


def _show_result(result: TrainResult, folder: Path, tokens: TokenCache | None, *, as_json: bool) -> None:
    note_use(tokens)
    for name in result.skipped:
        note(f"stage '{name}' was done already")
    if as_json:
        facts = {
            "run": str(folder),
            "checkpoint": str(result.checkpoint),
            "trained": result.trained,
            "skipped": result.skipped,
            "cache": None if tokens is None else asdict(tokens.use),
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(str(result.checkpoint))
    note(f"try it: stllm describe VIDEO --model {folder}")


def run_folder(recipe: str, output: Path | None, *, tiny: bool) -> Path:
    """Where a run goes if nothing is said."""
    return output or Path("runs") / (Path(recipe).stem + ("-tiny" if tiny else ""))


def clear_stop(folder: Path) -> None:
    """Remove the file that tells a run in the folder to stop, before one begins or once it is over.

    One of several processes leaves it: it may have been made since the command that started them began.
    """
    from st_llm_cli.stages.launch import is_launched
    from st_llm_cli.stages.run_folder import STOP, forget_stop

    if not is_launched() and (folder / STOP).exists():
        forget_stop(folder)


def processes_of(gpus: int | None, hostfile: Path | None) -> int:
    """Count the processes that would train, on all machines together."""
    from st_llm_cli.stages.hosts import read_hosts

    if hostfile is None:
        return gpus or 1
    return sum(gpus or slots for slots in read_hosts(hostfile).values())


def small_settings(recipe: str, settings: list[str] | None, folder: Path) -> list[str]:
    """What `--tiny` changes of a recipe, with what is set beside; parts it needs go into the run folder."""
    from st_llm_cli.stages.in_small import in_small

    with only_results_on_stdout():
        return in_small(recipe, settings or (), folder)


@dataclass(frozen=True)
class Several:
    """The command in several processes: what they are to be told beside where and how far."""

    recipe: str
    settings: list[str] | None
    folder: Path
    gpus: int | None
    hostfile: Path | None
    cache: str | None
    debug: bool

    @property
    def wanted(self) -> bool:
        """Whether there are to be several, and this is none of them."""
        from st_llm_cli.stages.launch import is_launched

        return not is_launched() and (self.hostfile is not None or (self.gpus or 1) > 1)

    def run(self, options: list[str], *, results: bool = True) -> int:
        """Run `stllm train` in all of them, with its result on standard output or not; its exit code."""
        from st_llm_cli.stages.hosts import run_on_hosts
        from st_llm_cli.stages.launch import run_here

        arguments = ["train", self.recipe, "--output", str(self.folder), *options]
        arguments += ["--debug"] if self.debug else []
        arguments += [part for setting in self.settings or () for part in ("--set", setting)]
        arguments += [] if self.cache is None else ["--cache", self.cache]
        if self.hostfile is not None:
            return run_on_hosts(arguments, self.hostfile, self.gpus, self.folder, results=results)
        return run_here(arguments, self.gpus or 1, results=results)
