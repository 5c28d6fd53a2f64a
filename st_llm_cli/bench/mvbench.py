"""MVBench: twenty tasks of temporal understanding, 200 multiple-choice questions each.

Both layouts of the Hub's repository `OpenGVLab/MVBench` are read, unpacked to any depth people use:

branch main    json/<task>.json, video/<archive>/…, with the clips replaced later in video/data0613/…
branch video   json/<task>.json or test.json, clips cut to their parts in folders at the top
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.choice import choice_sample
from st_llm_cli.bench.files import (
    Row,
    find_media,
    name_problem,
    read_json,
    read_rows,
    rows_of,
    seconds_in,
    text_in,
)
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError

QUESTIONS_PER_TASK = 200
TVQA_FPS = 3.0
LATE_ARCHIVE = "data0613"


@dataclass(frozen=True)
class Task:
    """One task: what it is called and where its clips lie."""

    name: str
    folder: str
    """Below `video`; the first part is the archive's name."""
    cut_folder: str | None = None
    """Folder of the `video` branch, where it differs."""
    bounded: bool = False
    """Whether a question is about a part of its clip; on the `video` branch the clips are cut already."""
    frames: bool = False
    """Whether a clip is a folder of pictures."""

    @property
    def origin(self) -> str:
        """Where the clips come from."""
        archive = self.folder.split("/")[0]
        if archive == "nturgbd":
            return (
                "NTU RGB+D, which may not be passed on: ask the ROSE Lab for the clips listed in "
                "MVBench_videos_ntu.txt"
            )
        return f"{archive}.zip, or {LATE_ARCHIVE}.zip, of https://huggingface.co/datasets/OpenGVLab/MVBench"


def load(data: Path) -> Loaded:
    """Read the questions and find their clips.

    Args:
        data: Folder of either branch.

    Raises:
        DataError: If there are no questions, or a file is not what it should be.
    """
    tables, roots = _tables(data)
    samples = [
        _sample(data, stem, number, row, roots.get(stem), where)
        for stem, (rows, where) in tables.items()
        for number, row in enumerate(rows)
    ]
    absent = tuple(task.name for stem, task in TASKS.items() if stem not in tables)
    return Loaded(
        tuple(samples),
        QUESTIONS_PER_TASK * len(TASKS),
        str(data),
        absent,
        tuple(task.name for task in TASKS.values()),
    )


def _tables(data: Path) -> tuple[dict[str, tuple[list[Row], str]], dict[str, str]]:
    """Give the rows of each task with the file they are from, and the folders `test.json` names for tasks."""
    merged: Any = read_json(data / "test.json") if (data / "test.json").is_file() else {}
    if not isinstance(merged, dict) or not all(
        isinstance(merged.get(key, {}), dict) for key in ("root", "meta")
    ):
        what, fix = (
            "does not hold 'root' and 'meta'",
            "download it again, or remove it if it is not MVBench's",
        )
        raise DataError(what, where=str(data / "test.json"), fix=fix)
    tables = {}
    for stem in TASKS:
        path = data / "json" / f"{stem}.json"
        if path.is_file():
            tables[stem] = (read_rows(path), str(path))
        elif stem in merged.get("meta", {}):
            where = data / "test.json"
            tables[stem] = (rows_of(merged["meta"][stem], where), f"{where}: {stem}")
    if not tables:
        what = "holds no questions: looked for json/<task>.json and test.json"
        fix = "give the folder that holds MVBench's json and video folders as `data`"
        raise DataError(what, where=str(data), fix=fix)
    roots = {stem: str(folder) for stem, folder in merged.get("root", {}).items()}
    for folder in roots.values():
        if name_problem(folder):
            what = f"its folder '{folder}' lies outside of the data folder"
            raise DataError(what, where=str(data / "test.json"), fix="download the file again")
    return tables, roots


