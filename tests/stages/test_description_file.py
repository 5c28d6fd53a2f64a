import csv
import errno
import json
import os
import sys
from pathlib import Path

import pytest

from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.stages.describe import Description, Part
from st_llm_cli.stages.description_file import (
    FORMATS,
    DescriptionFile,
    seconds_as_clock,
    short_clock,
)

SETTINGS = {"model": "tiny", "prompt": "Describe the video."}


def said(video: str, start: float = 0.0, text: str = "A red circle moves left.") -> Description:
    return Description(Path(video), start, start + 2.5, text, 8)


def write(path: Path, form: str, *descriptions: Description) -> str:
    with DescriptionFile(path, FORMATS[form], SETTINGS) as file:
        for description in descriptions:
            file.add(description)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "00:00:00.000"),
        (3723.45, "01:02:03.450"),
        (59.9996, "00:01:00.000"),
        (360000, "100:00:00.000"),
    ],
)
def test_subtitle_clock(seconds: float, expected: str) -> None:
    assert seconds_as_clock(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (3.5, "0:03.5"), (59.99, "1:00"), (123, "2:03"), (3723, "1:02:03")]
)
def test_short_clock(seconds: float, expected: str) -> None:
    assert short_clock(seconds) == expected


def test_text_names_video_and_time(tmp_path: Path) -> None:
    assert write(tmp_path / "o", "text", said("a.mp4", 10)) == (
        "a.mp4 [0:10-0:12.5]\nA red circle moves left.\n\n"
    )


def test_json_line_holds_everything(tmp_path: Path) -> None:
    (line,) = write(tmp_path / "o", "jsonl", said("ä.mp4", text='say "hi"\n')).splitlines()
    assert json.loads(line) == {
        "video": "ä.mp4",
        "start_seconds": 0.0,
        "end_seconds": 2.5,
        "num_frames": 8,
        "text": 'say "hi"\n',
        "damage": None,
    }


def test_table_survives_commas_and_newlines(tmp_path: Path) -> None:
    write(tmp_path / "o.csv", "csv", said("a,b.mp4", text='one, "two"\nthree'))
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["video"], row["text"]) == ("a,b.mp4", 'one, "two"\nthree')


def test_srt_cues_are_numbered_and_timed(tmp_path: Path) -> None:
    assert write(tmp_path / "o", "srt", said("a"), said("a", 2.5, "Then\n\nit --> stops.")) == (
        "1\n00:00:00,000 --> 00:00:02,500\nA red circle moves left.\n\n"
        "2\n00:00:02,500 --> 00:00:05,000\nThen\nit → stops.\n\n"
    )


def test_vtt_begins_with_its_name_and_escapes_markup(tmp_path: Path) -> None:
    assert write(tmp_path / "o", "vtt", said("a", text="<b> & c")) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\n&lt;b> &amp; c\n\n"
    )


@pytest.mark.parametrize("form", FORMATS)
def test_second_run_goes_on_where_the_first_stopped(tmp_path: Path, form: str) -> None:
    whole = write(tmp_path / "whole", form, said("a"), said("a", 2.5), said("b"))
    write(tmp_path / "o", form, said("a"))
    with DescriptionFile(tmp_path / "o", FORMATS[form], SETTINGS) as file:
        assert file.has(Part(Path("a"), 0.0, None))
        assert not file.has(Part(Path("a"), 2.5, None))
        file.add(said("a", 2.5))
        file.add(said("b"))
    assert (tmp_path / "o").read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("form", FORMATS)
def test_kill_at_any_byte_loses_at_most_the_row_being_written(tmp_path: Path, form: str) -> None:
    whole = write(tmp_path / "whole", form, said("a"), said("b"))
    write(tmp_path / "one", form, said("a"))
    ledger = tmp_path / "one.ledger"
    begun = (tmp_path / "one").stat().st_size
    for cut in range(begun, len(whole.encode())):
        (tmp_path / "o").write_bytes(whole.encode()[:cut])
        (tmp_path / "o.ledger").write_bytes(ledger.read_bytes())
        assert write(tmp_path / "o", form, said("b")) == whole


def test_ledger_cut_short_anywhere_in_its_last_line_is_repaired(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", "jsonl", said("a"), said("b"))
    ledger = (tmp_path / "whole.ledger").read_bytes()
    last = ledger.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last, len(ledger)):
        (tmp_path / "o").write_text(whole, encoding="utf-8")
        (tmp_path / "o.ledger").write_bytes(ledger[:cut])
        with DescriptionFile(tmp_path / "o", FORMATS["jsonl"], SETTINGS) as file:
            assert not file.has(Part(Path("b"), 0.0, None))
            file.add(said("b"))
        assert (tmp_path / "o").read_text(encoding="utf-8") == whole


