import ast
import re
from pathlib import Path

import pytest

from st_llm_cli import errors
from st_llm_cli.cli.option_names import IN_CHAT, OPTIONS, in_words_of
from st_llm_cli.errors import DataError, StllmError, UsageError

PACKAGE = Path(errors.__file__).parent
KINDS = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, StllmError)
}
LIBRARY = ("video", "tokens", "model", "bench", "stages/video_model.py", "stages/eval_plan.py")
"""What can be reached from Python without the command line."""


@pytest.mark.parametrize(
    ("where", "fix", "expected"),
    [
        ("num_frames", "give at most 8", "--frames: wrong (give at most 8)"),
        ("num_frames, fps", "give one", "--frames, --fps: wrong (give one)"),
        ("clip.mp4", "raise `end` or lower `start`", "clip.mp4: wrong (raise --end or lower --start)"),
        (
            None,
            "check `variant`, see `stllm models list`",
            "wrong (check --variant, see `stllm models list`)",
        ),
        ("name", None, "--model: wrong"),
        ("video.num_frames", None, "video.num_frames: wrong"),
    ],
)
def test_arguments_become_options(where: str | None, fix: str | None, expected: str) -> None:
    assert str(in_words_of(DataError("wrong", where=where, fix=fix), OPTIONS)) == expected


@pytest.mark.parametrize(
    ("where", "fix", "expected"),
    [
        ("clip.mp4", "lower `start`", "clip.mp4: wrong (lower the start of /clip)"),
        ("num_frames, fps", None, "/frames, --fps: wrong"),
        ("max_new_tokens", "lower it", "/set max_new_tokens: wrong (lower it)"),
    ],
)
def test_in_a_conversation_arguments_become_its_commands(where: str, fix: str | None, expected: str) -> None:
    assert str(in_words_of(DataError("wrong", where=where, fix=fix), IN_CHAT)) == expected


def test_kind_of_the_error_stays() -> None:
    assert isinstance(in_words_of(UsageError("wrong"), OPTIONS), UsageError)


def files() -> list[Path]:
    found = [PACKAGE / name for name in LIBRARY]
    return [file for path in found for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_errors_of_the_library_name_no_options(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS):
            continue
        texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        for text in filter(lambda value: isinstance(value, str), texts):
            outside = re.sub(r"`stllm [^`]*`", "", str(text))
            assert not re.search(r"--[a-z]", outside), f"line {node.lineno}: {text}"
