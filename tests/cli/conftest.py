from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from st_llm_cli.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


Stllm = Callable[..., Ran]


@pytest.fixture
def stllm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Stllm:
    """Run the command line in this process, as `stllm ARGUMENTS` would."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        code = left.value.code
        said = capsys.readouterr()
        return Ran(code if isinstance(code, int) else int(code is not None), said.out, said.err)

    return run


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights, the smallest that can be talked to."""
    from tests.micro import write_micro_checkpoint

    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three short clips, a.mp4, b.webm and deep/c.mkv."""
    from st_llm_cli.shapes.encode import Encoding, write_video
    from st_llm_cli.shapes.world import make_scene

    folder = tmp_path_factory.mktemp("clips")
    (folder / "deep").mkdir()
    write_video(make_scene(1), folder / "a.mp4", Encoding(64, 48, 10))
    write_video(make_scene(2), folder / "b.webm", Encoding(64, 48, 10, "vp9", ".webm"))
    write_video(make_scene(3), folder / "deep" / "c.mkv", Encoding(64, 48, 10, "h264", ".mkv"))
    return folder