def refusal(kind: type[Exception], path: Path, **settings: str) -> str:
    with pytest.raises(kind) as caught, DescriptionFile(path, FORMATS["jsonl"], {**SETTINGS, **settings}):
        pass
    return str(caught.value)


def test_work_of_other_settings_is_refused_with_the_difference(tmp_path: Path) -> None:
    before = write(tmp_path / "o", "jsonl", said("a"))
    assert refusal(UsageError, tmp_path / "o", prompt="What moves?") == (
        f"{tmp_path}/o: was begun with other settings: prompt was 'Describe the video.', is 'What moves?'"
        " (choose another --output, repeat those settings, or add --overwrite)"
    )
    assert (tmp_path / "o").read_text(encoding="utf-8") == before


def test_file_of_someone_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important", encoding="utf-8")
    assert "exists, and is not the work of an earlier" in refusal(UsageError, tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "important"


@pytest.mark.parametrize("damage", [b"", b"garbage\n{}\n", b'{"bytes": 3}\n'])
def test_damaged_ledger_does_not_cost_the_output(tmp_path: Path, damage: bytes) -> None:
    before = write(tmp_path / "o", "jsonl", said("a"))
    (tmp_path / "o.ledger").write_bytes(damage)
    assert "add --overwrite to begin anew" in refusal(DataError, tmp_path / "o")
    assert (tmp_path / "o").read_text(encoding="utf-8") == before


def test_overwriting_begins_anew(tmp_path: Path) -> None:
    write(tmp_path / "o", "jsonl", said("a"))
    with DescriptionFile(tmp_path / "o", FORMATS["jsonl"], {"model": "other"}, overwrite=True) as file:
        file.add(said("b"))
    assert len((tmp_path / "o").read_text(encoding="utf-8").splitlines()) == 1


def test_overwriting_leaves_the_old_output_until_the_new_one_begins(tmp_path: Path) -> None:
    before = write(tmp_path / "o", "jsonl", said("a"))
    DescriptionFile(tmp_path / "o", FORMATS["jsonl"], SETTINGS, overwrite=True).check()
    assert (tmp_path / "o").read_text(encoding="utf-8") == before


def test_run_that_described_nothing_binds_nobody_to_its_settings(tmp_path: Path) -> None:
    write(tmp_path / "o", "csv")
    with DescriptionFile(tmp_path / "o", FORMATS["jsonl"], {"model": "other"}) as file:
        file.add(said("a"))
    (line,) = (tmp_path / "o").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["video"] == "a"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
@pytest.mark.parametrize("overwrite", [False, True])
def test_second_run_at_one_output_is_refused(tmp_path: Path, overwrite: bool) -> None:
    with DescriptionFile(tmp_path / "o", FORMATS["jsonl"], SETTINGS) as first:
        first.add(said("a"))
        second = DescriptionFile(tmp_path / "o", FORMATS["jsonl"], SETTINGS, overwrite=overwrite)
        with pytest.raises(UsageError, match="another stllm is writing this"), second:
            pass
        first.add(said("b"))
    assert len((tmp_path / "o").read_text(encoding="utf-8").splitlines()) == 2
    with second:
        assert second.count == (0 if overwrite else 2)


def test_full_disk_is_said_and_the_work_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = DescriptionFile(tmp_path / "o", FORMATS["jsonl"], SETTINGS)
    with file, monkeypatch.context() as patch:
        file.add(said("a"))
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="cannot be written: No space left on device"):
            file.add(said("b"))
    with DescriptionFile(tmp_path / "o", FORMATS["jsonl"], SETTINGS) as later:
        assert later.count == 1
        later.add(said("b"))
    assert len((tmp_path / "o").read_text(encoding="utf-8").splitlines()) == 2


def test_folder_is_no_output(tmp_path: Path) -> None:
    assert "is a folder (name a file in it" in refusal(UsageError, tmp_path)


def test_missing_folder_of_the_output_is_named(tmp_path: Path) -> None:
    said = refusal(UsageError, tmp_path / "nowhere" / "o.jsonl")
    assert said.endswith("cannot be written: No such file or directory (choose another --output)")
