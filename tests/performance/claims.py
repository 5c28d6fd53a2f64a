"""The paper's claims, measured on moving shapes: same budget, three seeds, held-out clips.

    python tests/performance/claims.py [--only events long page] [--seeds 0 1 2] [--variants all mean]
    python tests/performance/claims.py --only events --size large --jobs 8

Trains `recipes/claims/events.yaml` and `long.yaml` once for each variant and seed (minutes each on one
thread), asks each result about the same held-out clips, and appends a row to `docs/claims/` as soon as it is
measured. Rows that are there are not measured again. `page` draws the pictures and writes the tables that
docs/claims.md shows. Long clips start from what `stllm train tiny/shapes --until images` makes. The large
size is for a GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.performance import claims_events, claims_long, claims_page
from tests.performance.claims_events import EventRuns
from tests.performance.claims_long import LongRuns
from tests.performance.claims_rows import measure_all

PARTS = ("events", "long", "page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--start", default="runs/shapes/checkpoints/images-2")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--size", choices=claims_events.SIZES, default="small", help="of events")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--rows", type=Path, default=claims_page.ROWS, help="folder")
    parser.add_argument("--output", type=Path, default=Path("runs/claims"))
    arguments = parser.parse_args()
    arguments.rows.mkdir(parents=True, exist_ok=True)

    def chosen(variants: Iterable[str]) -> list[str]:
        return [name for name in variants if name in (arguments.variants or variants)]

    def rows(name: str) -> Path:
        return arguments.rows / f"{name}.jsonl"

    if "events" in arguments.only:
        size, small = arguments.size, arguments.size == "small"
        runs = EventRuns(arguments.output / ("." if small else size), claims_events.SIZES[size])
        path = rows("events" if small else f"events-{size}")
        measure_all(chosen(claims_events.VARIANTS), arguments.seeds, path, runs.measure, arguments.jobs)
    if "long" in arguments.only:
        long = LongRuns(arguments.start, arguments.output)
        measure_all(chosen(claims_long.VARIANTS), arguments.seeds, rows("long"), long.measure, arguments.jobs)
    if "page" in arguments.only:
        claims_page.write(arguments.rows)


if __name__ == "__main__":
    main()
