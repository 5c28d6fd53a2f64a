"""Vinoground: 500 pairs of clips that differ in the order of events only, asked both ways.

DIR/vinoground_videos/… and DIR/vinoground_videos_concated/…, and at the top or in those folders
vinoground_textscore.json (one clip, two captions) and vinoground_videoscore.json (two clips, one caption)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.files import Row, find_media, name_problem, read_rows, text_in
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError

SIZE = 2000
ORIGIN = "vinoground_videos.zip and vinoground_videos_concated.zip of https://huggingface.co/datasets/HanSolo9682/Vinoground"
LETTERS = ("A", "B")


def load(data: Path) -> Loaded:
    """Read the questions and find their clips.

    Raises:
        DataError: If there are no questions, or a file is not what it should be.
    """
    samples: list[Sample] = []
    absent = []
    for side, folder in FOLDERS.items():
        file = f"vinoground_{side}score.json"
        path = next((place for place in (data / file, data / folder / file) if place.is_file()), None)
        if path is None:
            absent.append(side)
            continue
        rows = read_rows(path)
        samples += [_sample(data, side, row, f"{path}: row {number}") for number, row in enumerate(rows)]
    if not samples:
        what = "holds no questions: looked for vinoground_textscore.json and vinoground_videoscore.json"
        raise DataError(what, where=str(data), fix="give Vinoground's folder as `data`")
    return Loaded(tuple(samples), SIZE, str(data), tuple(absent), tuple(FOLDERS))


def _sample(data: Path, side: str, row: Row, where: str) -> Sample:
    index, name = text_in(row, "idx", where), text_in(row, "video_name", where)
    pair, _, half = index.partition("_")
    question, answer = text_in(row, "question", where), text_in(row, "GT", where).strip().upper()
    problem = name_problem(name)
    if half not in ("pos", "neg"):
        problem = f"its idx '{index}' is not that of one half of a pair"
    if answer not in LETTERS:
        problem = f"its answer '{answer}' is neither A nor B"
    media = Media(name, None)
    if not name_problem(name):
        names = (name, f"{name}.mp4")
        folders = (data, data / FOLDERS[side])
        media = find_media(name, [folder / each for folder in folders for each in names], origin=ORIGIN)
    id = f"{index}_{side}"
    asked = Sample(id, side, "pair", (media,), question, question, answer, LETTERS)
    return replace(asked, group=pair, part=f"{half} {side}", problem=problem)


FOLDERS = {"text": "vinoground_videos", "video": "vinoground_videos_concated"}
"""The two ways of asking, and where their clips lie."""
