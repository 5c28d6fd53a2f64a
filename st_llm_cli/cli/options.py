"""Options that several commands share, so that they are spelled and explained in one place."""

from __future__ import annotations

from typing import Annotated

import typer

MODEL = "Model"

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
JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Write JSON to standard output, for machines.")
]
# Read by `main` from the arguments themselves, since an error can end a command before it has options.
DebugOption = Annotated[
    bool, typer.Option("--debug", metavar="", help="Log more; show where an error came from.")
]
