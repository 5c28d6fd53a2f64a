from __future__ import annotations

import json
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from st_llm_cli.errors import DataError
from st_llm_cli.shapes import folder as folder_module
from st_llm_cli.shapes.folder import SPLITS, read_clips, write_folder
from st_llm_cli.shapes.questions import OPTION_POOLS, QUESTION_KINDS
from st_llm_cli.shapes.world import make_scene

CEILINGS = ("order_blind", "single_frame")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shapes") / "eval"
    write_folder(path, 8)
    return path


def test_questions_are_laid_out_like_mvbench(folder: Path) -> None:
    found = {path.stem for path in (folder / "json").iterdir()}
    assert found <= set(OPTION_POOLS)
    assert {"color", "first_movement", "last_movement", "movement"} <= found
    for path in (folder / "json").iterdir():
        for row in json.loads(path.read_text()):
            assert list(row) == ["video", "question", "candidates", "answer", *CEILINGS]
            assert (folder / "video" / row["video"]).is_file()
            assert row["candidates"].count(row["answer"]) == 1


def test_letters_take_turns(folder: Path) -> None:
    rows = json.loads((folder / "json" / "first_movement.json").read_text())
    letters = Counter(row["candidates"].index(row["answer"]) for row in rows)
    assert letters == {0: 2, 1: 2, 2: 2, 3: 2}


def test_letters_take_turns_among_questions_with_equally_many_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "write_video", lambda scene, path, encoding: path.touch())
    write_folder(tmp_path, 112, world="rich")
    rows = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "json").iterdir()}
    several = 0
    places: dict[int, Counter[int]] = defaultdict(Counter)
    for kind, found in rows.items():
        options = {len(row["candidates"]) for row in found}
        several += len(options) > 1
        for number in options:
            own = [
                row["candidates"].index(row["answer"]) for row in found if len(row["candidates"]) == number
            ]
            assert own == [(own[0] + turn) % number for turn in range(len(own))], kind
            places[number].update(own)
    assert several >= 2
    for number, counts in places.items():
        # Five, among three options, if every kind began at the first letter.
        assert max(counts.values()) - min(counts[place] for place in range(number)) <= 3, number


def test_free_questions_name_their_kind(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert all(list(row) == ["video", "kind", "question", "answer", *CEILINGS] for row in rows)
    assert {row["kind"] for row in rows} <= set(QUESTION_KINDS)
    assert sum(row["kind"] == "caption" for row in rows) == 8


def test_each_question_says_what_is_possible_without_order(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert {row["order_blind"] for row in rows if row["kind"] in ("color", "shape", "exist", "count")} == {1}
    assert {row["order_blind"] for row in rows if row["kind"] == "caption"} == {0.5, 1.0}
    assert all(row["single_frame"] > 0 for row in rows)


def test_the_truth_is_read_back_as_it_was(folder: Path) -> None:
    clips = read_clips(folder)
    assert [clip.scene for clip in clips] == [make_scene(seed) for seed in SPLITS["eval"][:8]]
    assert all(clip.video == f"{clip.scene.seed}{clip.encoding.suffix}" for clip in clips)


def test_the_same_request_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    report = write_folder(tmp_path / "again", 8)
    assert (report.clips, report.written) == (8, 8)
    assert contents(tmp_path / "again") == contents(folder)


def test_an_interrupted_folder_is_completed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video = folder_module.write_video

    def write_three(scene: object, path: Path, encoding: object) -> None:
        if len(list(path.parent.iterdir())) == 3:
            raise KeyboardInterrupt
        write_video(scene, path, encoding)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folder_module, "write_video", write_three)
        write_folder(tmp_path / "part", 8)
    report = write_folder(tmp_path / "part", 8)
    assert (report.clips, report.written) == (8, 5)
    assert contents(tmp_path / "part") == contents(folder)


def test_a_complete_folder_is_not_written_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "video").iterdir()}
    report = write_folder(folder, 8)
    assert report.written == 0
    assert report.choice_questions["color"] == 8
    assert {path: path.stat().st_mtime_ns for path in (folder / "video").iterdir()} == before


def test_a_folder_can_grow(tmp_path: Path, folder: Path) -> None:
    write_folder(tmp_path / "grown", 2)
    assert write_folder(tmp_path / "grown", 8).written == 6
    assert contents(tmp_path / "grown") == contents(folder)


@pytest.mark.parametrize("world", ["plain", "rich"])
def test_a_folder_that_grows_keeps_the_questions_that_it_had(
    tmp_path: Path, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "write_video", lambda scene, path, encoding: path.touch())

    def written(clips: int) -> dict[str, list[object]]:
        write_folder(tmp_path, clips, world=world)
        return {path.name: json.loads(path.read_text()) for path in (tmp_path / "json").iterdir()}

    before, after = written(14), written(42)
    assert {name: after[name][: len(rows)] for name, rows in before.items()} == before
    assert sum(map(len, after.values())) > 2 * sum(map(len, before.values()))


def test_train_and_eval_have_no_scene_in_common(tmp_path: Path, folder: Path) -> None:
    write_folder(tmp_path / "train", 4, split="train")
    train = {clip.scene.seed for clip in read_clips(tmp_path / "train")}
    assert not train & set(SPLITS["eval"][:8])
    assert not set(SPLITS["train"][-5:]) & set(SPLITS["eval"][:5])


def test_scenes_can_be_chosen(tmp_path: Path) -> None:
    write_folder(tmp_path / "two", 2, first=5, num_objects=2, num_movements=1)
    clips = read_clips(tmp_path / "two")
    assert [clip.scene.seed for clip in clips] == list(SPLITS["eval"][5:7])
    assert all(len(clip.scene.objects) == 2 for clip in clips)


def test_a_folder_of_other_settings_is_left_alone(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(DataError, match=r"settings.json: the folder holds clips made with other settings"):
        write_folder(folder, 8, num_objects=1)
    assert contents(folder) == before


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match=r"the folder holds other things \(choose an empty folder\)"):
        write_folder(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write here: Not a directory \(choose another folder\)"):
        write_folder(tmp_path / "file" / "below", 1)


def test_missing_or_strange_truth_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scenes.jsonl: cannot be read"):
        read_clips(tmp_path)
    (tmp_path / "scenes.jsonl").write_text('{"video": "a.mp4"}\n')
    with pytest.raises(DataError, match=r"scenes.jsonl:1: not the truth of a clip: KeyError\('scene'\)"):
        read_clips(tmp_path)


def test_with_fewer_pixels_clips_are_shorter_and_tell_the_same_stories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "write_video", lambda scene, path, encoding: path.touch())
    write_folder(tmp_path / "usual", 28, world="rich")
    write_folder(tmp_path / "quick", 28, world="rich", most_pixels=10_000_000)
    usual, quick = read_clips(tmp_path / "usual"), read_clips(tmp_path / "quick")
    for clip in quick:
        pixels = clip.encoding.width * clip.encoding.height * clip.encoding.fps * clip.scene.duration_seconds
        assert pixels <= 1.2 * 10_000_000  # the rhythm stretches short clips a little
    assert max(clip.scene.duration_seconds for clip in usual) > 40
    assert max(clip.scene.duration_seconds for clip in quick) < 12
    assert [clip.scene.story for clip in quick] == [clip.scene.story for clip in usual]
    with pytest.raises(DataError, match="other settings"):
        write_folder(tmp_path / "quick", 28, world="rich")


def test_clips_can_be_drawn_by_a_pool(tmp_path: Path, folder: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        write_folder(tmp_path / "pool", 8, each=pool.map)
    assert contents(tmp_path / "pool") == contents(folder)
