import json
import os
from pathlib import Path

import pytest

from st_llm_cli.errors import DataError, NotAVideoError, UsageError
from st_llm_cli.stages.extract_features import Outcome
from st_llm_cli.stages.share import Share
from st_llm_cli.stages.skipped_clips import Ledger
from st_llm_cli.training.data.ledger import Ledger as TrainingLedger

BAD = Outcome(Path("ä.mp4"), NotAVideoError("the file is empty", where="ä.mp4"), 1.234)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "skipped.jsonl"


def write(path: Path, *outcomes: Outcome) -> None:
    """Go through an extraction that skips some clips."""
    Ledger(path).check([])
    with Ledger(path) as ledger:
        for outcome in outcomes:
            ledger.add(outcome)


def refusal(path: Path, *inputs: Path) -> str:
    with pytest.raises(UsageError) as caught:
        Ledger(path).check(inputs)
    return str(caught.value)


def test_ledger_has_a_line_for_each_clip_skipped(path: Path) -> None:
    write(path, BAD)
    (row,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert row == {
        "by": "stllm extract-features",
        "file": "ä.mp4",
        "reason": "ä.mp4: the file is empty",
        "kind": "NotAVideoError",
        "seconds": 1.23,
    }
    assert os.listdir(path.parent) == [path.name]


def test_unfinished_ledgers_are_replaced_and_other_files_of_that_name_are_not(path: Path) -> None:
    part = path.with_name("skipped.jsonl.part")
    part.write_text('{"mine": 1}\n')
    assert f"{part}: exists, and does not say that it is a ledger" in refusal(path)
    part.write_text('{"by": "stllm extract-features", "file": "a.mp4"}\n')  # of one that was killed
    write(path)
    assert not part.exists()


def test_file_name_that_is_no_text_is_spelt(path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write(path, Outcome(Path(name), NotAVideoError("the file is empty", where=name)))
    row = json.loads(path.read_text(encoding="utf-8"))
    assert (row["file"], row["reason"]) == (r"caf\xe9.mp4", r"caf\xe9.mp4: the file is empty")


def test_there_is_no_ledger_if_nothing_was_skipped(path: Path) -> None:
    write(path)
    write(path, BAD)
    write(path)
    assert not path.exists()


def test_earlier_ledger_stands_until_the_new_one_takes_its_place(path: Path) -> None:
    write(path, BAD)
    before = path.read_bytes()
    with Ledger(path) as ledger:
        ledger.add(BAD)
        ledger.add(BAD)
        assert path.read_bytes() == before
    assert path.read_bytes() == before * 2


def test_error_before_a_clip_is_skipped_leaves_the_earlier_ledger(path: Path) -> None:
    write(path, BAD)
    with pytest.raises(KeyboardInterrupt), Ledger(path):
        raise KeyboardInterrupt
    assert path.exists()


def test_what_was_skipped_before_an_error_is_written_down(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Ledger(path) as ledger:
        ledger.add(BAD)
        raise KeyboardInterrupt
    assert path.exists()


def test_file_that_is_no_ledger_is_refused(path: Path) -> None:
    path.write_text('{"video": "a.mp4"}\n')
    assert refusal(path) == (
        f"--skipped {path}: exists, and does not say that it is a ledger of `stllm extract-features` "
        "(choose another --skipped, or move this file away)"
    )


def test_ledger_of_a_training_run_is_refused(path: Path) -> None:
    TrainingLedger(path, ["a.mp4"], 1.0).add("a.mp4", NotAVideoError("the file is empty"), 1.0)
    assert "does not say that it is a ledger" in refusal(path)


def test_file_that_begins_like_a_ledger_and_goes_on_otherwise_is_refused(path: Path) -> None:
    write(path, BAD)
    path.write_text(path.read_text(encoding="utf-8") + "my notes\n", encoding="utf-8")
    assert "does not say that it is a ledger" in refusal(path)


def test_ledger_that_is_to_be_read_is_refused(path: Path, tmp_path: Path) -> None:
    write(path, BAD)
    (tmp_path / "link.jsonl").symlink_to(path)
    given = tmp_path / "link.jsonl"
    assert refusal(path, tmp_path / "other", given) == (
        f"--skipped {path}: is among the inputs: {given} (choose another --skipped)"
    )


def test_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = f"--skipped {tmp_path}: is a folder (name a file in it, such as {tmp_path / 'skipped.jsonl'})"
    assert refusal(tmp_path) == folder
    assert "cannot be written: No such file or directory" in refusal(tmp_path / "none" / "skipped.jsonl")
    assert "cannot be written: File name too long" in refusal(tmp_path / ("x" * 300))
    said = "--skipped -: is not a file (name one: standard output holds the result)"
    assert refusal(Path("-")) == said
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refusal(tmp_path / "pipe")


def test_ledger_of_a_share_has_a_name_of_its_own(path: Path, tmp_path: Path) -> None:
    assert Ledger(path, Share(0, 2, "--shard")).path == tmp_path / "skipped-1of2.jsonl"
    assert Ledger(path, Share(0, 1, "torchrun")).path == path
    with pytest.raises(UsageError, match="is a folder"):
        Ledger(tmp_path, Share(0, 2, "--shard")).check([])


def test_ledger_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    said = "the ledger cannot be written: No such file or directory"
    with Ledger(tmp_path / "no folder" / "skipped.jsonl") as ledger, pytest.raises(DataError, match=said):
        ledger.add(BAD)
