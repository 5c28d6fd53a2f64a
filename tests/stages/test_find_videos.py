import os
from pathlib import Path

import pytest

from st_llm_cli.errors import DataError, VideoNotFoundError
from st_llm_cli.stages.find_videos import find_videos


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_file_is_itself(tmp_path: Path) -> None:
    touch(tmp_path / "a.strange")
    assert find_videos([tmp_path / "a.strange"]) == [tmp_path / "a.strange"]


def test_folder_is_searched_through_all_levels_in_order(tmp_path: Path) -> None:
    touch(tmp_path / "b.MP4", tmp_path / "a.mkv", tmp_path / "deep" / "er" / "c.webm", tmp_path / "notes.md")
    assert find_videos([tmp_path]) == [
        tmp_path / "a.mkv",
        tmp_path / "b.MP4",
        tmp_path / "deep" / "er" / "c.webm",
    ]


def test_folder_of_numbered_pictures_is_one_video(tmp_path: Path) -> None:
    touch(tmp_path / "clip" / "0001.jpg", tmp_path / "clip" / "0002.jpg", tmp_path / "b.mp4")
    assert find_videos([tmp_path / "clip"]) == [tmp_path / "clip"]
    assert find_videos([tmp_path]) == [tmp_path / "b.mp4", tmp_path / "clip"]


def test_thumbnails_beside_videos_are_not_a_video(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "thumb1.jpg", tmp_path / "thumb2.jpg")
    assert find_videos([tmp_path]) == [tmp_path / "a.mp4"]


def test_pattern_is_resolved_here_where_the_shell_does_not(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.mp4", tmp_path / "x" / "y" / "b.mp4", tmp_path / "x" / "c.txt")
    assert find_videos([f"{tmp_path}/**/*"]) == [tmp_path / "x" / "a.mp4", tmp_path / "x" / "y" / "b.mp4"]


def test_file_with_a_bracket_in_its_name_is_not_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path / "clip [1].mp4")
    assert find_videos([tmp_path / "clip [1].mp4"]) == [tmp_path / "clip [1].mp4"]


def test_each_video_comes_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert find_videos([tmp_path / "b.mp4", tmp_path]) == [tmp_path / "b.mp4", tmp_path / "a.mp4"]


MANIFESTS = {
    "list.txt": "# my clips\n\na.mp4\nsub/b.mp4\n",
    "list.jsonl": '{"video": "a.mp4", "label": 3}\n\n{"path": "sub/b.mp4"}\n',
    "list.json": '["a.mp4", {"video": "sub/b.mp4", "label": 3}]',
    "list.csv": "label,video\n3,a.mp4\n4,sub/b.mp4\n",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_names_videos_relative_to_itself(tmp_path: Path, name: str) -> None:
    manifest = tmp_path / "lists" / name
    manifest.parent.mkdir()
    manifest.write_text(MANIFESTS[name], encoding="utf-8")
    assert find_videos([manifest]) == [tmp_path / "lists" / "a.mp4", tmp_path / "lists" / "sub" / "b.mp4"]


def test_manifest_saved_by_a_spreadsheet_program_is_read(tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_bytes("\ufeffvideo,label\r\nölwechsel.mp4,1\r\n".encode())
    assert find_videos([manifest]) == [tmp_path / "ölwechsel.mp4"]


def test_absolute_path_in_a_manifest_stays(tmp_path: Path) -> None:
    elsewhere = Path(os.path.abspath(os.sep)) / "videos" / "a.mp4"
    (tmp_path / "list.txt").write_text(f"{elsewhere}\n", encoding="utf-8")
    assert find_videos([tmp_path / "list.txt"]) == [elsewhere]


def test_folder_in_a_manifest_stands_for_its_videos(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "deep" / "b.mp4", tmp_path / "deep" / "c.mkv")
    (tmp_path / "list.txt").write_text("deep\na.mp4\n", encoding="utf-8")
    found = [path.relative_to(tmp_path).as_posix() for path in find_videos([tmp_path / "list.txt"])]
    assert found == ["deep/b.mp4", "deep/c.mkv", "a.mp4"]


def test_comments_of_a_list_are_passed_over_and_names_that_begin_like_them_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "#1.mp4", tmp_path / "a.mp4")
    (tmp_path / "list.txt").write_text("# my clips\n#1.mp4\n\n#2.mp4\na.mp4\n", encoding="utf-8")
    assert find_videos([tmp_path / "list.txt"]) == [tmp_path / "#1.mp4", tmp_path / "a.mp4"]


def test_folder_without_videos_does_not_end_a_list(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "notes" / "b.md")
    (tmp_path / "list.txt").write_text("notes\na.mp4\n", encoding="utf-8")
    assert find_videos([tmp_path / "list.txt"]) == [tmp_path / "notes", tmp_path / "a.mp4"]


def test_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    touch(tmp_path / "home" / "a.mp4")
    (tmp_path / "list.jsonl").write_text('{"video": "~/a.mp4"}\n', encoding="utf-8")
    assert find_videos([tmp_path / "list.jsonl"]) == [tmp_path / "home" / "a.mp4"]
    assert find_videos(["~/a.mp4"]) == [tmp_path / "home" / "a.mp4"]


def test_file_that_begins_with_a_tilde_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path("~lock.mp4"))
    assert find_videos(["~lock.mp4"]) == [Path("~lock.mp4")]


