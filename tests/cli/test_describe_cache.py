import json
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Stllm


@pytest.fixture
def describe(stllm: Stllm, micro: Path, tmp_path: Path) -> Stllm:
    def run(*arguments: str | Path) -> Ran:
        return stllm("describe", *arguments, "--model", micro, "--max-new-tokens", "4")

    return run


def texts(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return [json.loads(line)["text"] for line in ran.out.splitlines()]


def test_second_run_is_answered_from_the_cache(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    arguments = (clips, "--json", "--cache", tmp_path / "cache")
    first, second = describe(*arguments), describe(*arguments)
    assert texts(first) == texts(second)
    assert "cache: 0 hits, 3 misses; 0 B read, " in first.err
    assert "cache: 3 hits, 0 misses; " in second.err
    assert "s of encoding saved" in second.err


def test_another_question_needs_no_second_look(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    describe(clips, "--json", "--cache", tmp_path / "cache")
    ran = describe(clips, "--json", "--cache", tmp_path / "cache", "--prompt", "What moves first?")
    assert "cache: 3 hits, 0 misses" in ran.err


def test_cache_can_be_turned_off(describe: Stllm, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STLLM_CACHE", "/dev/null/no")
    ran = describe(clips, "--json", "--cache", "off")
    assert ran.code == 0, ran.err
    assert "cache" not in ran.err


def test_streamed_answer_is_the_same_from_the_cache(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    arguments = (clips / "a.mp4", "--cache", tmp_path / "cache")
    first, second = describe(*arguments), describe(*arguments)
    assert first.out == second.out
    assert "cache: 0 hits, 1 misses; " in first.err
    assert "cache: 1 hits, 0 misses; " in second.err


def test_file_in_place_of_the_cache_is_an_error(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    ran = describe(clips / "a.mp4", "--cache", file)
    assert ran.code == 1
    assert ran.err == f"stllm: error: {file}: is a file, not a folder of tokens (name a folder)\n"
