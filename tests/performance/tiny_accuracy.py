"""How often the bundled model is right: held-out clips as real video files, read and asked as a user would.

    python tests/performance/tiny_accuracy.py --output report/ [--model tiny] [--clips 200]

Writes clips with unseen seeds (sizes, frame rates, codecs and containers drawn), asks every kind of question
about each, prints a table with 95 % Wilson intervals and leaves every answer in `answers.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from st_llm_cli.shapes.folder import Clip, read_clips, write_folder
from st_llm_cli.shapes.questions import Question
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.training.data.shapes import choice_text
from st_llm_cli.video.reader import read_clip

CHOICES = "choices: "
"""Put in front of the kind of a multiple-choice question."""
ALL = "all free-form"


@dataclass(frozen=True)
class Answer:
    """One question, what is true and what the model said."""

    video: str
    kind: str
    objects: int
    codec: str
    question: str
    truth: str
    reply: str
    right: bool


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    clips = arguments.output / "clips"
    write_folder(clips, arguments.clips, first=arguments.first)
    model = load_model(arguments.model)
    began = time.monotonic()
    answers = []
    with (arguments.output / "answers.jsonl").open("w", encoding="utf-8") as file:
        for clip in read_clips(clips):
            for answer in ask_all(model, clips, clip):
                file.write(json.dumps(asdict(answer)) + "\n")
                answers.append(answer)
    seconds = time.monotonic() - began
    sys.stdout.write(f"{len(answers)} questions about {arguments.clips} clips in {seconds:.0f} s\n\n")
    sys.stdout.write(table(answers))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of held-out seeds to leave out")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def ask_all(model: VideoModel, folder: Path, clip: Clip) -> Iterator[Answer]:
    """Ask all the questions of the folder about one clip."""
    frames = read_clip(folder / "video" / clip.video, num_frames=model.num_frames)
    facts = {"video": clip.video, "objects": len(clip.scene.objects), "codec": clip.encoding.codec}
    for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["video"] != clip.video:
            continue
        reply = model.answer(frames, row["question"])
        asked = {"kind": row["kind"], "question": row["question"], "truth": row["answer"], "reply": reply}
        yield Answer(**facts, **asked, right=reply == row["answer"])
    for path in sorted((folder / "json").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            if row["video"] != clip.video:
                continue
            question = Question(path.stem, row["question"], row["answer"], tuple(row["candidates"]))
            letters = "ABCDEFGH"[: len(question.candidates)]
            reply = letters[model.choose(frames, choice_text(question), letters)]
            asked = {
                "kind": CHOICES + path.stem,
                "question": row["question"],
                "truth": question.letter,
                "reply": reply,
            }
            yield Answer(**facts, **asked, right=reply == question.letter)


def table(answers: list[Answer]) -> str:
    """A Markdown table: share of right answers with its 95 % interval, by kind and number of objects."""
    groups: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        objects = "one" if answer.objects == 1 else "two"
        free = not answer.kind.startswith(CHOICES)
        for kind in (answer.kind, ALL if free else CHOICES + "all"):
            groups[kind]["both"].append(answer.right)
            groups[kind][objects].append(answer.right)
        if answer.kind == "caption":
            truths = answer.truth.split(". ")
            said = {sentence.rstrip(".") for sentence in answer.reply.split(". ")}
            for truth in truths:
                for column in ("both", objects):
                    groups["caption: sentences"][column].append(truth.rstrip(".") in said)
    lines = ["| question | right | one object | two objects | asked |", "|---|---|---|---|---|"]
    # Sums stand below what they sum up.
    for kind in sorted(groups, key=lambda kind: (kind.startswith(CHOICES), kind in (ALL, CHOICES + "all"))):
        group = groups[kind]
        cells = [share(group[column]) for column in ("both", "one", "two")]
        lines.append(f"| {kind} | {' | '.join(cells)} | {len(group['both'])} |")
    return "\n".join(lines) + "\n"


def share(rights: list[bool]) -> str:
    """ "0.93 [0.88, 0.96]" """
    if not rights:
        return "-"
    low, high = wilson(sum(rights), len(rights))
    return f"{sum(rights) / len(rights):.3f} [{low:.2f}, {high:.2f}]"


def wilson(right: int, asked: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share."""
    share, spread = right / asked, z * z / asked
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / asked + spread / 4 / asked)
    return max(0.0, middle - half), min(1.0, middle + half)


if __name__ == "__main__":
    main()
