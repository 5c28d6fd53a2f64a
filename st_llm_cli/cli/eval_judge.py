"""The judge of `stllm eval` and `stllm rescore`: its options, and how its work is announced and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.screen import note, progress_of
from st_llm_cli.errors import UsageError

if TYPE_CHECKING:
    from st_llm_cli.bench.judge import Judge
    from st_llm_cli.bench.judged import Judged
    from st_llm_cli.bench.sample import Prediction
    from st_llm_cli.stages.eval_job import Job
    from st_llm_cli.stages.judge import Estimate, Price

JUDGE = "Judge of written answers; none: only what needs no judge"
DEFAULT_KEY_ENV = "OPENAI_API_KEY"

JudgeUrlOption = Annotated[
    str | None,
    typer.Option("--judge-url", metavar="URL", help="OpenAI-compatible, …/v1.", rich_help_panel=JUDGE),
]
JudgeModelOption = Annotated[
    str | None, typer.Option("--judge-model", metavar="NAME", help="Its model.", rich_help_panel=JUDGE)
]
JudgeRateOption = Annotated[
    float | None,
    typer.Option("--judge-rate", metavar="N", help="Ask at most N times a minute.", rich_help_panel=JUDGE),
]
JudgePriceOption = Annotated[
    str | None,
    typer.Option(
        "--judge-price",
        metavar="READ,WRITTEN",
        help="Prices per million tokens, for the estimate, such as 0.15,0.60.",
        rich_help_panel=JUDGE,
    ),
]
JudgeKeyEnvOption = Annotated[
    str,
    typer.Option(
        "--judge-key-env", metavar="NAME", help="Environment variable with its key.", rich_help_panel=JUDGE
    ),
]


@dataclass(frozen=True)
class NamedJudge:
    """A judge as the options name it."""

    judge: Judge
    price: Price | None


def judge_named(
    url: str | None, model: str | None, key_env: str, rate: float | None = None, price: str | None = None
) -> NamedJudge | None:
    """Give the judge that was named, after making sure that it replies; None where none was named.

    Raises:
        UsageError: If it is named by half, or does not reply.
    """
    from st_llm_cli.bench.judge import HttpJudge, Paced
    from st_llm_cli.stages.judge import greet

    prices = _price(price)
    if url is None and model is None:
        return None
    if url is None or model is None:
        lacking = "--judge-url" if url is None else "--judge-model"
        raise UsageError("is needed to name a judge", where=lacking, fix=f"add {lacking}")
    named = HttpJudge(url, model, os.environ.get(key_env, ""))
    judge: Judge = named if rate is None else Paced(named, rate)
    note(f"judge {judge.name} at {named.url} replies: {greet(judge)}")
    return NamedJudge(judge, prices)


def _price(given: str | None) -> Price | None:
    from st_llm_cli.stages.judge import Price

    if given is None:
        return None
    try:
        read, written = map(float, given.split(","))
        if min(read, written) < 0:
            raise ValueError
    except ValueError as error:
        what, fix = f"'{given}' is not two prices", "write 0.15,0.60: per million tokens read and written"
        raise UsageError(what, where="--judge-price", fix=fix) from error
    return Price(read, written)


def show_expected(job: Job, named: NamedJudge) -> None:
    """Say what the judge will take before the model begins."""
    from st_llm_cli.stages.eval_plan import askable, load
    from st_llm_cli.stages.judge import expect

    needed = expect(askable(load(job.plan)[1]))
    note(f"judge {named.judge.name}, once the answers are there: {_takes(needed, named.price)}")


def _takes(needed: Estimate, price: Price | None) -> str:
    tokens = f"about {needed.read_tokens} tokens to read and {needed.written_tokens} to write"
    cost = "its price is not known (--judge-price)" if price is None else f"about {needed.cost(price):.2f}"
    return f"{needed.calls} questions to ask, {tokens}, {cost}"


def have_judged(
    predictions: Sequence[Prediction], folder: Path, named: NamedJudge, scorer: str
) -> Judged | None:
    """Have written answers judged, after saying what it will take; the numbers go to judged.json."""
    from st_llm_cli.stages.judge import estimate, judge_run
    from st_llm_cli.stages.judge_replies import NAME as REPLIES
    from st_llm_cli.stages.run_folder import write_run_file

    needed = estimate(predictions, named.judge.name, folder, scorer)
    note(f"judge {named.judge.name}: {_takes(needed, named.price)}")
    with progress_of(needed.calls, "judging") if needed.calls else nullcontext() as progress:
        step = progress.step if progress else lambda id: None
        judged = judge_run(predictions, named.judge, folder, scorer=scorer, step=step)
    if judged is None:
        note("there is nothing here for a judge to read")
        return None
    if judged.calibration_first is not None:
        note(
            f"judge {judged.judge} has changed: it agrees with {judged.calibration} known verdicts, and with "
            f"{judged.calibration_first} when this run was first judged; rescore a copy without its {REPLIES}"
        )
    text = json.dumps({**judged.as_json(), "date": date.today().isoformat()}, indent=1) + "\n"
    write_run_file(folder / "judged.json", text)
    return judged
