"""One writer at a time: a lock on an open file, which the system takes back when its holder dies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

from st_llm_cli.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: there two runs at one output are not told from each other
    fcntl = None  # type: ignore[assignment]

STEP_SECONDS = 0.05


def lock(file: BinaryIO, path: Path, patience_seconds: float = 0.0) -> None:
    """Keep other processes from writing a file, until it is closed.

    Args:
        file: The file, open.
        path: Its path, for the error.
        patience_seconds: How long to wait for another process to finish, or to die.

    Raises:
        UsageError: If another process writes it.
    """
    if fcntl is None:
        return
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                what = "another stllm is writing this"
                fix = "wait for it, or choose another --output"
                raise UsageError(what, where=str(path), fix=fix) from error
            time.sleep(STEP_SECONDS)
