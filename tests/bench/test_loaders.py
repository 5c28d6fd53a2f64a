"""The other benchmarks: questions, ids and clips of every layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench import custom, open_answers, tempcompass, tvbench, vcgbench, vinoground
from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.errors import DataError
from tests.bench.golden import mini_folder

MINI = mini_folder()
SIZES = {
    "mvbench": 60,
    "tvbench": 20,
    "tempcompass": 15,
    "vcgbench": 23,
    "msvd": 8,
    "msrvtt": 8,
    "activitynet": 12,
}


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("name", SIZES)
def test_every_question_of_a_miniature_can_be_asked(name: str) -> None:
    samples = BENCHMARKS[name].load(MINI / name).samples
    assert len(samples) == len({sample.id for sample in samples}) == SIZES[name]
    assert not [sample.id for sample in samples if sample.missing or sample.problem]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_empty_folder_is_refused_with_what_was_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looked for"):
        BENCHMARKS[name].load(tmp_path)


def test_tvbench_shows_each_clip_both_ways() -> None:
    samples = tvbench.load(MINI / "tvbench").samples
    pairs = {
        (first.question, first.answer != second.answer)
        for first, second in zip(samples[::2], samples[1::2], strict=True)
    }
    assert all(differs for _, differs in pairs)
    bounded = {sample.task for sample in samples if sample.clips[0].end_seconds is not None}
    assert bounded == {"action_sequence", "action_localization"}


def test_tempcompass_takes_options_out_of_the_question() -> None:
    samples = {sample.id: sample for sample in tempcompass.load(MINI / "tempcompass").samples}
    choice = samples["multi-choice/1000007000/direction/0"]
    assert choice.candidates[3] == choice.answer == "from bottom to top"
    assert choice.prompt.endswith("D. from bottom to top\nPlease directly give the best option:")
    assert samples["yes_no/1000007000/direction/1"].answer == "no"
    caption = samples["caption_matching/1000007001/direction/0"]
    assert caption.answer == "The square goes from top to bottom."
    assert samples["captioning/1000007000/direction/0"].kind == "description"


def test_vcgbench_tries_four_kinds_of_files_and_asks_consistency_twice() -> None:
    samples = vcgbench.load(MINI / "vcgbench").samples
    assert {sample.clips[0].path.suffix for sample in samples if sample.clips[0].path} == {".mp4", ".mkv"}
    pair = [sample for sample in samples if sample.group == "consistency/0"]
    assert [sample.part for sample in pair] == ["Q1", "Q2"]
    assert pair[0].question != pair[1].question


@pytest.mark.parametrize("file", ["test_qa.json", "test_q.json", "test_qa_original.json"])
def test_msvd_finds_the_same_clips_in_each_layout(file: str) -> None:
    found = [sample.clips[0].path for sample in open_answers.load_msvd(MINI / "msvd" / file).samples]
    usual = [sample.clips[0].path for sample in open_answers.load_msvd(MINI / "msvd").samples]
    assert found == usual and None not in found


@pytest.mark.parametrize("file", ["test_qa.json", "test_q.json"])
def test_msrvtt_finds_clips_with_and_without_the_word_video(file: str) -> None:
    samples = open_answers.load_msrvtt(MINI / "msrvtt" / file).samples
    names = {sample.clips[0].path.name for sample in samples if sample.clips[0].path}
    assert names == {"video7010.mp4", "video7011.mp4", "video7012.mp4", "7013.mp4"}


def test_answers_are_joined_on_ids_whatever_their_order(tmp_path: Path) -> None:
    questions = [{"video_name": "x", "question": f"q{n}", "question_id": f"v_x_{n}"} for n in range(3)]
    answers = [{"answer": f"a{n}", "type": n, "question_id": f"v_x_{n}"} for n in (2, 0, 1)]
    write(tmp_path / "test_q.json", questions)
    write(tmp_path / "test_a.json", answers)
    samples = open_answers.load_activitynet(tmp_path).samples
    assert [(s.question, s.answer, s.task) for s in samples] == [
        ("q0", "a0", "motion"),
        ("q1", "a1", "spatial"),
        ("q2", "a2", "temporal"),
    ]


def test_question_without_an_answer_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "test_q.json", [{"video_name": "x", "question": "q", "question_id": "7"}])
    write(tmp_path / "test_a.json", [])
    with pytest.raises(DataError, match="has no answer to question '7'"):
        open_answers.load_activitynet(tmp_path)


def test_answer_given_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "test_q.json", [{"video_name": "x", "question": "q", "question_id": "7"}])
    write(tmp_path / "test_a.json", [{"question_id": "7", "answer": "a"}] * 2)
    with pytest.raises(DataError, match="answers question '7' twice"):
        open_answers.load_msvd(tmp_path)


def test_unknown_type_of_question_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "test_q.json", [{"video_name": "x", "question": "q", "question_id": "7"}])
    write(tmp_path / "test_a.json", [{"question_id": "7", "answer": "a", "type": 12}])
    with pytest.raises(DataError, match="'type' is 12"):
        open_answers.load_activitynet(tmp_path)


def test_repeated_ids_are_numbered(tmp_path: Path) -> None:
    row = {"video_name": "x", "question": "q", "answer": "a", "id": "7"}
    write(tmp_path / "test_qa.json", [row, {**row, "id": "8"}, row])
    ids = [sample.id for sample in open_answers.load_msvd(tmp_path).samples]
    assert ids == ["7_0", "8", "7_1"]


def vinoground_rows(side: str) -> list[dict[str, str]]:
    folder = vinoground.FOLDERS[side]
    return [
        {"idx": f"0_{half}", "question": "A. x\nB. y", "GT": letter, "video_name": f"{folder}/0_{half}.mp4"}
        for half, letter in (("pos", "A"), ("neg", "B"))
    ]


@pytest.mark.parametrize("inside", [True, False])
def test_vinoground_reads_both_sides_from_the_top_or_the_folders(inside: bool, tmp_path: Path) -> None:
    for side, folder in vinoground.FOLDERS.items():
        place = tmp_path / folder if inside else tmp_path
        write(place / f"vinoground_{side}score.json", vinoground_rows(side))
        write(tmp_path / folder / "0_pos.mp4", "")
    loaded = vinoground.load(tmp_path)
    assert [s.id for s in loaded.samples] == ["0_pos_text", "0_neg_text", "0_pos_video", "0_neg_video"]
    assert [bool(s.missing) for s in loaded.samples] == [False, True, False, True]
    assert {s.group for s in loaded.samples} == {"0"}


def test_vinoground_half_without_its_side_is_named(tmp_path: Path) -> None:
    write(tmp_path / "vinoground_textscore.json", vinoground_rows("text"))
    loaded = vinoground.load(tmp_path)
    assert loaded.absent == ("video",)


def test_custom_reads_a_folder_like_mvbench(tmp_path: Path) -> None:
    rows = json.loads((MINI / "mvbench" / "json_extra" / "gif_task.json").read_text())
    write(tmp_path / "json" / "extra_gif.json", rows)
    gif = tmp_path / "video" / "extra_gif" / "gif_p061.gif"
    gif.parent.mkdir(parents=True)
    gif.write_bytes((MINI / "mvbench" / "video" / "extra_gif" / gif.name).read_bytes())
    (sample,) = custom.load(tmp_path).samples
    assert (sample.id, sample.task, sample.clips[0].path) == ("extra_gif/0", "extra_gif", gif)


def test_custom_counts_questions_without_clips(tmp_path: Path) -> None:
    rows = json.loads((MINI / "mvbench" / "json_extra" / "missing_media.json").read_text())
    write(tmp_path / "json" / "t.json", rows)
    missing, nameless = custom.load(tmp_path).samples
    assert missing.missing and missing.problem is None
    assert nameless.problem == "names no clip"


def test_custom_reads_lines_of_both_kinds_with_several_clips(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    lines = [
        {
            "videos": ["a.mp4", "b.mp4"],
            "question": "Which?",
            "candidates": ["1", "2"],
            "answer": "2",
            "id": "x",
        },
        {"video": "a.mp4", "question": "What?", "answer": "a dog", "task": "open"},
    ]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    (tmp_path / "a.mp4").touch()
    both, free = custom.load(file).samples
    assert (both.id, both.kind, len(both.clips), len(both.missing)) == ("x", "choice", 2, 1)
    assert (free.id, free.kind, free.task) == ("open/1", "short answer", "open")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "mine.jsonl:1: is not JSON"),
        ("[]", "is not an object"),
        ('{"videos": "a.mp4", "question": "q", "answer": "a"}', "'videos' is not a list"),
        ('{"video": "a.mp4", "question": "q"}', "'answer' is missing"),
        ('{"video": "a", "question": "q", "answer": "a", "id": "1"}\n' * 2, "the id '1' occurs twice"),
        ("", "holds no questions"),
    ],
)
def test_custom_line_that_cannot_be_used_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        custom.load(tmp_path / "mine.jsonl")
