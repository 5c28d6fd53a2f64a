"""How often the bundled model is right: held-out clips as real video files, read and asked as a user would.

    python tests/performance/tiny_accuracy.py --output report/ [--model tiny]
        [--page docs/tiny-model.md --rows docs/tiny-model]

Draws clips of seeds that training never draws (accuracy/clips.py says which), unless they are in the output
folder already, and asks about them: multiple-choice questions of all kinds of the rich world, as they are and
with the order of frames taken away; freely, what objects do first and at the end, also in large and fast
files and in long ones; and all of the plain world.
Writes `report.md`, `report.json`, every answer (accuracy/rows.py says how) and pictures. `--page` puts tables
and pictures into a page as well, between the marks that name them; `--rows` writes the answers into another
folder too: those of docs/tiny-model.md are committed beside it, and a test makes its tables from them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from st_llm_cli.shapes.folder import read_clips, write_folder
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS
from st_llm_cli.stages.controls import Controlled, control_folder
from st_llm_cli.stages.drawn_shapes import ceilings_of_questions
from st_llm_cli.stages.eval import answer_share
from st_llm_cli.stages.eval_job import Job, answer_job
from st_llm_cli.stages.eval_plan import Plan, load
from st_llm_cli.stages.prediction_file import collect
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.stages.weights import weights_digest
from st_llm_cli.tokens.store import TokenCache
from tests.performance.accuracy.asking import BATCH, Answer, ask_ends, ask_everything
from tests.performance.accuracy.clips import (
    FIRST_SEED,
    ends_wishes,
    plan_clips,
    plan_corners,
    rich_wishes,
    write_choices,
    write_clips,
)
from tests.performance.accuracy.page import filled
from tests.performance.accuracy.pictures import (
    draw_confusion,
    draw_examples,
    draw_kinds,
    draw_mix_ups,
    first_mistakes,
    first_of_each_kind,
)
from tests.performance.accuracy.rows import write_rows
from tests.performance.accuracy.tables import (
    FRAMES,
    ORDER_KINDS,
    Choices,
    as_numbers,
    controls_table,
    ends_table,
    goals_table,
    kinds_table,
    plain_table,
    shuffled_sentence,
)

SHOWN = (
    "action_sequence",
    "moving_count",
    "object_interaction",
    "object_shuffle",
    "character_order",
    "state_change",
    "scene_transition",
    "egocentric_navigation",
)
"""Kinds of which an example is drawn."""
MOST_MISTAKES = 4
CONTROLS = tuple(control for control in FRAMES if control is not None)
MORE_ORDERS = (1, 2)
"""Seeds by which frames are shuffled, beside 0."""


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    output: Path = arguments.output
    began = time.monotonic()
    draw_clips(output, arguments)
    drawn = time.monotonic()
    model = load_model(arguments.model)
    choices = ask_choices(output, arguments.model, model)
    _say(kinds_table(choices))
    ends = [*ask_ends(model, output / "ends", "plain"), *ask_ends(model, output / "rich", "rich")]
    _say(goals_table(choices, ends))
    corners = list(ask_ends(model, output / "corners", "rich"))
    plain = list(ask_everything(model, output / "plain"))
    for folder in (output, *arguments.rows):
        write_rows(folder, choices, {"ends": ends, "corners": corners, "plain": plain})
    asked = time.monotonic()
    parts = {**tables(choices, ends, corners, plain), **pictures(choices, ends, output)}
    _write_report(output, parts)
    numbers = json.dumps(as_numbers(choices, ends, corners, plain), indent=1)
    (output / "report.json").write_text(numbers + "\n", encoding="utf-8")
    for page in arguments.page:
        fill_page(page, parts, output / "pictures")
    number = len(ends) + len(corners) + len(plain)
    number += len(choices.full) + sum(map(len, choices.controls.values()))
    _say(f"clips drawn in {drawn - began:.0f} s, {number} questions asked in {asked - drawn:.0f} s")
    _say(f"all tables are in {output / 'report.md'}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # what is measured first can be read while the rest is asked


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--page", type=Path, action="append", default=[], help="also put tables and pictures into this page"
    )
    parser.add_argument(
        "--rows", type=Path, action="append", default=[], help="also write all answers into this folder"
    )
    parser.add_argument("--per-kind", type=int, default=38, help="questions of each kind of the rich world")
    parser.add_argument("--ends", type=int, default=40, help="plain clips of one and of two objects, each")
    parser.add_argument("--plain", type=int, default=200, help="clips of the plain world in its own files")
    parser.add_argument("--processes", type=int, default=2, help="that draw clips")
    return parser.parse_args()


def draw_clips(output: Path, arguments: argparse.Namespace) -> None:
    """Draw the clips of all four folders, unless they are there."""
    rich = plan_clips(rich_wishes(arguments.per_kind), "rich")
    write_clips(output / "rich", rich, "rich", arguments.processes)
    write_choices(output / "rich", rich)
    ends = plan_clips(ends_wishes(arguments.ends), "ends", FIRST_SEED + 100_000)
    write_clips(output / "ends", ends, "plain", arguments.processes)
    write_clips(output / "corners", plan_corners(FIRST_SEED + 300_000), "rich", arguments.processes)
    write_folder(output / "plain", arguments.plain, first=FIRST_SEED + 200_000)


def ask_choices(output: Path, name: str, model: VideoModel) -> Choices:
    """Ask the multiple-choice questions about the rich world, as they are and under every control.

    Other weights answer into a folder of their own; the same weights go on where they were interrupted.
    """
    answers = f"rich-answers-{weights_digest(model.folder).removeprefix('sha256:')}"
    plan = Plan("shapes", output / "rich")
    job = Job(plan, output / answers, name, CONTROLS, cache=output / "tokens", batch_size=BATCH)
    answer_job(job, None, lambda id: None)
    _, samples = load(job.plan)
    # Predictions are read rather than scored: scoring counts the ceilings of every run anew, all alike.
    runs = {None: job.folder, **{name: control_folder(job.folder, name) for name in job.controls}}
    found = {name: collect(folder, samples) or [] for name, folder in runs.items()}
    for seed in MORE_ORDERS:
        found["shuffle"] += collect(ask_shuffled(job, seed), samples) or []
    ceilings = ceilings_of_questions(job.plan.data, samples, model.num_frames)
    order_blind = {id: each.order_blind for id, each in ceilings.items()}
    return Choices(found[None], {name: found[name] for name in job.controls}, order_blind)


def ask_shuffled(job: Job, seed: int) -> Path:
    """Ask the questions of a job about frames shuffled by another seed; give the folder of the answers."""
    assert job.cache is not None
    model = load_model(job.model, cache=TokenCache(job.cache))
    folder = control_folder(job.folder / f"seed-{seed}", "shuffle")
    settings = {"model": job.model, "weights": weights_digest(model.folder), "control": "shuffle"}
    plan = replace(job.plan, seed=seed)
    answer_share(Controlled(model, "shuffle", seed), plan, folder, settings=settings, batch_size=BATCH)
    return folder


def tables(
    choices: Choices, ends: Sequence[Answer], corners: Sequence[Answer], plain: Sequence[Answer]
) -> dict[str, str]:
    """Write the tables, by the names that pages have for them."""
    return {
        "goals": goals_table(choices, ends),
        "kinds": kinds_table(choices),
        "controls": controls_table(choices),
        "shuffled": shuffled_sentence(choices.order_blind(ORDER_KINDS, "shuffle")),
        "ends": ends_table(ends, corners),
        "plain": plain_table(plain),
    }


def pictures(choices: Choices, ends: Sequence[Answer], output: Path) -> dict[str, str]:
    """Draw the pictures into a folder `pictures` and give the Markdown that shows each."""
    folder = output / "pictures"
    folder.mkdir(exist_ok=True)
    draw_kinds(choices, folder / "tiny-kinds.png")
    draw_confusion(ends, folder / "tiny-deeds.png")
    scenes = {clip.video: clip.scene for clip in read_clips(output / "rich")}
    draw_mix_ups(choices, scenes, folder / "tiny-mix-ups.png")
    draw_examples(first_of_each_kind(choices, SHOWN), folder / "tiny-examples.png")
    shown = {
        "kinds-picture": f"![share right of each of {len(CHOICE_KINDS)} kinds](pictures/tiny-kinds.png)\n",
        "deeds-picture": "![what is said to be done, by what is done](pictures/tiny-deeds.png)\n",
        "mix-ups-picture": "![which option is chosen instead of which](pictures/tiny-mix-ups.png)\n",
        "examples-picture": "![clips with a question and the option chosen](pictures/tiny-examples.png)\n",
    }
    mistakes = first_mistakes(choices, MOST_MISTAKES)
    shown["mistakes-picture"] = "It made none.\n"
    if mistakes:
        draw_examples(mistakes, folder / "tiny-mistakes.png")
        shown["mistakes-picture"] = "![clips with a question answered wrong](pictures/tiny-mistakes.png)\n"
    return shown


def _write_report(output: Path, parts: dict[str, str]) -> None:
    report = "\n".join(f"## {name}\n\n{text}" for name, text in parts.items())
    (output / "report.md").write_text(report, encoding="utf-8")


def fill_page(page: Path, parts: dict[str, str], drawn: Path) -> None:
    """Put tables into a page, and the pictures that it shows beside it."""
    text = filled(page.read_text(encoding="utf-8"), parts)
    page.write_text(text, encoding="utf-8")
    for picture in drawn.glob("tiny-*.png"):
        if f"](pictures/{picture.name})" in text:
            (page.parent / "pictures").mkdir(exist_ok=True)
            shutil.copy(picture, page.parent / "pictures" / picture.name)


if __name__ == "__main__":
    main()
