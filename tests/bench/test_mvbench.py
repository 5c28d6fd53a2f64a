"""MVBench: questions, prompts, and clips found in every layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench import mvbench
from st_llm_cli.bench.choice import question_block
from st_llm_cli.bench.released import key_text
from st_llm_cli.bench.sample import Sample
from st_llm_cli.errors import DataError
from tests.bench.golden import bench_folder, golden_params, mini_folder

EXPECTED = [json.loads(line) for line in (mini_folder() / "EXPECTED_mvbench.jsonl").read_text().splitlines()]
ROW = {"video": "a.mp4", "question": "What?", "candidates": ["one", "two"], "answer": "two"}


@pytest.fixture(scope="module")
def samples() -> dict[str, Sample]:
    return {sample.id: sample for sample in mvbench.load(mini_folder() / "mvbench").samples}


def write(folder: Path, stem: str, *rows: dict[str, Any]) -> Path:
    (folder / "json").mkdir(parents=True, exist_ok=True)
    (folder / "json" / f"{stem}.json").write_text(json.dumps(rows))
    return folder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row['json'][:-5]}/{row['row']}") for row in EXPECTED]
)
def test_question_of_the_miniature(row: dict[str, Any], samples: dict[str, Sample]) -> None:
    sample = samples[f"{row['json'].removesuffix('.json')}/{row['row']}"]
    (clip,) = sample.clips
    assert clip.path == mini_folder() / row["path"]
    assert (clip.start_seconds, clip.end_seconds) == tuple(row["bound"] or (None, None))
    assert clip.folder_fps == (row["fps"] if row["kind"] == "frame" else None)
    assert sample.task == row["task"]
    assert key_text(sample.candidates, sample.answer) == row["gt"]
    assert len(sample.letters) == row["n_candidates"]


def test_miniature_is_whole(samples: dict[str, Sample]) -> None:
    assert len(samples) == len(EXPECTED) == 60
    assert not any(sample.missing or sample.problem for sample in samples.values())


@pytest.mark.parametrize("row", golden_params("mvbench_prompt.jsonl"))
def test_question_text(row: dict[str, Any]) -> None:
    block = question_block(row["input"]["question"], row["input"]["candidates"])
    assert block == row["expected"]["question_block"] == row["expected"]["qformer_text"]
    assert key_text(row["input"]["candidates"], row["input"]["answer"]) == row["expected"]["gt"]


def test_branch_with_cut_clips_knows_no_bounds() -> None:
    loaded = mvbench.load(mini_folder() / "mvbench_video_branch")
    assert [sample.id for sample in loaded.samples] == [
        "action_sequence/0",
        "action_antonym/0",
        "fine_grained_pose/0",
        "episodic_reasoning/0",
    ]
    clips = [sample.clips[0] for sample in loaded.samples]
    assert all(clip.path and clip.path.suffix == ".mp4" and clip.folder_fps is None for clip in clips)
    assert "Action Count" in loaded.absent and len(loaded.absent) == 16


def test_questions_merged_into_one_file(tmp_path: Path) -> None:
    table = {"root": {"action_antonym": "elsewhere"}, "meta": {"action_antonym": [ROW]}}
    (tmp_path / "test.json").write_text(json.dumps(table))
    clip = touch(tmp_path / "elsewhere" / "a.mp4")
    (sample,) = mvbench.load(tmp_path).samples
    assert sample.clips[0].path == clip


@pytest.mark.parametrize(
    "place",
    [
        "video/star/Charades_v1_480/a.mp4",
        "video/star/star/Charades_v1_480/a.mp4",
        "video/data0613/star/Charades_v1_480/a.mp4",
        "video/data0613/data0613/star/Charades_v1_480/a.mp4",
        "video/Charades_v1_480/a.mp4",
        "star/Charades_v1_480/a.mp4",
        "star/star/Charades_v1_480/a.mp4",
        "data0613/star/Charades_v1_480/a.mp4",
    ],
)
def test_clip_is_found_however_its_archive_was_unpacked(place: str, tmp_path: Path) -> None:
    data = write(tmp_path, "action_sequence", {**ROW, "start": 1.0, "end": 2.5})
    clip = touch(tmp_path / place)
    (sample,) = mvbench.load(data).samples
    (media,) = sample.clips
    assert (media.path, media.start_seconds, media.end_seconds) == (clip, 1.0, 2.5)


@pytest.mark.parametrize("place", ["star/Charades_segment/a.mp4", "video/star/Charades_segment/a.mp4"])
def test_cut_clip_is_taken_whole(place: str, tmp_path: Path) -> None:
    data = write(tmp_path, "action_sequence", {**ROW, "start": 1.0, "end": 2.5})
    clip = touch(tmp_path / place)
    (media,) = mvbench.load(data).samples[0].clips
    assert (media.path, media.start_seconds, media.end_seconds) == (clip, None, None)


@pytest.mark.parametrize(
    ("stem", "name", "place"),
    [
        ("action_antonym", "7.webm", "ssv2_video_mp4/7.mp4"),
        ("fine_grained_pose", "S1.avi", "nturgbd_convert/S1.mp4"),
        ("episodic_reasoning", "show_s01", "tvqa/video_fps3_hq_segment/show_s01.mp4"),
    ],
)
def test_questions_of_the_main_branch_find_converted_clips(
    stem: str, name: str, place: str, tmp_path: Path
) -> None:
    data = write(tmp_path, stem, {**ROW, "video": name})
    clip = touch(tmp_path / place)
    assert mvbench.load(data).samples[0].clips[0].path == clip


def test_bounds_of_tasks_without_parts_are_ignored(tmp_path: Path) -> None:
    data = write(tmp_path, "object_shuffle", {**ROW, "start": 1.0, "end": 2.0, "subtitle": []})
    (media,) = mvbench.load(data).samples[0].clips
    assert (media.start_seconds, media.end_seconds) == (None, None)


def test_missing_clip_says_where_it_was_looked_for_and_where_it_comes_from(tmp_path: Path) -> None:
    data = write(tmp_path, "fine_grained_pose", {**ROW, "video": "S1.avi"})
    (sample,) = mvbench.load(data).samples
    (media,) = sample.missing
    assert tmp_path / "video" / "nturgbd" / "S1.avi" in media.tried
    assert tmp_path / "nturgbd_convert" / "S1.mp4" in media.tried
    assert "ROSE Lab" in media.origin


@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/passwd", "a/../../b.mp4", "C:\\x.mp4", "..\\x.mp4"])
def test_clip_outside_of_the_folder_is_a_counted_problem(name: str, tmp_path: Path) -> None:
    data = write(tmp_path, "object_shuffle", {**ROW, "video": name})
    (sample,) = mvbench.load(data).samples
    assert sample.clips[0].path is None
    assert sample.problem is not None and "outside" in sample.problem


def test_clip_without_a_name_is_a_counted_problem(tmp_path: Path) -> None:
    data = write(tmp_path, "object_shuffle", {**ROW, "video": ""})
    assert mvbench.load(data).samples[0].problem == "names no clip"


def test_answer_that_is_no_option_is_a_counted_problem(tmp_path: Path) -> None:
    data = write(tmp_path, "object_shuffle", {**ROW, "answer": "three"})
    assert mvbench.load(data).samples[0].problem == "its answer 'three' is none of the candidates"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": "q", "candidates": ["a"], "answer": "a"},
            "object_shuffle.json: row 0: 'video' is missing",
        ),
        ({**ROW, "candidates": "one"}, "'candidates' is not a list of texts"),
        ({**ROW, "candidates": []}, "has 0 candidates"),
        ({**ROW, "question": None}, "'question' is None"),
        ({**ROW, "answer": ["one"]}, r"'answer' is \['one'\]"),
    ],
)
def test_row_of_another_schema_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        mvbench.load(write(tmp_path, "object_shuffle", row))


def test_bound_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 0: 'start' is 'soon'"):
        mvbench.load(write(tmp_path, "action_sequence", {**ROW, "start": "soon"}))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'[{"video": "\xff"}]', "is not UTF-8"), (b"[", "is not JSON"), (b'{"a": 1}', "a list of questions")],
)
def test_file_that_cannot_be_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "object_shuffle.json").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        mvbench.load(tmp_path)
    assert str(caught.value.where).endswith("object_shuffle.json")


def test_folder_without_questions_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for json/<task>.json and test.json"):
        mvbench.load(tmp_path)


def test_merged_file_may_not_lead_outside(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(
        json.dumps({"root": {"a": "../x"}, "meta": {"object_shuffle": [ROW]}})
    )
    with pytest.raises(DataError, match="outside of the data folder"):
        mvbench.load(tmp_path)


def test_pack_is_there() -> None:
    assert EXPECTED, f"no miniature in {bench_folder()}"
