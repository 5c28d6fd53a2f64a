"""The paper's claims, measured on moving shapes: same budget, three seeds, held-out clips.

    python tests/performance/claims.py [--only order long page] [--start FOLDER] [--seeds 0 1 2]

Trains `recipes/claims/order.yaml` and `long.yaml` once for each variant and seed (minutes each on one
thread), asks each result about the same held-out clips, and appends a row to `docs/claims/` as soon as it is
measured. Rows that are there are not measured again. `page` draws the pictures and writes the tables that
docs/claims.md shows. The start is what `stllm train tiny/shapes --until images` makes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.performance import claims_long, claims_order, claims_page
from tests.performance.claims_rows import measure_all

PARTS = ("order", "long", "page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--start", default="runs/shapes/checkpoints/images-2")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=Path, default=claims_page.ROWS, help="folder")
    parser.add_argument("--output", type=Path, default=Path("runs/claims"))
    arguments = parser.parse_args()
    arguments.rows.mkdir(parents=True, exist_ok=True)
    if "order" in arguments.only:
        clips = claims_order.held_out(arguments.start)

        def measure(variant: str, seed: int) -> claims_order.Row:
            return claims_order.measure(variant, seed, arguments.start, arguments.output, clips)

        measure_all(claims_order.VARIANTS, arguments.seeds, arguments.rows / "order.jsonl", measure)
    if "long" in arguments.only:
        runs = claims_long.LongRuns(arguments.start, arguments.output)
        measure_all(claims_long.VARIANTS, arguments.seeds, arguments.rows / "long.jsonl", runs.measure)
    if "page" in arguments.only:
        claims_page.write(arguments.rows)


if __name__ == "__main__":
    main()
