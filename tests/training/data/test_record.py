import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import DataError
from st_llm_cli.recipe.sources import Annotations
from st_llm_cli.training.data.example import Task
from st_llm_cli.training.data.record import Records, read_records


def read(folder: Path, name: str, text: str) -> Records:
    file = folder / "annotations"
    file.write_text(text, encoding="utf-8")
    return read_records(name, Annotations(annotations=str(file), media=str(folder)))


def read_one(folder: Path, name: str, entry: Any) -> Records:
    return read(folder, name, json.dumps(entry) if name == "jsonl" else json.dumps([entry]))


def test_videochat2_entry(tmp_path: Path) -> None:
    pairs = [{"i": "Watch.", "q": "Who?", "a": "a boy"}, {"q": "Where?", "a": "here"}]
    entry = {"video": "a/b.mp4", "QA": pairs, "start": 1, "end": 2.5}
    (record,) = read_one(tmp_path, "videochat2", entry).records
    assert record.path == tmp_path / "a/b.mp4" and not record.is_picture
    assert record.tasks == (Task("Who?", "a boy", instruction="Watch."), Task("Where?", "here"))
    assert (record.line, record.start, record.end) == (1, 1.0, 2.5)


def test_a_caption_has_an_instruction_and_no_question(tmp_path: Path) -> None:
    entry = {"image": "a.jpg", "QA": [{"i": "Describe.", "q": "", "a": "a dog"}]}
    (record,) = read_one(tmp_path, "videochat2", entry).records
    assert record.is_picture
    assert record.tasks == (Task("", "a dog", instruction="Describe."),)


@pytest.mark.parametrize("asked", ["<video>\nWho?", "Who?\n<image>", "<image>Who?", "Who?"])
def test_conversation_entry(tmp_path: Path, asked: str) -> None:
    said = [("human", asked), ("gpt", "a boy"), ("user", "Where?"), ("assistant", "here")]
    turns = [{"from": speaker, "value": text} for speaker, text in said]
    (record,) = read_one(tmp_path, "conversations", {"video": "a.mp4", "conversations": turns}).records
    assert record.tasks == (Task("Where?", "here", history=(("Who?", "a boy"),), learns_history=True),)


def test_line_entry(tmp_path: Path) -> None:
    entry = {"video": "a.mp4", "question": "Who?", "answer": "a boy", "start": 3}
    (record,) = read_one(tmp_path, "jsonl", entry).records
    assert record.tasks == (Task("Who?", "a boy"),)
    assert (record.start, record.end) == (3.0, None)


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    good = '{"video": "a.mp4", "QA": [{"q": "Who?", "a": "me"}]}'
    text = f'[\n  {good},\n\n  {{"video":\n"b.mp4"}},\n{good}\n]'
    found = read(tmp_path, "videochat2", text)
    assert [record.line for record in found.records] == [2, 6]
    assert found.mistakes == ((4, "'QA' is missing"),)


def test_lines_of_json_lines_skip_blank_ones_and_go_on_after_a_broken_one(tmp_path: Path) -> None:
    good = '{"video": "a.mp4", "question": "Who?", "answer": "me"}'
    found = read(tmp_path, "jsonl", f"{good}\n\n{{broken\n{good}\n")
    assert [record.line for record in found.records] == [1, 4]
    ((line, what),) = found.mistakes
    assert line == 3 and what.startswith("is not JSON: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[" * 50_000 + "]" * 50_000, "is not JSON: nested too deeply"),
        ("9" * 5000, "is not JSON: a number of more than 4300 digits"),
    ],
)
def test_line_that_is_more_than_can_be_read_is_named(tmp_path: Path, value: str, expected: str) -> None:
    good = '{"video": "a.mp4", "question": "Who?", "answer": "me"}'
    found = read(tmp_path, "jsonl", f'{good}\n{{"video": {value}}}\n{good}\n')
    assert [record.line for record in found.records] == [1, 3]
    assert found.mistakes == ((2, expected),)


