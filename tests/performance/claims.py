"""The paper's claims, measured on moving shapes: same budget, three seeds, held-out clips.

    python tests/performance/claims.py [--start FOLDER] [--only all mean] [--seeds 0 1 2]

Trains `recipes/claims/order.yaml` once for each variant and seed (minutes each on one thread), asks each
result about the same held-out clips at several numbers of frames, and appends a row to `docs/claims.jsonl` as
soon as it is measured. Rows that are there are not measured again. In the end it prints a table: intervals
are bootstrapped over clips, and every variant is tested against `all` clip by clip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean

import torch

from st_llm_cli.bench.statistics import clustered_bootstrap, paired_permutation
from st_llm_cli.shapes.questions import ask
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.world import EVAL_SEEDS, make_scene
from st_llm_cli.stages.video_model import load_model

RECIPE = "recipes/claims/order.yaml"
NO_MASK = "stages.0.train.mask=false"
FIXED = '{"mean": 0.5, "std": 0, "low": 0.5, "high": 0.5}'
VARIANTS: dict[str, list[str]] = {
    "all": [NO_MASK],
    "mean": [NO_MASK, "model.video_input=mean"],
    "fixed": [f"model.masking={FIXED}"],
    "dynamic": ["model.masking=released"],
    "dynamic + MVM": ["model.masking=released", "model.mvm=released"],
    "from 0.3": ['model.masking={"low": 0.3, "high": 0.7}', "model.mvm=released"],
    "MSE": ["model.masking=released", "model.mvm=paper"],
    "compact": ["model.masking=released", "model.mvm=released", "model.positions=compact"],
}
"""Settings of each variant."""
FRAMES = (4, 8, 16, 32)
ORDER = ("first_movement", "last_movement", "movement", "first_place", "last_place")
STILL = ("color", "shape")


@dataclass(frozen=True)
class Row:
    """What one run came to."""

    variant: str
    seed: int
    seconds: float
    """Training time on one thread, start and end of the program included."""
    memory_gb: float
    """Largest memory of the process while training."""
    right: dict[str, list[int]]
    """For each number of frames, 1 for a right answer and 0 for a wrong one, in the order of `questions`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", default="runs/shapes/checkpoints/images-2")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rows", type=Path, default=Path("docs/claims.jsonl"))
    parser.add_argument("--output", type=Path, default=Path("runs/claims"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = {(row.variant, row.seed) for row in read_rows(arguments.rows)}
    for seed in arguments.seeds:
        for variant in arguments.only:
            if (variant, seed) not in done:
                row = measure(variant, seed, arguments.start, arguments.output, arguments.clips)
                with arguments.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
                sys.stdout.write(f"{variant} {seed}: {row.seconds:.0f} s\n")
                sys.stdout.flush()
    sys.stdout.write("\n".join(table(read_rows(arguments.rows))) + "\n")


def measure(variant: str, seed: int, start: str, output: Path, clips: int) -> Row:
    """Train a variant and ask its result about held-out clips."""
    folder = output / f"{variant.replace(' ', '')}-{seed}"
    settings = [f"model.checkpoint={start}", f"stages.0.train.seed={seed}", *VARIANTS[variant]]
    command = [sys.executable, "-m", "st_llm_cli", "train", RECIPE, "--output", str(folder)]
    command += [part for setting in settings for part in ("--set", setting)]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - began
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    memory = max(json.loads(line)["memory_gb"] for line in lines)
    right = {str(frames): list(answers(folder, frames, clips)) for frames in FRAMES}
    return Row(variant, seed, round(seconds, 1), memory, right)


def answers(folder: Path, num_frames: int, clips: int) -> Iterator[int]:
    """1 for each question about a held-out clip that a run answers to the letter, else 0."""
    model = load_model(str(folder))
    for seed in EVAL_SEEDS[:clips]:
        scene = make_scene(seed, num_objects=1)
        frames = sample_frames(scene, num_frames, model.config.image_size)
        for kind in ORDER + STILL:
            question = ask(scene, kind, Random(seed))
            assert question is not None, "every scene gives these kinds"
            yield int(model.answer(frames, question.text) == question.answer)


def read_rows(path: Path) -> list[Row]:
    """Rows measured before."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def table(rows: list[Row]) -> Iterator[str]:
    """A Markdown table of all variants, the mean of their seeds."""
    yield "| variant | frames | what happens when | against `all` | color, shape | seconds | GB |"
    yield "|---|---|---|---|---|---|---|"
    for variant in VARIANTS:
        runs = [row for row in rows if row.variant == variant]
        base = [row for row in rows if row.variant == "all"]
        for frames in map(str, FRAMES) if runs else ():
            order = by_clip(runs, frames, ORDER)
            inside = clustered_bootstrap(order, range(len(order)))
            assert inside is not None
            versus = paired_permutation(by_clip(base, frames, ORDER), order, range(len(order)))
            gain = f"{versus.difference:+.3f} ± {1.96 * versus.error:.3f}, p = {versus.p_value:.3g}"
            yield (
                f"| {variant} | {frames} | {mean(order):.3f} [{inside.low:.2f}, {inside.high:.2f}] "
                f"| {'' if variant == 'all' else gain} | {mean(by_clip(runs, frames, STILL)):.3f} "
                f"| {mean(row.seconds for row in runs):.0f} | {mean(row.memory_gb for row in runs):.2f} |"
            )


def by_clip(rows: list[Row], frames: str, kinds: tuple[str, ...]) -> list[float]:
    """Share of right answers to some kinds about each clip, the mean of the runs."""
    asked = ORDER + STILL
    places = [asked.index(kind) for kind in kinds]
    clips = len(rows[0].right[frames]) // len(asked)
    return [
        mean(row.right[frames][clip * len(asked) + place] for row in rows for place in places)
        for clip in range(clips)
    ]


if __name__ == "__main__":
    main()
