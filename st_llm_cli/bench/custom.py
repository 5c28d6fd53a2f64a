"""Questions of one's own: a folder laid out like MVBench, or a file with one question a line.

DIR/json/<task>.json     lists of {video, question, candidates, answer, start?, end?, fps?}
DIR/video/…              the clips, also below a folder named after the task
FILE.jsonl               {video or videos, question, answer, candidates?, task?, id?, start?, end?, fps?}

A clip may be a folder of pictures, of which `fps` are one second.
"""

from __future__ import annotations

from pathlib import Path

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.choice import choice_sample
from st_llm_cli.bench.files import (
    Row,
    find_media,
    name_problem,
    part_problem,
    rate_in,
    read_rows,
    read_text,
    seconds_in,
    text_in,
)
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError
from st_llm_cli.json_text import parse_json

TASK = "questions"
FOLDER_FPS = 3.0
"""Pictures per second of a folder of pictures whose row has no `fps`."""


def load(data: Path) -> Loaded:
    """Read the questions and find their clips.

    Args:
        data: Folder or `.jsonl` file; clips of a file are looked for beside it.

    Raises:
        DataError: If there are no questions, one cannot be asked as it stands, or two have the same id.
    """
    samples = _from_lines(data) if data.is_file() else _from_folder(data)
    if not samples:
        raise DataError("holds no questions", where=str(data), fix="put at least one into it")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise DataError(f"the id '{sample.id}' occurs twice", where=str(data), fix="make ids unique")
        seen.add(sample.id)
    return Loaded(tuple(samples), len(samples), str(data))


def _from_folder(folder: Path) -> list[Sample]:
    paths = sorted((folder / "json").glob("*.json"))
    if not paths:
        what = "holds no questions: looked for json/*.json"
        fix = "give a folder laid out like MVBench, or a .jsonl file, as `data`"
        raise DataError(what, where=str(folder), fix=fix)
    return [
        _sample(folder, row, path.stem, f"{path.stem}/{number}", f"{path}: row {number}")
        for path in paths
        for number, row in enumerate(read_rows(path))
    ]


def _from_lines(file: Path) -> list[Sample]:
    samples = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = parse_json(line)
        except ValueError as error:
            raise DataError(f"is not JSON: {error}", where=where, fix="write one object a line") from error
        if not isinstance(row, dict):
            raise DataError("is not an object", where=where, fix="write one object a line")
        task = text_in(row, "task", where) if "task" in row else TASK
        id = text_in(row, "id", where) if "id" in row else f"{task}/{number - 1}"
        samples.append(_sample(file.parent, row, task, id, where))
    return samples


def _sample(folder: Path, row: Row, task: str, id: str, where: str) -> Sample:
    names = row["videos"] if "videos" in row else [text_in(row, "video", where)]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError("'videos' is not a list of names", where=where, fix='write "videos": ["a.mp4"]')
    media = [_find(folder, task, name, row, where) for name in names]
    if "candidates" in row:
        return choice_sample(id, task, row, media, where)
    question, answer = text_in(row, "question", where), text_in(row, "answer", where)
    problem = next(filter(None, map(name_problem, names)), None)
    return Sample(id, task, "short answer", tuple(media), question, question, answer, problem=problem)


def _find(folder: Path, task: str, name: str, row: Row, where: str) -> Media:
    if name_problem(name):
        return Media(name, None)
    start, end = seconds_in(row, "start", where), seconds_in(row, "end", where)
    problem = part_problem(start, end)
    if problem is not None:
        fix = "write seconds from 0, 'start' before 'end', or leave out both for the whole clip"
        raise DataError(problem, where=where, fix=fix)
    inside = (
        folder / "video" / name,
        folder / "video" / task / name,
        folder / "videos" / name,
        folder / name,
    )
    pictures = next((place for place in inside if place.is_dir()), None)
    if pictures is None:
        return find_media(name, inside, start=start, end=end)
    fps = rate_in(row, "fps", where) or FOLDER_FPS
    return find_media(name, [pictures], start=start, end=end, folder_fps=fps)