WRONG: dict[str, tuple[str, Any, str]] = {
    "no medium": ("videochat2", {"QA": []}, "names neither video nor image; one of the two it must be"),
    "two media": ("videochat2", {"video": "a", "image": "b"}, "names video and image; one of the two"),
    "number for a path": ("videochat2", {"video": 3}, "'video' is a number, not text"),
    "empty path": ("videochat2", {"video": " "}, "'video' is empty"),
    "no pairs": ("videochat2", {"video": "a", "QA": []}, "'QA' is empty, not a list with something in it"),
    "pair is text": ("videochat2", {"video": "a", "QA": ["x"]}, "QA.0 is text, not a block"),
    "no answer": ("videochat2", {"video": "a", "QA": [{"q": "x"}]}, "QA.0.'a' is missing"),
    "empty answer": ("videochat2", {"video": "a", "QA": [{"q": "x", "a": ""}]}, "QA.0.'a' is empty"),
    "nothing asked": (
        "videochat2",
        {"video": "a", "QA": [{"q": "", "a": "x"}]},
        "and there is no instruction",
    ),
    "start as text": (
        "videochat2",
        {"video": "a", "start": "1"},
        "'start' is \"1\", not a number of seconds",
    ),
    "start beyond all numbers": (
        "videochat2",
        {"video": "a", "start": 10**400},
        "'start' is a number of 401 digits, not a number of seconds",
    ),
    "end below all numbers": (
        "videochat2",
        {"video": "a", "end": -(10**400)},
        "'end' is a number of 401 digits, not a number of seconds",
    ),
    "long text for a start": (
        "videochat2",
        {"video": "a", "start": "x" * 100},
        "'start' is \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…, not a number of seconds",
    ),
    "end before start": (
        "videochat2",
        {"video": "a", "start": 3, "end": 2},
        "ends at 2 s, not after its start at 3 s",
    ),
    "not a block": ("videochat2", "a.mp4", "is not a block of keys and values"),
    "gpt speaks first": (
        "conversations",
        {"video": "a", "conversations": [{"from": "gpt", "value": "x"}]},
        "conversations.0.from is 'gpt', where 'human' is expected",
    ),
    "nothing answered": (
        "conversations",
        {"video": "a", "conversations": [{"from": "human", "value": "x"}]},
        "the last question has no answer",
    ),
    "only a placeholder": (
        "conversations",
        {"video": "a", "conversations": [{"from": "human", "value": "<video>"}]},
        "conversations.0.value asks nothing",
    ),
    "half a character in a path": (
        "jsonl",
        {"video": "a\ud800.mp4", "question": "x", "answer": "y"},
        "'video' holds half a character: 'a\\ud800.mp4'",
    ),
    "half a character in a line's question": (
        "jsonl",
        {"image": "a", "question": "\udc00", "answer": "y"},
        "'question' holds half a character",
    ),
    "half a character in a line's answer": (
        "jsonl",
        {"video": "a", "question": "x", "answer": f"{'z' * 100}ä\ud83c{'z' * 100}"},
        f"'answer' holds half a character: '{'z' * 19}\\xe4\\ud83c{'z' * 20}'",
    ),
    "half a character in an instruction": (
        "videochat2",
        {"video": "a", "QA": [{"i": "\ud800", "q": "x", "a": "y"}]},
        "QA.0.'i' holds half a character",
    ),
    "half a character in a question": (
        "videochat2",
        {"video": "a", "QA": [{"q": "x", "a": "y"}, {"q": "\ud800", "a": "y"}]},
        "QA.1.'q' holds half a character",
    ),
    "half a character in an answer": (
        "videochat2",
        {"video": "a", "QA": [{"q": "x", "a": "y\ud800"}]},
        "QA.0.'a' holds half a character",
    ),
    "half a character in a conversation": (
        "conversations",
        {
            "video": "a",
            "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "\ud800"}],
        },
        "conversations.1.'value' holds half a character",
    ),
    "half a character for who speaks": (
        "conversations",
        {"video": "a", "conversations": [{"from": "\ud800", "value": "x"}]},
        "conversations.0.'from' holds half a character",
    ),
    "no question": ("jsonl", {"video": "a", "answer": "x"}, "'question' is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistake_is_named(tmp_path: Path, case: str) -> None:
    name, entry, expected = WRONG[case]
    found = read_one(tmp_path, name, entry)
    assert not found.records
    ((line, what),) = found.mistakes
    assert line == 1 and expected in what


def test_a_character_in_two_halves_is_whole(tmp_path: Path) -> None:
    entry = {"video": "a.mp4", "question": "Who?", "answer": "\U0001f389"}
    assert "\\ud83c\\udf89" in json.dumps(entry)
    (record,) = read_one(tmp_path, "jsonl", entry).records
    assert record.tasks[0].answer == "\U0001f389"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ('{"video": "a"}', 1, "is not a JSON list"),
        ('[\n{"a": 1}\n{"b": 2}]', 3, "',' or ']' is missing"),
        ('[\n\n{"a" 1}]', 3, "is not JSON: Expecting ':' delimiter"),
        ('[\n{"a": 1},\n', 3, "is not JSON: Expecting value"),
        ('[{"a": 1}]\n\n[{"b": 2}]\n', 3, "goes on after the ']' of its list; a file holds one list"),
        ('[{"a": 1}] rubbish', 1, "goes on after the ']' of its list"),
        ("[] ]", 1, "goes on after the ']' of its list"),
        ('[\n{"a":\n' + "[" * 50_000, 3, "is not JSON: nested too deeply"),
        ('[{"a": 1},\n{"a":\n' + "9" * 5000 + "}]", 3, "is not JSON: a number of more than 4300 digits"),
    ],
)
def test_file_that_is_no_list_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, expected: str
) -> None:
    *_, last = read(tmp_path, "videochat2", text).mistakes
    assert last.line == line and expected in last.what


def test_blanks_after_a_list_are_no_mistake(tmp_path: Path) -> None:
    good = '{"video": "a.mp4", "QA": [{"q": "Who?", "a": "me"}]}'
    found = read(tmp_path, "videochat2", f"[{good}]\n\t \n")
    assert len(found.records) == 1 and not found.mistakes


def test_files_and_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file"):
        read_records("videochat2", Annotations(annotations=str(tmp_path / "none.json"), media=str(tmp_path)))
    with pytest.raises(DataError, match=r"media: no such folder \(it is the 'media' of a\.json\)"):
        read_records("videochat2", Annotations(annotations="a.json", media=str(tmp_path / "media")))


def test_a_file_in_the_home_folder_is_found_and_its_digest_is_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    content = b'\xef\xbb\xbf{"video": "a.mp4", "question": "Who?", "answer": "me"}\r\n\r\nno JSON\r\n'
    (tmp_path / "a.jsonl").write_bytes(content)
    found = read_records("jsonl", Annotations(annotations="~/a.jsonl", media="~"))
    assert found.file == tmp_path / "a.jsonl"
    assert found.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert len(found.records) == 1 and [mistake.line for mistake in found.mistakes] == [3]


def test_conversations_about_nothing_shown_are_counted_and_left_out(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hi."}]
    shown = {"image": "a.png", "conversations": turns}
    found = read(tmp_path, "conversations", json.dumps([shown, {"id": "1", "conversations": turns}]))
    assert (len(found.records), found.text_only, found.mistakes) == (1, 1, ())
