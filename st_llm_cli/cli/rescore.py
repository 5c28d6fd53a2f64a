"""`stllm rescore`: score a run again, without data or model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from st_llm_cli.cli.eval_judge import (
    DEFAULT_KEY_ENV,
    JudgeKeyEnvOption,
    JudgeModelOption,
    JudgePriceOption,
    JudgeRateOption,
    JudgeUrlOption,
    have_judged,
    judge_named,
)
from st_llm_cli.cli.eval_screen import (
    DEFAULT_PICTURES,
    PicturesOption,
    check_scorer,
    report_on,
    show_replies,
    show_report,
)
from st_llm_cli.cli.options import DebugOption, JsonOption


def rescore(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its predictions.jsonl.")],
    scorer: Annotated[
        str, typer.Option(metavar="NAME", help="The one to put first: strict or released.")
    ] = "strict",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write scores and report into this new folder, not RUN.",
        ),
    ] = None,
    pictures: PicturesOption = DEFAULT_PICTURES,
    judge_url: JudgeUrlOption = None,
    judge_model: JudgeModelOption = None,
    judge_key_env: JudgeKeyEnvOption = DEFAULT_KEY_ENV,
    judge_rate: JudgeRateOption = None,
    judge_price: JudgePriceOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Score stored predictions again: with another judge, or a file that somebody else has shared.

    A judge's replies are kept in the run's folder; what it was asked before is not asked again. The scores
    and report.html are written anew; for a file alone, only with --output.
    """
    from st_llm_cli.stages.report import refuse_other_files
    from st_llm_cli.stages.rescore import rescore as score_run

    check_scorer(scorer)
    if output is not None and not (run.is_dir() and output.resolve() == run.resolve()):
        refuse_other_files(output)
    again = score_run(run)
    judge = judge_named(judge_url, judge_model, judge_key_env, judge_rate, judge_price)
    judged = None if judge is None else have_judged(again.predictions, again.folder, judge, scorer)
    if output is not None or run.is_dir():
        report_on(again.folder, again.report, again.predictions, scorer, pictures, output)
    if as_json:
        more = {} if judged is None else {"judged": judged.as_json()}
        typer.echo(json.dumps({**again.report.as_json(), **more}))
        return
    show_report(again.report, scorer, judged)
    show_replies(again.predictions)
