"""Whether the planner's memory is what training takes: measured peaks against predicted ones.

    python tests/performance/plan_memory.py [--runs 0 1 2]

Peaks are those of the process above what it has once a small recipe was trained: everything is imported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.recipe import load_recipe
from tests.performance.wide import wide_checkpoint
from tests.training.small import small_recipe

TRAIN = "stages.0.train."
FOUR, TWO, HALF = f"{TRAIN}batch_size=4", f"{TRAIN}batch_size=2", f"{TRAIN}precision=bfloat16"
LONG, LESS = "video.num_frames=64", f"{TRAIN}gradient_checkpointing=true"
LORA = "model.lora={}"
RUNS = (
    (FOUR,),
    (FOUR, HALF),
    (FOUR, LESS),
    (TWO, f"{TRAIN}freeze=[]"),
    (LONG,),
    (LONG, TWO, LESS, HALF),
    (TWO, f"{TRAIN}accumulate=2"),
    (TWO, f"{TRAIN}optimizer=muon"),
    (FOUR, LORA),
    (f"{TRAIN}batch_size=8",),
)
"""Changes to the recipe 'wide'; all of them take more than 1 GB."""
SHORT = (f"{TRAIN}steps=3", f"{TRAIN}warmup_steps=0")


def measured(settings: tuple[str, ...], connection: Any) -> None:
    """Train, and send how many bytes that took."""
    from st_llm_cli.stages.train import run

    recipe = load_recipe("wide", settings)
    with tempfile.TemporaryDirectory() as folder:
        run(small_recipe({}), Path(folder) / "small")  # imports all that training does
        before = _resident()
        run(recipe, Path(folder) / "run")
    connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ratio(settings: tuple[str, ...]) -> tuple[float, float]:
    """Bytes measured and predicted."""
    from st_llm_cli.stages.plan_training import plan

    settings += SHORT
    if LORA in settings:  # it needs a checkpoint to stand on
        settings += ("model.new=null", f"model.checkpoint={wide_checkpoint()}")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(settings, sender))
    process.start()
    sender.close()
    taken = receiver.recv()
    process.join()
    planned = plan(load_recipe("wide", settings), device="cpu")
    return taken, planned.stages[0].memory.peak


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=range(len(RUNS)))
    warnings.simplefilter("ignore")
    for number in parser.parse_args().runs:
        taken, predicted = ratio(RUNS[number])
        what = ", ".join(each.removeprefix(TRAIN) for each in RUNS[number])
        print(  # noqa: T201
            f"{what:<72}{taken / 1e9:6.2f} GB measured {predicted / 1e9:6.2f} predicted  "
            f"{predicted / taken:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
