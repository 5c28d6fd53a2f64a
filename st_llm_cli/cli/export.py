"""`stllm export`: a run as a folder to share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from st_llm_cli.cli.options import DebugOption, DtypeOption, JsonOption
from st_llm_cli.cli.screen import note


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or another name of a model.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="New folder.")],
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a run as one folder in transformers' format, LoRA merged, with a model card.

    Transformers' Auto classes load it once `StllmForConditionalGeneration` was imported, see the card.

    Examples:
    - `stllm export runs/mine my-model`
    - `stllm export runs/mine my-model --dtype bfloat16`
    """
    from st_llm_cli.stages.export import export as write

    result = write(run, destination, dtype)
    if as_json:
        facts = {"folder": str(result.folder), "parameters": result.parameters, "merged": result.merged}
        typer.echo(json.dumps(facts))
        return
    typer.echo(str(result.folder))
    merged = ", LoRA merged" if result.merged else ""
    note(f"{result.parameters:,} parameters{merged}; read and complete {result.folder / 'README.md'}")
