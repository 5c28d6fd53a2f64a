"""Small real clips and pictures, and annotation files about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.world import make_picture, make_scene


def write_media(folder: Path, clips: int, pictures: int = 0) -> Path:
    """Write `clip0.mp4` …, `picture0.png` …."""
    folder.mkdir(exist_ok=True)
    for seed in range(clips):
        write_video(make_scene(seed), folder / f"clip{seed}.mp4", Encoding(48, 32, 8))
    for seed in range(pictures):
        Image.fromarray(sample_frames(make_picture(seed), 1, 32)[0]).save(folder / f"picture{seed}.png")
    return folder


def clip_entry(number: int, questions: int = 1, **more: Any) -> dict[str, Any]:
    pairs = [{"i": "", "q": f"What moves {ask}?", "a": f"It is {ask}."} for ask in range(questions)]
    return {"video": f"clip{number}.mp4", "QA": pairs, **more}


def picture_entry(number: int) -> dict[str, Any]:
    return {"image": f"picture{number}.png", "QA": [{"i": "Describe the image.", "q": "", "a": "A star."}]}


def write_json(path: Path, entries: list[dict[str, Any]]) -> Path:
    """Write one entry a line."""
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n", encoding="utf-8")
    return path


def source(annotations: Path, media: Path, name: str = "videochat2") -> dict[str, Any]:
    """An entry of a recipe's `data`."""
    return {name: {"annotations": str(annotations), "media": str(media)}}
