"""A handful of sample clips with questions to try."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from st_llm_cli.errors import DataError
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.questions import Question, ask
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.words import PROMPTS_VIDEO
from st_llm_cli.shapes.world import DEMO_SEEDS, make_scene


@dataclass(frozen=True)
class DemoClip:
    """A sample clip on disk and what to ask about it."""

    path: Path
    scene: Scene
    questions: tuple[Question, ...]
    """A request for a description first, then questions; each with its true answer."""


@dataclass(frozen=True)
class _Sample:
    """Recipe of one sample clip."""

    number: int
    """Which of `DEMO_SEEDS`."""
    num_objects: int
    num_movements: int
    kinds: tuple[str, ...]
    """Question kinds asked after the description."""
    encoding: Encoding


def demo_clips(folder: Path) -> list[DemoClip]:
    """Write sample clips of several sizes, rates and codecs, with `questions.txt` and `questions.json`.

    Files of these names that are there already are written anew.

    Args:
        folder: Where to write; made where missing.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clips = [_write_clip(folder / f"{name}{sample.encoding.suffix}", sample) for name, sample in _SAMPLES]
        rows = [
            {"video": clip.path.name, "questions": [_row(question) for question in clip.questions]}
            for clip in clips
        ]
        (folder / "questions.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (folder / "questions.txt").write_text("\n".join(map(_text, clips)), encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot write here: {error.strerror}", where=str(folder), fix="choose another folder"
        ) from error
    return clips


def _write_clip(path: Path, sample: _Sample) -> DemoClip:
    scene = make_scene(
        DEMO_SEEDS[sample.number], num_objects=sample.num_objects, num_movements=sample.num_movements
    )
    write_video(scene, path, sample.encoding)
    asked = [ask(scene, kind, Random(sample.number + i)) for i, kind in enumerate(("caption", *sample.kinds))]
    caption, *others = [question for question in asked if question is not None]
    described = Question(caption.kind, PROMPTS_VIDEO[0], caption.answer)
    return DemoClip(path, scene, (described, *others))


def _row(question: Question) -> dict[str, str]:
    row = asdict(question)
    return {"kind": row["kind"], "question": row["text"], "answer": row["answer"]}


def _text(clip: DemoClip) -> str:
    lines = [f"  {question.text}\n      {question.answer}\n" for question in clip.questions]
    return f"{clip.path.name}\n{''.join(lines)}"


_SAMPLES = (
    (
        "red_circle",
        _Sample(
            101, 1, 2, ("first_movement", "last_movement", "color", "last_place"), Encoding(320, 240, 25)
        ),
    ),
    (
        "triangle_and_square",
        _Sample(72, 2, 2, ("count", "first_movement", "last_movement", "shape"), Encoding(640, 480, 30)),
    ),
    (
        "star_starts",
        _Sample(
            185, 1, 2, ("first_movement", "last_movement", "shape"), Encoding(320, 180, 24, "vp9", ".webm")
        ),
    ),
    (
        "circle_and_star",
        _Sample(
            164, 2, 2, ("moves_first", "count", "last_movement"), Encoding(240, 180, 12, "mpeg4", ".avi")
        ),
    ),
    (
        "purple_circle",
        _Sample(72, 1, 1, ("direction", "exist", "first_place"), Encoding(240, 320, 15, "mpeg4", ".mp4")),
    ),
    (
        "triangle_stops",
        _Sample(
            49, 1, 3, ("first_movement", "last_movement", "movement"), Encoding(480, 360, 25, "h264", ".mkv")
        ),
    ),
)
