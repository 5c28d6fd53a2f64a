"""Options that several commands share, so that they are spelled and explained in one place."""

from __future__ import annotations

from typing import Annotated

import typer

MODEL = "Model"
LOOK = "What to look at"
ANSWER = "How to answer"

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
SeedOption = Annotated[
    int,
    typer.Option("--seed", metavar="N", min=0, rich_help_panel=MODEL, help="Seed of all that is drawn."),
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
    typer.Option("--temperature", metavar="T", min=0, help="Above 0: draw words.", rich_help_panel=ANSWER),
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
    typer.Option("--repetition-penalty", metavar="X", help="Above 1: repeat less.", rich_help_panel=ANSWER),
]
JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Write JSON to standard output, for machines.")
]
# Read by `main` from the arguments themselves, since an error can end a command before it has options.
DebugOption = Annotated[
    bool, typer.Option("--debug", metavar="", help="Log more; show where an error came from.")
]
