"""The paper's claims, measured on moving shapes: same budget, three seeds, held-out clips.

    python tests/performance/claims.py [--only events long page] [--seeds 0 1 2] [--variants all mean]
    python tests/performance/claims.py --only events long --size large --jobs 17

Trains `recipes/claims/events.yaml` and `long.yaml` once for each variant and seed (minutes each on one
thread), asks each result about the same held-out clips, and appends a row to `docs/claims/` as soon as it is
measured. Rows that are there are not measured again; stopped or killed, the same command goes on. Clips are
drawn, and starts trained, where they are missing: at the small size, long clips start from what
`stllm train tiny/shapes --until images` makes. `page` draws the pictures and writes the tables of
docs/claims.md. The large size is for a GPU, and draws its clips without writing them to files.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))
from transformers.utils import logging as transformers_logging

from st_llm_cli.errors import UsageError
from st_llm_cli.stages.file_lock import lock
from st_llm_cli.training.scale import choose_accelerator
from tests.performance import claims_events, claims_long, claims_page
from tests.performance.claims_events import EventRuns
from tests.performance.claims_long import LongRuns
from tests.performance.claims_rows import Part, Runs, measure_all
from tests.performance.claims_start import SIZES, knows_pictures, knows_plain_pictures

PARTS = ("events", "long", "page")
PLAIN = Path("runs/shapes")
"""Run whose pictures long clips start from at the small size."""


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error("--jobs takes a number of at least 1")
    if arguments.start is not None and not Path(arguments.start).exists():
        parser.error(f"--start {arguments.start}: no such file or folder; without --start it is made")
    arguments.rows.mkdir(parents=True, exist_ok=True)
    size, small = SIZES[arguments.size], arguments.size == "small"
    output, suffix = (arguments.output, "") if small else (arguments.output / "large", "-large")

    held = []

    def alone(name: str) -> None:
        path = output / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        held.append(path.open("ab"))
        try:
            lock(held[-1], path)
        except UsageError as error:
            parser.error(str(error))

    def events() -> EventRuns:
        alone("events")
        return EventRuns(knows_pictures(output, size), output, size.events)

    def long() -> LongRuns:
        alone("long")
        plain = small and (arguments.start or knows_plain_pictures(PLAIN))
        return LongRuns(plain or knows_pictures(output, size), output, size.long)

    def part(name: str, runs: Callable[[], Runs], variants: Iterable[str]) -> Part:
        chosen = [variant for variant in variants if variant in arguments.variants]
        return Part(runs, chosen, arguments.rows / f"{name}{suffix}.jsonl")

    parts = {
        "events": part("events", events, claims_events.VARIANTS),
        "long": part("long", long, claims_long.VARIANTS),
    }
    choose_accelerator()
    transformers_logging.disable_progress_bar()
    signal.signal(signal.SIGTERM, _end)
    try:
        wanted = [parts[name] for name in parts if name in arguments.only]
        measure_all(wanted, arguments.seeds, arguments.jobs)
        if "page" in arguments.only:
            claims_page.write(arguments.rows)
    except KeyboardInterrupt:
        parser.exit(130, "told to stop; the same command goes on\n")


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--start", metavar="CHECKPOINT", help=f"of long clips at the small size; default: made in {PLAIN}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    known = [*claims_events.VARIANTS, *claims_long.VARIANTS]
    parser.add_argument(
        "--variants", nargs="+", choices=known, default=known, metavar="NAME", help="only these"
    )
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side")
    parser.add_argument("--rows", type=Path, default=claims_page.ROWS, help="folder")
    parser.add_argument("--output", type=Path, default=Path("runs/claims"))
    return parser


if __name__ == "__main__":
    main()
