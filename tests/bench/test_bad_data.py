"""Bad data, for every benchmark: a clear error that names the file, or a counted question."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.sample import Sample
from st_llm_cli.errors import DataError

CHOICE = {"video": "a.mp4", "question": "What?", "candidates": ["one", "two"], "answer": "two"}
OPEN = {"video_name": "a", "question": "What?", "answer": "two", "question_id": "v_1", "type": 0}
PAIR = {"idx": "0_pos", "question": "A. x\nB. y", "GT": "A", "video_name": "a"}
LETTERED = {"question": "What?\nA. one\nB. two", "answer": "B. two"}
CAPTION = {
    "question": "Describe.",
    "mc_question": "What?\nA. one\nB. two",
    "mc_answer": "B. two",
    "answer": "B",
}
LONG = {"Q": "What?", "A": "two", "video_name": "a"}


class Set:
    """One file of questions of a benchmark, with the key of a clip's name and of an answer in a row."""

    def __init__(
        self,
        benchmark: str,
        file: str,
        row: dict[str, Any],
        *,
        clip: str | None = "video",
        answer: str | None = "answer",
        text: str = "question",
        whole: Callable[[dict[str, Any], str], Any] = lambda row, clip: [row],
    ) -> None:
        self.benchmark, self.file, self.row = benchmark, file, row
        self.clip, self.answer, self.text, self.whole = clip, answer, text, whole

    def write(self, folder: Path, row: dict[str, Any], clip: str = "a.mp4") -> Path:
        named = row if self.clip is None or clip == "a.mp4" else {**row, self.clip: clip}
        return self.bytes(folder, json.dumps(self.whole(named, clip)).encode())

    def bytes(self, folder: Path, content: bytes) -> Path:
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (folder / "settings.json").write_text("{}")  # `shapes` is drawn already
        return folder if self.file != "mine.jsonl" else path

    def load(self, data: Path) -> tuple[Sample, ...]:
        return BENCHMARKS[self.benchmark].load(data).samples


def by_video(row: dict[str, Any], clip: str) -> Any:
    return {clip: {"order": [row]}}


TEMPCOMPASS: dict[str, Any] = {"clip": None, "whole": by_video}
SETS = {
    "mvbench": Set("mvbench", "json/object_shuffle.json", CHOICE),
    "tvbench": Set("tvbench", "json/action_count.json", CHOICE),
    "custom folder": Set("custom", "json/t.json", CHOICE),
    "custom lines": Set("custom", "mine.jsonl", CHOICE, whole=lambda row, clip: row),
    "shapes": Set("shapes", "json/t.json", CHOICE),
    "vcgbench": Set("vcgbench", "generic_qa.json", LONG, clip="video_name", answer=None, text="Q"),
    "msvd": Set("msvd", "test_qa.json", OPEN, clip="video_name", answer=None),
    "msrvtt": Set("msrvtt", "test_qa.json", OPEN, clip="video_name", answer=None),
    "activitynet": Set("activitynet", "test_qa.json", OPEN, clip="video_name", answer=None),
    "vinoground": Set("vinoground", "vinoground_textscore.json", PAIR, clip="video_name", answer="GT"),
    "tempcompass choice": Set("tempcompass", "questions/multi-choice.json", LETTERED, **TEMPCOMPASS),
    "tempcompass caption": Set(
        "tempcompass", "questions/captioning.json", CAPTION, **{**TEMPCOMPASS, "answer": "mc_answer"}
    ),
    "tempcompass matching": Set(
        "tempcompass",
        "questions/caption_matching.json",
        {"question": "Which?\nCaption A: x.\nCaption B: y.", "answer": "Caption A: x."},
        **TEMPCOMPASS,
    ),
    "tempcompass yes or no": Set(
        "tempcompass", "questions/yes_no.json", {"question": "Is it?", "answer": "yes"}, **TEMPCOMPASS
    ),
}
every_set = pytest.mark.parametrize("own", [pytest.param(own, id=name) for name, own in SETS.items()])


