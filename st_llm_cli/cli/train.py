"""`stllm train`: run a recipe's training stages."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from st_llm_cli.cli.options import CacheOption, DebugOption, JsonOption
from st_llm_cli.cli.recipes import RecipeArgument, SetOption
from st_llm_cli.cli.screen import note
from st_llm_cli.cli.token_cache import note_use, open_cache
from st_llm_cli.cli.train_screen import training_progress

SCALE = "Several processes"

PLAN = "Plan"

GpusOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Processes, one per GPU, or on the CPU.", rich_help_panel=SCALE),
]
HostfileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Machines, a line each: NAME slots=GPUS.", rich_help_panel=SCALE),
]


def train(
    recipe: RecipeArgument,
    settings: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Run folder; default: runs/RECIPE."),
    ] = None,
    check_data: Annotated[
        bool,
        typer.Option("--check-data", help="Only read annotations and media; exit 1 if anything is wrong."),
    ] = False,
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
    devices: Annotated[
        int,
        typer.Option("--devices", metavar="N", min=1, help="Plan for so many of them.", rich_help_panel=PLAN),
    ] = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a model by a recipe, stage by stage.

    Each stage starts from the result of the one before. Given again for the same folder, the command
    skips the stages whose result is there and goes on from the last checkpoint of the one under way.
    SIGTERM and Ctrl-C save first. The run folder is itself a model: `--model DIR`.

    Examples:
    - `stllm train tiny/shapes`
    - `stllm train instructblip_qa --dry-run --device a100-80g --devices 8`
    - `stllm train my.yaml --set stages.0.train.steps=100 --output runs/try`
    - `stllm train my.yaml --check-data`
    - `stllm train my.yaml --gpus 8 --set stages.0.train.deepspeed=zero2`
    """
    from st_llm_cli.recipe import load_recipe
    from st_llm_cli.stages.train import run
    from st_llm_cli.training.scale import is_main_process

    loaded = load_recipe(recipe, settings or ())
    if check_data:
        from st_llm_cli.cli.check_data import check_training_data

        check_training_data(loaded, as_json=as_json)
        return
    if dry_run:
        from st_llm_cli.cli.plan import show_plan

        show_plan(loaded, device, devices, as_json=as_json)
        return
    folder = output or Path("runs") / Path(recipe).stem
    several = Several(recipe, settings, gpus, hostfile, cache, debug)
    if several.wanted:
        options = ["--output", str(folder), *(["--json"] if as_json else [])]
        raise typer.Exit(several.run(options + ([] if until is None else ["--until", until])))
    tokens = open_cache(cache)
    with training_progress(loaded) as show:
        result = run(loaded, folder, show, tokens, until)
    if not is_main_process():
        return
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


@dataclass(frozen=True)
class Several:
    """The command in several processes: what they are to be told beside where and how far."""

    recipe: str
    settings: list[str] | None
    gpus: int | None
    hostfile: Path | None
    cache: str | None
    debug: bool

    @property
    def wanted(self) -> bool:
        """Whether there are to be several, and this is none of them."""
        from st_llm_cli.stages.launch import is_launched

        return not is_launched() and (self.hostfile is not None or (self.gpus or 1) > 1)

    def run(self, options: list[str]) -> int:
        """Run `stllm train` in all of them; its exit code."""
        from st_llm_cli.stages.launch import run_here, run_on_hosts

        arguments = ["train", self.recipe, *options, *(["--debug"] if self.debug else [])]
        arguments += [part for setting in self.settings or () for part in ("--set", setting)]
        arguments += [] if self.cache is None else ["--cache", self.cache]
        if self.hostfile is not None:
            return run_on_hosts(arguments, self.hostfile, self.gpus)
        return run_here(arguments, self.gpus or 1)
