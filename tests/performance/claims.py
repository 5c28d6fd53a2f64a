"""The paper's claims, measured on moving shapes: same budget, three seeds, held-out clips.

    python tests/performance/claims.py [--only events long page] [--seeds 0 1 2] [--variants all mean]
    python tests/performance/claims.py --only events long --size large --jobs 17

Trains `recipes/claims/events.yaml` and `long.yaml` once for each variant and seed (minutes each on one
thread), asks each result about the same held-out clips, and appends a row to `docs/claims/` as soon as it is
measured. Rows that are there are not measured again. `page` draws the pictures and writes the tables that
docs/claims.md shows. At the small size, long clips start from what `stllm train tiny/shapes --until images`
makes. The large size is for a GPU, and draws its clips without writing them to files.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.errors import UsageError
from st_llm_cli.stages.file_lock import lock
from tests.performance import claims_events, claims_long, claims_page
from tests.performance.claims_events import EventRuns
from tests.performance.claims_long import LongRuns
from tests.performance.claims_rows import Part, Runs, measure_all
from tests.performance.claims_start import SIZES, knows_pictures

PARTS = ("events", "long", "page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--start", default="runs/shapes/checkpoints/images-2")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    known = [*claims_events.VARIANTS, *claims_long.VARIANTS]
    parser.add_argument(
        "--variants", nargs="+", choices=known, default=known, metavar="NAME", help="only these"
    )
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side")
    parser.add_argument("--rows", type=Path, default=claims_page.ROWS, help="folder")
    parser.add_argument("--output", type=Path, default=Path("runs/claims"))
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error("--jobs takes a number of at least 1")
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
        if small and not Path(arguments.start).exists():
            make = "stllm train tiny/shapes --until images --output runs/shapes"
            parser.error(f"no {arguments.start}; to make it: {make}")
        alone("long")
        return LongRuns(arguments.start if small else knows_pictures(output, size), output, size.long)

    def part(name: str, runs: Callable[[], Runs], variants: Iterable[str]) -> Part:
        chosen = [variant for variant in variants if variant in arguments.variants]
        return Part(runs, chosen, arguments.rows / f"{name}{suffix}.jsonl")

    parts = {
        "events": part("events", events, claims_events.VARIANTS),
        "long": part("long", long, claims_long.VARIANTS),
    }
    measure_all([parts[name] for name in parts if name in arguments.only], arguments.seeds, arguments.jobs)
    if "page" in arguments.only:
        claims_page.write(arguments.rows)


if __name__ == "__main__":
    main()