def _sample(data: Path, stem: str, number: int, row: Row, root: str | None, file: str) -> Sample:
    task, where = TASKS[stem], f"{file}: row {number}"
    name = text_in(row, "video", where)
    media = Media(name, None) if name_problem(name) else _find(data, task, name, row, root, where)
    return choice_sample(f"{stem}/{number}", task.name, row, [media], where)


def _find(data: Path, task: Task, name: str, row: Row, root: str | None, where: str) -> Media:
    start = seconds_in(row, "start", where) if task.bounded else None
    end = seconds_in(row, "end", where) if task.bounded else None
    fps = TVQA_FPS if task.frames else None
    whole = find_media(
        name, whole_places(data, task.folder, name), origin=task.origin, start=start, end=end, folder_fps=fps
    )
    if whole.path is not None:
        return whole
    cut_folders = [folder for folder in (root, task.cut_folder) if folder]
    cut = find_media(name, _cut_places(data, cut_folders, name), origin=task.origin)
    if cut.path is not None:
        return cut
    return Media(name, None, (*whole.tried, *cut.tried), task.origin, start, end, fps)


def whole_places(data: Path, folder: str, name: str) -> list[Path]:
    """Give the places where a clip of the main branch may lie, however its archive was unpacked."""
    archive = folder.split("/")[0]
    insides = [
        folder,
        f"{archive}/{folder}",  # unpacked into a folder named after the archive
        f"{LATE_ARCHIVE}/{folder}",
        f"{LATE_ARCHIVE}/{LATE_ARCHIVE}/{folder}",
        folder.partition("/")[2] or folder,  # unpacked without the archive's own folder
    ]
    return [top / inside / name for top in (data / "video", data) for inside in insides]


def _cut_places(data: Path, folders: Sequence[str], name: str) -> list[Path]:
    # On this branch all clips are mp4, whatever the questions call them.
    names = dict.fromkeys((name, f"{PurePosixPath(name).with_suffix('')}.mp4", f"{name}.mp4"))
    return [top / folder / each for top in (data, data / "video") for folder in folders for each in names]


TASKS = {
    "action_sequence": Task("Action Sequence", "star/Charades_v1_480", "star/Charades_segment", bounded=True),
    "action_prediction": Task(
        "Action Prediction", "star/Charades_v1_480", "star/Charades_segment", bounded=True
    ),
    "action_antonym": Task("Action Antonym", "ssv2_video", "ssv2_video_mp4"),
    "fine_grained_action": Task("Fine-grained Action", "Moments_in_Time_Raw/videos"),
    "unexpected_action": Task("Unexpected Action", "FunQA_test/test"),
    "object_existence": Task("Object Existence", "clevrer/video_validation"),
    "object_interaction": Task(
        "Object Interaction", "star/Charades_v1_480", "star/Charades_segment", bounded=True
    ),
    "object_shuffle": Task("Object Shuffle", "perception/videos"),
    "moving_direction": Task("Moving Direction", "clevrer/video_validation"),
    "action_localization": Task(
        "Action Localization", "sta/sta_video", "sta/sta_video_segment", bounded=True
    ),
    "scene_transition": Task("Scene Transition", "scene_qa/video"),
    "action_count": Task("Action Count", "perception/videos"),
    "moving_count": Task("Moving Count", "clevrer/video_validation"),
    "moving_attribute": Task("Moving Attribute", "clevrer/video_validation"),
    "state_change": Task("State Change", "perception/videos"),
    "fine_grained_pose": Task("Fine-grained Pose", "nturgbd", "nturgbd_convert"),
    "character_order": Task("Character Order", "perception/videos"),
    "egocentric_navigation": Task("Egocentric Navigation", "vlnqa"),
    "episodic_reasoning": Task(
        "Episodic Reasoning", "tvqa/frames_fps3_hq", "tvqa/video_fps3_hq_segment", bounded=True, frames=True
    ),
    "counterfactual_inference": Task("Counterfactual Inference", "clevrer/video_validation"),
}
"""Tasks by the name of their file, in the order of the published tables."""