def refusal(own: Set, data: Path) -> str:
    with pytest.raises(DataError) as caught:
        own.load(data)
    return f"{caught.value.where}: {caught.value.what}"


def test_every_benchmark_is_here() -> None:
    assert {own.benchmark for own in SETS.values()} == set(BENCHMARKS)


@every_set
def test_sound_row_is_read(own: Set, tmp_path: Path) -> None:
    (sample,) = own.load(own.write(tmp_path, own.row))
    assert sample.problem is None and sample.missing


@every_set
def test_missing_file_is_refused(own: Set, tmp_path: Path) -> None:
    assert "looked for" in refusal(own, tmp_path)


@every_set
def test_folder_that_is_not_there_is_refused(own: Set, tmp_path: Path) -> None:
    assert "nowhere" in refusal(own, tmp_path / "nowhere")


@every_set
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'[{"video": "\xff\xfe"}]', "is not UTF-8"),
        (b'[{"video": ', "is not JSON"),
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"7", "does not hold|is not an object"),
        (b'["a"]', "does not hold|is not an object"),
        (b'{"a": 7}', "does not hold|'video' is missing"),
        (b'{"a": {"b": 7}}', "does not hold|'video' is missing"),
        (b'{"a": {"b": [7]}}', "does not hold|'video' is missing"),
    ],
)
def test_file_of_another_kind_is_named(own: Set, content: bytes, what: str, tmp_path: Path) -> None:
    if not content and own.file == "mine.jsonl":
        what = "holds no questions"
    said = refusal(own, own.bytes(tmp_path, content))
    assert Path(own.file).name in said and any(each in said for each in what.split("|")), said


@every_set
def test_row_without_its_question_is_named(own: Set, tmp_path: Path) -> None:
    row = {key: value for key, value in own.row.items() if key != own.text}
    assert f"'{own.text}' is missing" in refusal(own, own.write(tmp_path, row))


@every_set
@pytest.mark.parametrize("value", [None, ["two"], {}, 1.5, True])
def test_question_of_another_type_is_named(own: Set, value: Any, tmp_path: Path) -> None:
    said = refusal(own, own.write(tmp_path, {**own.row, own.text: value}))
    assert Path(own.file).name in said and f"'{own.text}' is {value!r}" in said


@pytest.mark.parametrize(
    "own", [pytest.param(own, id=name) for name, own in SETS.items() if own.answer is not None]
)
def test_answer_that_is_no_option_is_a_counted_row(own: Set, tmp_path: Path) -> None:
    assert own.answer is not None
    (sample,) = own.load(own.write(tmp_path, {**own.row, own.answer: "something else"}))
    assert sample.problem is not None and "something else" in sample.problem.lower()


