"""Extensions are built once, each behind a lock that a killed build leaves behind for good.

DeepSpeed's are called `deepspeed_shm_comm`, `cpu_adam` and more; whose they are makes no difference.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

QUIET_SECONDS = 120.0
"""A lock that no process of this machine holds, where nothing has changed for so long, is left over."""


def remove_left_locks(root: Path | None = None) -> None:
    """Remove the locks of builds that were killed; wait where it is not certain yet.

    Args:
        root: Folder of the built extensions; PyTorch's if None.
    """
    root = root or _build_root()
    for lock in [*root.glob("*/lock"), *root.glob("*/*/lock")]:
        _remove_if_left(lock)


def not_built(names: Iterable[str], root: Path | None = None) -> list[str]:
    """Say which extensions are yet to be built.

    Args:
        names: Of extensions.
        root: Folder of the built extensions; PyTorch's if None.
    """
    root = root or _build_root()
    return [name for name in names if not [*root.glob(f"{name}/*.so"), *root.glob(f"*/{name}/*.so")]]


def _build_root() -> Path:
    from torch.utils.cpp_extension import get_default_build_root

    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())


def _remove_if_left(lock: Path) -> None:
    told = False
    while lock.exists() and not _is_held(lock):
        changed = max(path.stat().st_mtime for path in (lock, lock.parent))
        left = QUIET_SECONDS - (time.time() - changed)
        if left <= 0:
            log.warning("a build was killed before its end: removing its lock %s", lock)
            lock.unlink(missing_ok=True)
            return
        if not told:
            # Another machine that shares the folder may be building.
            log.warning("a lock of a build that nobody here is at: %s; waiting %.0f s for it", lock, left)
            told = True
        time.sleep(min(left, 1.0))


def _is_held(lock: Path) -> bool:
    """Whether a process of this machine has the lock open, as the one that builds does."""
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(handle) == str(lock.resolve()):
                return True
        except OSError:  # gone meanwhile, or another user's
            continue
    return False
