import os
import time
from pathlib import Path

import pytest

from st_llm_cli.training import build_locks
from st_llm_cli.training.build_locks import remove_left_locks


def leave_lock(root: Path, seconds_ago: float, name: str = "deepspeed_shm_comm") -> Path:
    folder = root / "py311_cpu" / name
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    then = time.time() - seconds_ago
    for path in (folder / "lock", folder):
        os.utime(path, (then, then))
    return folder / "lock"


@pytest.mark.parametrize("name", ["deepspeed_shm_comm", "cpu_adam"])
def test_the_lock_of_a_killed_build_is_removed(tmp_path: Path, name: str) -> None:
    lock = leave_lock(tmp_path, seconds_ago=1000, name=name)
    remove_left_locks(tmp_path)
    assert not lock.exists()


def test_the_lock_of_a_build_under_way_stays(tmp_path: Path) -> None:
    lock = leave_lock(tmp_path, seconds_ago=1000)
    with lock.open():  # as the process that builds has it
        remove_left_locks(tmp_path)
    assert lock.exists()


def test_a_fresh_lock_of_another_machine_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_locks, "QUIET_SECONDS", 0.5)
    lock = leave_lock(tmp_path, seconds_ago=0)
    began = time.monotonic()
    remove_left_locks(tmp_path)
    assert not lock.exists() and time.monotonic() - began > 0.3