@every_set
@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/passwd", "a/../../b.mp4", "C:\\x.mp4", "..\\x.mp4"])
def test_clip_outside_of_the_folder_is_a_counted_row(own: Set, name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").touch()
    (sample,) = own.load(own.write(tmp_path / "data", own.row, name))
    assert sample.problem is not None and "outside of the data folder" in sample.problem
    assert [clip.path for clip in sample.clips] == [None]


@every_set
def test_clip_with_a_name_that_no_file_can_have_is_a_counted_row(own: Set, tmp_path: Path) -> None:
    (sample,) = own.load(own.write(tmp_path, own.row, "é" * 200 + ".mp4"))
    assert sample.problem is not None and "longer name than a file can have" in sample.problem


@every_set
def test_half_a_character_is_named(own: Set, tmp_path: Path) -> None:
    row = {**own.row, own.text: "What is \ud800?"}
    assert "half a character" in refusal(own, own.write(tmp_path, row))


@pytest.mark.parametrize("start", [10**400, -(10**400)])
def test_time_beyond_all_numbers_is_named(start: int, tmp_path: Path) -> None:
    own = SETS["custom lines"]
    assert "'start' is a number of 401 digits" in refusal(
        own, own.write(tmp_path, {**CHOICE, "start": start})
    )


NO_PARTS = [
    ({"start": 5, "end": 1}, "its part goes from 5 s to 1 s"),
    ({"start": 2, "end": 2}, "its part goes from 2 s to 2 s"),
    ({"end": 0}, "its part goes from 0 s to 0 s"),
    ({"start": 1, "end": float("inf")}, "its part goes from 1 s to inf s"),
    ({"start": -1, "end": 1}, "its part starts at -1 s"),
    ({"start": float("nan")}, "its part starts at nan s"),
]


@pytest.mark.parametrize(("times", "what"), NO_PARTS)
def test_seconds_that_are_no_part_of_a_clip_are_named_in_questions_of_ones_own(
    times: dict[str, float], what: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jsonl"
    for row in (CHOICE, {key: CHOICE[key] for key in CHOICE if key != "candidates"}):
        file.write_text(f"{json.dumps(CHOICE)}\n{json.dumps({**row, **times})}\n")
        with pytest.raises(DataError) as caught:
            BENCHMARKS["custom"].load(file)
        fix = "write seconds from 0, 'start' before 'end', or leave out both for the whole clip"
        assert str(caught.value) == f"{file}:2: {what} ({fix})"


@pytest.mark.parametrize(("times", "what"), NO_PARTS)
@pytest.mark.parametrize("benchmark", ["mvbench", "tvbench"])
def test_seconds_that_are_no_part_of_a_clip_are_a_counted_row_in_published_questions(
    benchmark: str, times: dict[str, float], what: str, tmp_path: Path
) -> None:
    table = tmp_path / "json" / "action_sequence.json"
    table.parent.mkdir()
    table.write_text(json.dumps([{**CHOICE, **times}, {**CHOICE, "start": 1.0, "end": 2.0}, CHOICE]))
    assert [each.problem for each in BENCHMARKS[benchmark].load(tmp_path).samples] == [what, None, None]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "3", True])
def test_rate_that_no_folder_of_pictures_can_have_is_named(fps: Any, tmp_path: Path) -> None:
    own = SETS["custom lines"]
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError) as caught:
        own.load(own.write(tmp_path, {**CHOICE, "fps": fps}, "pictures"))
    needed = "a number of pictures per second above 0 is needed"
    assert str(caught.value) == f"{tmp_path / 'mine.jsonl'}:1: 'fps' is {fps!r} ({needed})"


@pytest.mark.parametrize(("row", "fps"), [({}, 3.0), ({"fps": None}, 3.0), ({"fps": 25}, 25.0)])
def test_folder_of_pictures_has_the_rate_of_its_row(row: dict[str, Any], fps: float, tmp_path: Path) -> None:
    own = SETS["custom lines"]
    (tmp_path / "pictures").mkdir()
    (sample,) = own.load(own.write(tmp_path, {**CHOICE, **row}, "pictures"))
    assert [clip.folder_fps for clip in sample.clips] == [fps]


def test_line_of_a_file_ends_where_json_says(tmp_path: Path) -> None:
    own = SETS["custom lines"]
    row = json.dumps({**CHOICE, "question": "What\u2028is it?"}, ensure_ascii=False)
    (sample,) = own.load(own.bytes(tmp_path, row.encode() + b"\r\n"))
    assert "What\u2028is it?" in sample.question


@every_set
def test_clip_without_a_name_is_a_counted_row(own: Set, tmp_path: Path) -> None:
    (sample,) = own.load(own.write(tmp_path, own.row, " "))
    assert sample.problem == "names no clip"


@every_set
def test_link_that_leaves_the_folder_is_the_users_own(own: Set, tmp_path: Path) -> None:
    """People keep clips elsewhere and link to them: only names in the file may not leave the folder."""
    (sample,) = own.load(own.write(tmp_path, own.row))
    place = next(path for path in sample.clips[0].tried)
    (tmp_path / "elsewhere.mp4").touch()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "elsewhere.mp4")
    (found,) = own.load(own.write(tmp_path, own.row))
    assert not found.missing
