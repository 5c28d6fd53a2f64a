"""Which weights a result came from: the content of a checkpoint, not its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from st_llm_cli.errors import CheckpointError

PATTERNS = ("*.safetensors", "*.json", "*.model")
"""Files that decide what a checkpoint computes; others (optimizer, logs) may come and go beside them."""
SHOWN_DIGITS = 16


def weights_digest(folder: Path) -> str:
    """Digest a checkpoint's weights, configuration and tokenizer, at about 1 GB a second.

    Args:
        folder: A checkpoint as `save_pretrained` leaves it.

    Returns:
        `sha256:` and 16 hexadecimal digits.

    Raises:
        CheckpointError: If there are no such files, or one cannot be read.
    """
    paths = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)})
    if not paths:
        raise CheckpointError("holds no checkpoint", where=str(folder), fix="name another model")
    whole = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise CheckpointError(what, where=str(path), fix="check its permissions") from error
        whole.update(f"{path.name}\0{content}\0".encode())
    return f"sha256:{whole.hexdigest()[:SHOWN_DIGITS]}"
