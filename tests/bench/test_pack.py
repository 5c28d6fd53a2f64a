"""Every file of the recordings and of the miniature benchmarks is used, and none by name only."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench import open_answers, tempcompass
from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.video.reader import read_clip
from tests.bench.golden import bench_folder, golden_file, mini_folder

TESTS = Path(__file__).parents[1]
MINI = mini_folder()
GOLDENS = {
    "judge_batches.jsonl": "stages/test_judge.py",
    "judge_behaviours.json": "cli/test_judge_behaviours.py",
    "judge_reply_qa.jsonl": "bench/test_judge_reply.py",
    "judge_reply_score.jsonl": "bench/test_judge_reply.py",
    "modern_mcq.jsonl": "bench/test_other_readers.py",
    "mvbench_aggregate.json": "bench/test_report.py",
    "mvbench_frame_index.jsonl": "parity/test_sampling.py",
    "mvbench_match.jsonl": "bench/test_parsing.py",
    "mvbench_prompt.jsonl": "stages/test_eval_prompts.py",
    "tempcompass_rules.jsonl": "bench/test_tempcompass_rules.py",
    "vcg_qa_frame_index.jsonl": "parity/test_sampling.py",
    "vinoground_aggregate.json": "bench/test_report.py",
}
SETS: dict[str, Callable[[Path], Loaded]] = {
    **{name: benchmark.load for name, benchmark in BENCHMARKS.items()},
    "mvbench_video_branch": BENCHMARKS["mvbench"].load,
}
# Files beside the questions: each has a test of its own, named here.
BESIDE = {
    "EXPECTED_mvbench.jsonl": "bench/test_mvbench.py",
    "MEDIA.json": "bench/test_pack.py",
    "mvbench/json_extra/gif_task.json": "bench/test_loaders.py",
    "mvbench/json_extra/missing_media.json": "bench/test_loaders.py",
    "mvbench/video/extra_gif/gif_p061.gif": "bench/test_loaders.py",
    "mvbench/video/MVBench_videos_ntu.txt": "bench/test_pack.py",
    "tempcompass/meta_info.json": "bench/test_pack.py",
    "msvd/youtube_mapping.txt": "bench/test_pack.py",
    "msvd/test_qa_original.json": "bench/test_loaders.py",
    "msvd/test_q.json": "bench/test_loaders.py",
    "msvd/test_a.json": "bench/test_loaders.py",
    "msrvtt/test_q.json": "bench/test_loaders.py",
    "msrvtt/test_a.json": "bench/test_loaders.py",
    "mvbench_video_branch/test.json": "bench/test_pack.py",
}


def _files(folder: Path) -> list[Any]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert found, f"no files in {folder}"
    return [pytest.param(path, id=path.relative_to(folder).as_posix()) for path in found]


def _recordings() -> list[Any]:
    folder = golden_file("mvbench_match.jsonl").parent
    found = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [pytest.param(path, id=path.name) for path in found]


@pytest.fixture(scope="module")
def used() -> set[Path]:
    """Files that a question of some miniature is read from or is about."""
    found: set[Path] = set()
    for folder in MINI.iterdir():
        if folder.is_dir():
            loaded = SETS[folder.name](folder)
            clips = {clip.path for sample in loaded.samples for clip in sample.clips if clip.path}
            found |= clips | {path for clip in clips if clip.is_dir() for path in clip.iterdir()}
            tasks = {sample.id.split("/")[0] for sample in loaded.samples}
            found |= {path for path in folder.rglob("*.json") if path.stem.removesuffix("_qa") in tasks}
            found |= {Path(loaded.source), Path(loaded.source.replace("_q.json", "_a.json"))}
    return found


@pytest.mark.parametrize("path", _recordings())
def test_recording_is_held_against_by_a_test(path: Path) -> None:
    assert path.name in (TESTS / GOLDENS[path.name]).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", _files(MINI))
def test_file_of_the_miniatures_is_used(path: Path, used: set[Path]) -> None:
    name = path.relative_to(MINI).as_posix()
    if path not in used:
        assert path.name in (TESTS / BESIDE[name]).read_text(encoding="utf-8")


def _media() -> list[Any]:
    table = bench_folder() / "mini" / "MEDIA.json"
    rows = json.loads(table.read_text()) if table.is_file() else {}
    return [pytest.param(name, row, id=name) for name, row in rows.items()]


@pytest.mark.parametrize(("name", "row"), _media())
def test_clip_of_the_miniatures_is_what_ffprobe_says(name: str, row: dict[str, Any]) -> None:
    source = read_clip(MINI / name, num_frames=2, folder_fps=3.0).source
    if "kind" not in row:  # of a folder of pictures only the number is known
        assert (source.width, source.height) == (row["width"], row["height"])
    assert source.delivered_frames == row["frames"]
    assert source.fps == pytest.approx(row["fps"], rel=0.05)


def test_merged_file_holds_the_questions_of_the_single_ones() -> None:
    folder = MINI / "mvbench_video_branch"
    merged = json.loads((folder / "test.json").read_text())["meta"]
    single = {path.stem: json.loads(path.read_text()) for path in (folder / "json").glob("*.json")}
    assert merged == single


def test_clips_that_may_not_be_passed_on_are_those_of_one_task() -> None:
    listed = (MINI / "mvbench" / "video" / "MVBench_videos_ntu.txt").read_text().split()
    samples = BENCHMARKS["mvbench"].load(MINI / "mvbench").samples
    poses = [sample.clips[0].name for sample in samples if sample.task == "Fine-grained Pose"]
    assert sorted(listed) == sorted(poses)


def test_dimensions_of_tempcompass_are_those_its_table_of_clips_knows() -> None:
    table = json.loads((MINI / "tempcompass" / "meta_info.json").read_text())
    known = {
        (video, dimension)
        for video, row in table.items()
        for dimension, about in row["eval_dim"].items()
        if about is not None
    }
    samples = tempcompass.load(MINI / "tempcompass").samples
    assert {(sample.clips[0].name, sample.task.split(": ")[1]) for sample in samples} == known


def test_numbers_of_clips_stand_for_the_titles_that_a_file_gives_them() -> None:
    lines = (MINI / "msvd" / "youtube_mapping.txt").read_text().splitlines()
    titles = {number: title for title, _, number in (line.rpartition(" vid") for line in lines)}
    for sample in open_answers.load_msvd(MINI / "msvd" / "test_qa_original.json").samples:
        (clip,) = sample.clips
        assert clip.path is not None and clip.path.stem == titles[clip.name]


def test_two_layouts_of_a_set_ask_the_same_questions() -> None:
    for load, name in ((open_answers.load_msvd, "msvd"), (open_answers.load_msrvtt, "msrvtt")):
        one, two = (load(MINI / name / file).samples for file in ("test_qa.json", "test_q.json"))
        assert [(s.question, s.answer) for s in one] == [(s.question, s.answer) for s in two]
