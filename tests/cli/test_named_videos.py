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


def test_missing_name_on_standard_input_does_not_end_the_list(
    clips: Path, stllm: Stllm, micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--model", micro, "--cache", tmp_path / "cache")
    lines = f"# my clips\n{tmp_path / 'none [1].mp4'}\n{clips / 'a.mp4'}\n".encode()
    said = f"{tmp_path / 'none [1].mp4'}: no such file or folder (check the path)"
    say(monkeypatch, lines)
    described = stllm("describe", "-", *options, "--json", "--max-new-tokens", "2")
    assert (described.code, count(described)) == (1, 1)
    assert f"stllm: 1 of 2 videos could not be described:\nstllm: error: {said}\n" in described.err
    say(monkeypatch, lines)
    ledger = tmp_path / "skipped.jsonl"
    extracted = stllm("extract-features", "-", *options, "--json", "--skipped", ledger)
    assert extracted.code == 0, extracted.err
    assert json.loads(extracted.out)["skipped"] == 1
    assert json.loads(ledger.read_text(encoding="utf-8"))["reason"] == said


def test_missing_argument_is_refused_at_once(command: Stllm, clips: Path, tmp_path: Path) -> None:
    ran = command(clips, tmp_path / "none.mp4")
    assert (ran.code, ran.out) == (1, "")
    assert f"{tmp_path / 'none.mp4'}: no such file or folder" in ran.err


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
