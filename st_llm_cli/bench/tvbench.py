"""TVBench: ten tasks that cannot be answered from one frame or from the text alone; rows as MVBench's.

DIR/json/<task>.json and DIR/video/<task>/<name>
"""

from __future__ import annotations

from pathlib import Path

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.choice import choice_sample
from st_llm_cli.bench.files import find_media, name_problem, read_rows, seconds_in, text_in
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError

TASKS = (
    "action_antonym",
    "action_count",
    "action_localization",
    "action_sequence",
    "egocentric_sequence",
    "moving_direction",
    "object_count",
    "object_shuffle",
    "scene_transition",
    "unexpected_action",
)
BOUNDED = ("action_sequence", "action_localization")
ORIGIN = "video/<task>.zip of https://huggingface.co/datasets/FunAILab/TVBench"


def load(data: Path) -> Loaded:
    """Read the questions and find their clips.

    Raises:
        DataError: If there are no questions, or a file is not what it should be.
    """
    files = {task: data / "json" / f"{task}.json" for task in TASKS}
    found = {task: path for task, path in files.items() if path.is_file()}
    if not found:
        what = "holds no questions: looked for json/<task>.json"
        fix = "give the folder that holds TVBench's json and video folders as `data`"
        raise DataError(what, where=str(data), fix=fix)
    samples = tuple(sample for task, path in found.items() for sample in _samples(data, task, path))
    absent = tuple(task for task in TASKS if task not in found)
    return Loaded(samples, None, str(data), absent, TASKS)


def _samples(data: Path, task: str, path: Path) -> list[Sample]:
    samples = []
    for number, row in enumerate(read_rows(path)):
        where = f"{path}: row {number}"
        name = text_in(row, "video", where)
        media = Media(name, None)
        if not name_problem(name):
            folders = [data / "video" / task, data / "video" / task / task, data / task, data / "video"]
            bounded = task in BOUNDED
            media = find_media(
                name,
                [folder / name for folder in folders],
                origin=ORIGIN.replace("<task>", task),
                start=seconds_in(row, "start", where) if bounded else None,
                end=seconds_in(row, "end", where) if bounded else None,
            )
        samples.append(choice_sample(f"{task}/{number}", task, row, [media], where))
    return samples
