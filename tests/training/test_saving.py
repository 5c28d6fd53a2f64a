import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from st_llm_cli.errors import TrainingError
from st_llm_cli.training.saving import (
    UNFINISHED,
    check_processes,
    check_whole,
    finish_writing,
    last_checkpoint,
    missing_file,
    passed_over,
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


@pytest.mark.parametrize("lost", ["weights", "processes.json"])
def test_a_folder_that_lacks_a_file_is_no_checkpoint(lost: str, tmp_path: Path) -> None:
    before, last = write(tmp_path, 5), tmp_path / "checkpoint-10"
    shutil.copytree(before, last)
    assert last_checkpoint(tmp_path) == last and passed_over(tmp_path) == []
    (last / lost).unlink()
    assert last_checkpoint(tmp_path) == before
    assert passed_over(tmp_path) == [last] and missing_file(last) == lost


def test_a_folder_of_a_later_step_that_lacks_files_is_left_alone(tmp_path: Path) -> None:
    later = tmp_path / "checkpoint-150"
    later.mkdir()
    (later / "trainer_state.json").write_text("{}")
    last = write(tmp_path, 5)
    assert last_checkpoint(tmp_path) == last and later.exists()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "trainer_state.json", "processes.json"]
)
@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"half"])
def test_a_damaged_file_is_named_and_what_to_do_about_it(name: str, content: bytes, tmp_path: Path) -> None:
    start_writing(tmp_path)
    written = tmp_path / UNFINISHED / "checkpoint-5"
    written.mkdir(parents=True)
    save_file({"weight": torch.ones(300)}, written / "model.safetensors")
    torch.save({"state": torch.ones(300)}, written / "optimizer.pt")
    (written / "trainer_state.json").write_text("{}")
    checkpoint = finish_writing(tmp_path, 5, processes=1)
    check_whole(checkpoint)
    (checkpoint / name).write_bytes(content or (checkpoint / name).read_bytes()[:-20])
    assert last_checkpoint(tmp_path) == checkpoint
    with pytest.raises(TrainingError, match="is damaged") as caught:
        check_whole(checkpoint)
    assert caught.value.where == str(checkpoint / name)
    assert caught.value.fix == f"remove {checkpoint}, and the stage begins anew"
    shutil.copytree(checkpoint, tmp_path / "checkpoint-3")
    with pytest.raises(TrainingError, match="and the run goes on from checkpoint-3"):
        check_whole(checkpoint)
    assert (checkpoint / name).exists()


def test_no_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    assert step_of(None) == 0


def test_another_number_of_processes_is_refused_in_plain_words(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, 5, processes=2)
    check_processes(checkpoint, 2)
    with pytest.raises(TrainingError, match="written by 2 processes, and this is a run of one") as caught:
        check_processes(checkpoint, 1)
    assert caught.value.fix is not None and "--gpus 2" in caught.value.fix
