"""What the system does not let the user do, as a user meets it who is not root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CAPABILITIES = "-dac_override,-dac_read_search"
"""What lets root read and write everything."""
AS_OTHERS = ("setpriv", f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}")
DENIED = "cannot be used: Permission denied (check its permissions, and its folder's)"

if os.geteuid() == 0 and not shutil.which("setpriv"):
    pytest.skip("root may read everything", allow_module_level=True)


@pytest.fixture
def locked(clips: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be looked into, beside a clip."""
    folder = tmp_path / "locked"
    folder.mkdir()
    shutil.copy(clips / "a.mp4", folder / "b.mp4")
    shutil.copy(clips / "a.mp4", tmp_path / "a.mp4")
    folder.chmod(0)
    yield folder
    folder.chmod(0o755)


def stllm(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program in a folder, without the rights of root."""
    command = [sys.executable, "-P", "-m", "st_llm_cli", *arguments]
    return subprocess.run(
        [*AS_OTHERS, *command] if os.geteuid() == 0 else command,
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("locked/b.mp4", ("describe", "locked/b.mp4")),
        ("locked/model", ("describe", "a.mp4", "--model", "locked/model")),
        ("locked/recipe.yaml", ("train", "locked/recipe.yaml", "--dry-run")),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_named(
    named: str, arguments: tuple[str, ...], locked: Path
) -> None:
    ran = stllm(locked.parent, *arguments)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [f"stllm: error: {named}: {DENIED}"]


def test_a_folder_that_may_not_be_written_to_is_named(locked: Path) -> None:
    locked.chmod(0o555)
    ran = stllm(locked.parent, "export", "tiny", "locked/out")
    complaint = "cannot be written: Permission denied (make room, or name another place)"
    assert (ran.returncode, ran.stderr) == (1, f"stllm: error: locked/out: {complaint}\n")


def test_what_may_be_read_of_a_list_or_a_folder_is(locked: Path, micro: Path) -> None:
    options = ("--model", str(micro), "--max-new-tokens", "2", "--cache", "off", "--json")
    ran = stllm(locked.parent, "describe", "-", ".", *options, given="locked/b.mp4\na.mp4\n")
    assert (ran.returncode, len(ran.stdout.splitlines())) == (1, 1), ran.stderr
    for name in ("locked/b.mp4", "locked"):
        assert f"stllm: error: {name}: {DENIED}\n" in ran.stderr


def test_a_name_that_no_file_can_have_is_named_and_ends_no_list(locked: Path, micro: Path) -> None:
    name = "x" * 300 + ".mp4"
    options = ("--model", str(micro), "--max-new-tokens", "2", "--cache", "off", "--json")
    complaint = f"stllm: error: {name}: cannot be used: File name too long (check the name)\n"
    alone = stllm(locked.parent, "describe", name, *options)
    assert (alone.returncode, alone.stderr) == (1, complaint)
    listed = stllm(locked.parent, "describe", "-", *options, given=f"{name}\na.mp4\n")
    assert (listed.returncode, len(listed.stdout.splitlines())) == (1, 1)
    assert complaint in listed.stderr
