from pathlib import Path

import pytest

from st_llm_cli.errors import TrainingError
from st_llm_cli.training.saving import (
    UNFINISHED,
    check_processes,
    finish_writing,
    last_checkpoint,
    start_writing,
    step_of,
)


def write(folder: Path, step: int, processes: int = 1) -> Path:
    start_writing(folder)
    written = folder / UNFINISHED / f"checkpoint-{step}"
    written.mkdir(parents=True)
    (written / "weights").write_text(str(step))
    return finish_writing(folder, step, processes)


def test_a_checkpoint_replaces_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, 5)
    last = write(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    assert last_checkpoint(tmp_path) == last and step_of(last) == 10
    assert (last / "weights").read_text() == "10"


def test_a_half_written_checkpoint_is_never_taken(tmp_path: Path) -> None:
    last = write(tmp_path, 5)
    half = tmp_path / UNFINISHED / "checkpoint-10"
    half.mkdir(parents=True)
    (half / "weights").write_text("10")
    assert last_checkpoint(tmp_path) == last
    start_writing(tmp_path)
    assert not half.exists() and last.exists()


def test_no_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    assert step_of(None) == 0


def test_another_number_of_processes_is_refused_in_plain_words(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, 5, processes=2)
    check_processes(checkpoint, 2)
    with pytest.raises(TrainingError, match="written by 2 processes, and this is a run of one") as caught:
        check_processes(checkpoint, 1)
    assert caught.value.fix is not None and "--gpus 2" in caught.value.fix
