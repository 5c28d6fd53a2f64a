import errno
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import LostProcess, TrainingError
from st_llm_cli.training.mishaps import explained
from st_llm_cli.training.saving import check_whole
from tests.training.test_saving import write


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_change(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught, explained("videos", tmp_path):
        raise error
    assert caught.value.what == "out of memory; there is no checkpoint yet"
    assert caught.value.fix is not None and "halve batch_size and double accumulate" in caught.value.fix


def test_really_running_out_of_memory_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="out of memory"), explained("videos", tmp_path):
        torch.empty(2**60)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 576 vs 470"),
    ],
)
def test_a_full_disk_names_the_checkpoint_that_is_left(error: Exception, tmp_path: Path) -> None:
    write(tmp_path, 5)
    with pytest.raises(TrainingError) as caught, explained("videos", tmp_path):
        raise error
    assert "no space left to write a checkpoint; the last checkpoint, checkpoint-5, is intact" in str(
        caught.value
    )
    assert caught.value.fix is not None and "the same command goes on" in caught.value.fix


def test_half_a_checkpoint_does_not_keep_the_room_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, 5)
    half = tmp_path / ".unfinished" / "checkpoint-10"
    half.mkdir(parents=True)
    with pytest.raises(TrainingError), explained("videos", tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_a_file_whose_middle_was_lost_is_named(tmp_path: Path) -> None:
    last = write(tmp_path, 5)
    torch.save({name: torch.ones(30) for name in "abcdefghijklmnopqrstuvwxyz"}, last / "optimizer.pt")
    whole = (last / "optimizer.pt").read_bytes()
    (last / "optimizer.pt").write_bytes(whole[:4000] + bytes(1000) + whole[5000:])
    check_whole(last)
    with pytest.raises(TrainingError, match="is damaged") as caught, explained("videos", tmp_path):
        torch.load(last / "optimizer.pt")
    assert caught.value.where == str(last / "optimizer.pt")
    assert caught.value.fix == f"remove {last}, and the stage begins anew"


@pytest.mark.parametrize(
    "said",
    [
        "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:27326.",
        "NCCL error: remote process exited or there was a network error\nncclRemoteError: A call failed",
    ],
)
def test_losing_another_process_is_told_apart(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=r"peer|remote process"), explained("videos", tmp_path):
        raise RuntimeError(said)  # of one process it says something else
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LostProcess) as caught, explained("videos", tmp_path):
        raise RuntimeError(said)
    assert caught.value.what == "another process of this run has ended; there is no checkpoint yet"


def test_a_service_that_refuses_a_connection_is_not_a_lost_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConnectionRefusedError), explained("videos", tmp_path):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")  # of a logger


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"), explained("videos", tmp_path):
        raise RuntimeError("shapes do not match")
