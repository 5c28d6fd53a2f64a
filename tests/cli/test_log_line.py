import io

import pytest
from tqdm import tqdm

from st_llm_cli.cli import log_line
from st_llm_cli.cli.log_line import LogLine


def lines_of(*counts: int, total: int = 3) -> list[str]:
    said: list[str] = []
    line = LogLine(total, said.append)
    for count in counts:
        line.say(count, f"{count}")
    line.close()
    return said


def test_the_end_is_said_once_and_nothing_within_seconds_of_the_begin() -> None:
    assert lines_of(1, 2, 3) == ["3"]
    assert lines_of(3) == ["3"]


def test_what_is_due_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_line, "SECONDS_BETWEEN_LINES", 0.0)
    assert lines_of(1, 2, 3) == ["1", "2", "3"]


def test_a_total_may_grow() -> None:
    said: list[str] = []
    line = LogLine(1, said.append)
    line.total = 2
    line.say(1, "1")
    line.say(2, "2")
    assert said == ["2"]


def test_tqdm_can_be_told_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    said: list[str] = []
    line = LogLine(1, said.append)
    line.disable = True
    line.say(1, "1")
    assert said == []


def test_bars_of_others_do_not_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    line = LogLine(3, said.append)
    line.say(3, "3")
    tqdm.write("something", file=io.StringIO())
    bar = tqdm(total=1, file=io.StringIO())
    bar.update(1)
    bar.close()
    line.close()
    assert said == ["3"]
    assert capsys.readouterr().err == ""
