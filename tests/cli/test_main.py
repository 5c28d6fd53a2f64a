import json
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from st_llm_cli.errors import StllmError
from tests.cli.conftest import Stllm

STLLM = [sys.executable, "-m", "st_llm_cli"]


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a person sees who runs a command in a terminal of 80 columns."""
    leader, follower = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "TERM")}
    process = subprocess.Popen(
        [*STLLM, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**clean, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 4096):
            seen += piece
    except OSError:  # the way Linux says that nobody writes any more
        pass
    process.wait(timeout=60)
    os.close(leader)
    return seen.decode()


def test_version(stllm: Stllm) -> None:
    ran = stllm("--version")
    assert ran.code == 0
    assert re.fullmatch(r"stllm \d+\.\d+\.\d+\n", ran.out)


def test_bare_command_shows_help(stllm: Stllm) -> None:
    assert "describe" in stllm().err


def test_error_on_a_terminal_is_what_where_fix_in_colour() -> None:
    seen = on_a_terminal("describe", "dog.mp4", "--format", "jsnl")
    assert "\x1b[" in seen
    plain = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines()]
    assert plain == ["error unknown format 'jsnl'", "where --format", "fix   did you mean 'jsonl'?"]


def test_no_color_is_respected() -> None:
    assert "\x1b[3" not in on_a_terminal("describe", "dog.mp4", "--format", "jsnl", NO_COLOR="1")
    assert "\x1b[3" not in on_a_terminal("--help", NO_COLOR="1")


def test_debug_shows_where_an_error_came_from(stllm: Stllm, tmp_path: Path) -> None:
    for arguments in (["--debug", "describe"], ["describe", "--debug"]):
        with pytest.raises(StllmError):
            from st_llm_cli.cli.main import main

            main([*arguments, str(tmp_path)])


def test_advice_about_kernels_that_are_not_used_is_shown_for_debugging_only(stllm: Stllm) -> None:
    advice = logging.getLogger("bitsandbytes.backends.cpu.ops")
    stllm("recipes", "--debug")
    assert advice.isEnabledFor(logging.WARNING)
    stllm("recipes")
    assert not advice.isEnabledFor(logging.WARNING) and advice.isEnabledFor(logging.ERROR)
    assert logging.getLogger("bitsandbytes").isEnabledFor(logging.WARNING)


def test_demo_writes_clips_and_says_what_to_do_next(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("demo", tmp_path / "demo")
    assert ran.code == 0, ran.err
    assert f"stllm describe {tmp_path}/demo/red_circle.mp4\n" in ran.out
    shown = [Path(line) for line in ran.out.splitlines() if line.startswith(str(tmp_path))]
    assert len(shown) > 3
    assert all(path.stat().st_size > 0 for path in shown)


def test_demo_for_machines(stllm: Stllm, tmp_path: Path) -> None:
    rows = json.loads(stllm("demo", tmp_path / "demo", "--json").out)
    assert all(Path(row["video"]).exists() for row in rows)
    assert all(asked["answer"] for row in rows for asked in row["questions"])


def test_recipes_are_listed_with_what_they_do(stllm: Stllm) -> None:
    assert re.search(r"^tiny/rich +The bundled tiny model", stllm("recipes", "list").out, re.MULTILINE)


def test_recipe_is_shown_in_full(stllm: Stllm) -> None:
    shown = stllm("recipes", "show", "tiny/shapes", "--set", "video.num_frames=5").out
    assert "num_frames: 5" in shown
    assert "weight_decay: " in shown, "a default that the file does not name"


def test_all_recipes_are_checked_even_after_a_wrong_one(stllm: Stllm, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("- 1\n", encoding="utf-8")
    ran = stllm("recipes", "check", tmp_path / "wrong.yaml", "tiny/shapes")
    assert ran.code == 1
    assert ran.out == "tiny/shapes: ok\n"
    assert "is a list" in ran.err