def refusal(kind: type[Exception], source: Path | str) -> str:
    with pytest.raises(kind) as caught:
        find_videos([source])
    return str(caught.value)


def test_missing_file_names_the_one_that_comes_near(tmp_path: Path) -> None:
    touch(tmp_path / "red_circle.mp4")
    said = refusal(VideoNotFoundError, tmp_path / "red_cirle.mp4")
    assert said == (
        f"{tmp_path}/red_cirle.mp4: no such file or folder (did you mean '{tmp_path}/red_circle.mp4'?)"
    )


def test_missing_folder_is_named(tmp_path: Path) -> None:
    said = refusal(VideoNotFoundError, tmp_path / "nowhere" / "a.mp4")
    assert said.endswith(
        f"no such file or folder (check the path; there is no folder '{tmp_path}/nowhere' either)"
    )


def test_folder_without_videos_says_what_counts_as_one(tmp_path: Path) -> None:
    touch(tmp_path / "notes.md", tmp_path / "one.png")
    said = refusal(VideoNotFoundError, tmp_path)
    assert said.startswith(
        f"{tmp_path}: no video in this folder or below (videos are known by their endings: "
    )
    assert ".mp4" in said


def test_pattern_without_match_is_refused(tmp_path: Path) -> None:
    assert "no video matches this pattern" in refusal(VideoNotFoundError, f"{tmp_path}/*.mp4")


WRONG_MANIFESTS = {
    "empty.txt": ("\n# nothing\n", "lists no videos (name one video a line)"),
    "wrong.jsonl": ('{"video": "a.mp4"}\nb.mp4\n', "line 2: is not JSON: "),
    "nameless.jsonl": ('{"clip": "a.mp4"}\n', "line 1: names no video (give it a 'video')"),
    "unquoted.json": ("[\n  a.mp4\n]\n", "line 2: is not JSON: "),
    "deep.jsonl": ("a.mp4".join('""') + "\n" + "[" * 50_000, "line 2: is not JSON: nested too deeply"),
    "long.json": ("[\n" + "9" * 5000 + "]", "line 2: is not JSON: a number of more than 4300 digits"),
    "object.json": ('{"a": "a.mp4"}', 'is JSON, but no list of videos (write a list: ["a.mp4", "b.mp4"])'),
    "nameless.json": ('["a.mp4", {"clip": "b.mp4"}]', "entry 2: names no video (give it a 'video')"),
    "nothing.json": ("[]", "lists no videos (name one video a line)"),
    "nameless.csv": ("name,label\na.mp4,1\n", "line 2: names no video (give it a 'video')"),
}


@pytest.mark.parametrize("name", WRONG_MANIFESTS)
def test_manifest_mistake_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, expected = WRONG_MANIFESTS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert expected in refusal(DataError, tmp_path / name)
