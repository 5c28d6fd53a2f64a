"""`stllm demo`: sample clips to play with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from st_llm_cli.cli.options import DebugOption, JsonOption


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write to; made where missing.")
    ] = Path("stllm-demo"),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write short sample clips of moving shapes, with questions to try on them.

    Files of the same names are written anew. The questions with their true answers are also in
    questions.txt and questions.json of the folder.
    """
    from st_llm_cli.shapes.demo import demo_clips

    clips = demo_clips(folder)
    if as_json:
        rows = [
            {
                "video": str(clip.path),
                "questions": [{"question": asked.text, "answer": asked.answer} for asked in clip.questions],
            }
            for clip in clips
        ]
        typer.echo(json.dumps(rows))
        return
    for clip in clips:
        typer.echo(str(clip.path))
        for asked in clip.questions:
            typer.echo(f"  {asked.text}")
            typer.echo(f"      {asked.answer}")
    first = clips[0]
    question = first.questions[1].text
    typer.echo("\nNow try:")
    typer.echo(f"  stllm describe {first.path}")
    typer.echo(f'  stllm describe {first.path} --prompt "{question}"')
    typer.echo(f"  stllm describe {folder} --format jsonl --output descriptions.jsonl")
