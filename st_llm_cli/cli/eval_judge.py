"""The judge of `stllm eval` and `stllm rescore`: its options, and how its work is announced and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.screen import note
from st_llm_cli.errors import UsageError

if TYPE_CHECKING:
    from st_llm_cli.bench.judge import HttpJudge
    from st_llm_cli.bench.judged import Judged
    from st_llm_cli.bench.sample import Prediction

JUDGE = "Judge of written answers; none: only what needs no judge"
DEFAULT_KEY_ENV = "OPENAI_API_KEY"

JudgeUrlOption = Annotated[
    str | None,
    typer.Option("--judge-url", metavar="URL", help="OpenAI-compatible, …/v1.", rich_help_panel=JUDGE),
]
JudgeModelOption = Annotated[
    str | None, typer.Option("--judge-model", metavar="NAME", help="Its model.", rich_help_panel=JUDGE)
]
JudgeKeyEnvOption = Annotated[
    str,
    typer.Option(
        "--judge-key-env", metavar="NAME", help="Environment variable with its key.", rich_help_panel=JUDGE
    ),
]


def judge_named(url: str | None, model: str | None, key_env: str) -> HttpJudge | None:
    """Give the judge that was named, after making sure that it replies; None where none was named.

    Raises:
        UsageError: If it is named by half, or does not reply.
    """
    from st_llm_cli.bench.judge import HttpJudge
    from st_llm_cli.stages.judge import greet

    if url is None and model is None:
        return None
    if url is None or model is None:
        lacking = "--judge-url" if url is None else "--judge-model"
        raise UsageError("is needed to name a judge", where=lacking, fix=f"add {lacking}")
    judge = HttpJudge(url, model, os.environ.get(key_env, ""))
    note(f"judge {judge.name} at {judge.url} replies: {greet(judge)}")
    return judge


def have_judged(
    predictions: Sequence[Prediction], folder: Path, judge: HttpJudge, scorer: str
) -> Judged | None:
    """Have written answers judged, after saying what it will take; the numbers go to judged.json."""
    from st_llm_cli.stages.judge import estimate, judge_run

    needed = estimate(predictions, judge, folder, scorer)
    note(f"judge {judge.name}: {needed.calls} questions to ask, about {needed.tokens} tokens")
    judged = judge_run(predictions, judge, folder, scorer=scorer)
    if judged is None:
        note("there is nothing here for a judge to read")
        return None
    text = json.dumps({**judged.as_json(), "date": date.today().isoformat()}, indent=1) + "\n"
    (folder / "judged.json").write_text(text, encoding="utf-8")
    return judged
