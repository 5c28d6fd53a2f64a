import io
import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Stllm

COMMANDS = {
    "describe": ("--max-new-tokens", "2", "--json"),
    "extract-features": ("--json",),
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, stllm: Stllm, micro: Path, tmp_path: Path) -> Stllm:
    name = request.param

    def run(*arguments: str | Path) -> Ran:
        return stllm(name, *arguments, "--model", micro, "--cache", tmp_path / "cache", *COMMANDS[name])

    return run


def say(monkeypatch: pytest.MonkeyPatch, lines: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))


def count(ran: Ran) -> int:
    rows = [json.loads(line) for line in ran.out.splitlines()]
    return sum(row.get("encoded", 1) for row in rows)


def test_list_can_come_from_standard_input(
    command: Stllm, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, f"{clips / 'a.mp4'}\n\n{clips / 'b.webm'}\r\n".encode())
    ran = command("-", "-", clips / "deep")
    assert ran.code == 0, ran.err
    assert count(ran) == 3


def test_name_on_standard_input_need_not_be_text(
    command: Stllm, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    Path(os.fsdecode(name)).write_bytes((clips / "a.mp4").read_bytes())
    say(monkeypatch, name + b"\n")
    ran = command("-")
    assert ran.code == 0, ran.err
    assert count(ran) == 1


@pytest.mark.parametrize("is_closed", [False, True])
def test_nothing_on_standard_input_is_an_error(
    is_closed: bool, command: Stllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, b"\n")
    if is_closed:
        monkeypatch.setattr(sys, "stdin", None)
    ran = command("-")
    said = "stllm: error: standard input: lists no videos (name one video a line)\n"
    assert (ran.code, ran.out, ran.err) == (1, "", said)
