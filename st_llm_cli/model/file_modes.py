"""Who may read the files of a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path


def follow_umask(folder: Path) -> None:
    """Let whoever may read new files of this process read the weights in a folder too.

    The library that writes them leaves them to their owner alone.
    """
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o666 & ~mask)
