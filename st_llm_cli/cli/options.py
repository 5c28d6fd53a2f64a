"""Options that several commands share, so that they are spelled and explained in one place."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from st_llm_cli.errors import UsageError

MODEL = "Model"
LOOK = "What to look at"
ANSWER = "How to answer"

LARGEST_SEED = 2**63 - 1


def _finite(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """Refuse what `min` and `max` of an option let through: infinity."""
    if value is not None and not math.isfinite(value):
        raise UsageError(f"{value} is not a number", where=parameter.opts[0], fix="give a finite number")
    return value


def _above_zero(parameter: typer.CallbackParam, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        where = parameter.opts[0]
        raise UsageError("is not a number above 0", where=where, fix="1 repeats freely, 1.2 less")
    return value


def _seed(parameter: typer.CallbackParam, value: int) -> int:
    if value > LARGEST_SEED:
        raise UsageError(f"{value} is too large", where=parameter.opts[0], fix=f"give at most {LARGEST_SEED}")
    return value


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        rich_help_panel=MODEL,
        help="`tiny` (bundled), a folder, or a Hub id `owner/name[:subfolder]`.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="NAME", rich_help_panel=MODEL, help="auto, cpu, cuda, cuda:1 or mps."),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="NAME", rich_help_panel=MODEL, help="auto, float32, bfloat16 or float16."
    ),
]
CompatOption = Annotated[
    str | None,
    typer.Option(
        "--compat",
        metavar="released",
        rich_help_panel=MODEL,
        help="Answer as the released code does, its defects included.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        callback=_seed,
        rich_help_panel=MODEL,
        help="Seed of all that is drawn.",
    ),
]
CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR|off",
        rich_help_panel=MODEL,
        help="Where clips' tokens are kept; default: STLLM_CACHE, else the user's cache folder.",
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="From here on: 12.5, 1:30, 1:02:03.", rich_help_panel=LOOK),
]
EndOption = Annotated[
    str | None, typer.Option("--end", metavar="TIME", help="Up to here.", rich_help_panel=LOOK)
]
FramesOption = Annotated[
    int | None,
    typer.Option(
        "--frames", metavar="N", help="Frames per clip; default: the model's own.", rich_help_panel=LOOK
    ),
]
FpsOption = Annotated[
    float | None,
    typer.Option("--fps", metavar="F", help="Frames per second instead.", rich_help_panel=LOOK),
]
ReaderOption = Annotated[
    str,
    typer.Option("--reader", metavar="NAME", help="pyav, torchcodec or decord.", rich_help_panel=LOOK),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", min=1, help="Longest answer, tokens.", rich_help_panel=ANSWER
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        metavar="T",
        min=0,
        callback=_finite,
        help="Above 0: draw words.",
        rich_help_panel=ANSWER,
    ),
]
TopPOption = Annotated[
    float | None,
    typer.Option("--top-p", metavar="P", min=0, max=1, help="Draw from this share.", rich_help_panel=ANSWER),
]
NumBeamsOption = Annotated[
    int | None,
    typer.Option("--num-beams", metavar="N", min=1, help="Search with beams.", rich_help_panel=ANSWER),
]
RepetitionPenaltyOption = Annotated[
    float | None,
    typer.Option(
        "--repetition-penalty",
        metavar="X",
        callback=_above_zero,
        help="Above 1: repeat less.",
        rich_help_panel=ANSWER,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Write JSON to standard output, for machines.")
]
# Read by `main` from the arguments themselves, since an error can end a command before it has options.
DebugOption = Annotated[
    bool, typer.Option("--debug", metavar="", help="Log more; show where an error came from.")
]
