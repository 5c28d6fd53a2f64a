"""Writing a file so that nobody ever sees half of it, not even after a power cut."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from st_llm_cli.errors import CacheError

TEMPORARY_SUFFIX = ".part"
"""Files of this ending are being written, or were when their process died."""

Chunk = bytes | memoryview


def write_whole(path: Path, chunks: Iterable[Chunk], *, durable: bool = True) -> int:
    """Write a file of the cache as `put_whole` does.

    Raises:
        CacheError: If it cannot be written; what was there before is still there, unchanged.
    """
    try:
        return put_whole(path, chunks, durable=durable)
    except OSError as error:
        raise cannot_write(path, error) from error


def put_whole(path: Path, chunks: Iterable[Chunk], *, durable: bool = True) -> int:
    """Write a file under a temporary name beside its place, then move it there in one step.

    Any number of processes may do so at once: the last one wins, and each leaves a whole file.

    Args:
        path: Where the file shall be. Its folder is made where missing.
        chunks: What it holds, in order.
        durable: Whether the content must be on the disk before the file has its name, so that a power cut
            leaves it whole or not there. Otherwise it can also leave an empty file.

    Returns:
        Number of bytes written.

    Raises:
        OSError: If it cannot be written; what was there before is still there, unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        count = _write(temporary, chunks, durable)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return count


def cannot_write(path: Path, error: OSError) -> CacheError:
    """Turn the system's refusal into what was found, where, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "free some space (`stllm cache gc --budget SIZE` removes what was not used for longest)"
        return CacheError("no space left to write tokens", where=str(path.parent), fix=fix)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        fix = "keep the cache elsewhere (`cache` or STLLM_CACHE), or turn it off (`cache` off)"
        return CacheError("tokens may not be written here", where=str(path.parent), fix=fix)
    what = f"tokens cannot be written: {error.strerror or error}"
    return CacheError(what, where=str(path.parent), fix="keep the cache elsewhere (`cache` or STLLM_CACHE)")


def _write(path: Path, chunks: Iterable[Chunk], durable: bool) -> int:
    count = 0
    with open(path, "xb", buffering=0) as file:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                written = file.write(rest)
                rest = rest[written:]
                count += written
        if durable:
            os.fsync(file.fileno())
    return count
