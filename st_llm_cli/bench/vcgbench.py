"""VideoChatGPT-Bench: long answers about 500 clips of ActivityNet, judged in five dimensions.

DIR/Benchmarking_QA/{generic,temporal,consistency}_qa.json and DIR/Test_Videos/<video_name>.<suffix>
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.files import Row, find_media, name_problem, read_rows, text_in, with_suffixes
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError

ORIGIN = "Test_Videos.zip of the Video-ChatGPT project's quantitative evaluation"
SUFFIXES = (".mp4", ".avi", ".mov", ".mkv")
KIND = "long answer"


def load(data: Path) -> Loaded:
    """Read the questions and find their clips; a consistency row is two questions of one group.

    Raises:
        DataError: If there are no questions, or a file is not what it should be.
    """
    samples: list[Sample] = []
    absent = []
    for task in TASKS:
        name = f"{task}_qa.json"
        path = next(
            (place for place in (data / "Benchmarking_QA" / name, data / name) if place.is_file()), None
        )
        if path is None:
            absent.append(task)
            continue
        for number, row in enumerate(read_rows(path)):
            samples += _samples(data, task, number, row, f"{path}: row {number}")
    if not samples:
        what = "holds no questions: looked for Benchmarking_QA/{generic,temporal,consistency}_qa.json"
        raise DataError(what, where=str(data), fix="give the benchmark's folder as `data`")
    return Loaded(tuple(samples), sum(TASKS.values()), str(data), tuple(absent), tuple(TASKS))


def _samples(data: Path, task: str, number: int, row: Row, where: str) -> list[Sample]:
    name, answer = text_in(row, "video_name", where), text_in(row, "A", where)
    problem = name_problem(name)
    media = Media(name, None)
    if problem is None:
        folders = (data / "Test_Videos", data / "videos", data)
        media = find_media(name, with_suffixes(folders, [name], SUFFIXES), origin=ORIGIN)
    keys = ("Q1", "Q2") if task == "consistency" else ("Q",)
    group = f"{task}/{number}"
    samples = []
    for key in keys:
        question = text_in(row, key, where)
        id = f"{group}/{key}" if len(keys) > 1 else group
        asked = Sample(id, task, KIND, (media,), question, question, answer)
        samples.append(replace(asked, group=group, part=key, problem=problem))
    return samples


TASKS = {"generic": 1996, "temporal": 499, "consistency": 499 * 2}
"""Files and their questions; the generic answers are judged for correctness, detail and context."""
