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
    """Write a file under a temporary name beside its place, then move it there in one step.

    Any number of processes may do so at once: the last one wins, and each leaves a whole file.

    Args:
        path: Where the file shall be. Its folder is made where missing.
        chunks: What it holds, in order.
        durable: Whether the file must survive a power cut from the moment this returns.

    Returns:
        Number of bytes written.

    Raises:
        CacheError: If it cannot be written; what was there before is still there, unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        make_folder(path.parent, durable=durable)
        try:
            count = _write(temporary, chunks, durable)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    return count


def make_folder(folder: Path, *, durable: bool) -> None:
    """Make a folder and those above it, where missing."""
    if folder.is_dir():
        return
    make_folder(folder.parent, durable=durable)
    folder.mkdir(exist_ok=True)
    if durable:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    if os.name == "nt":  # Windows cannot open folders, and keeps its names by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cannot_write(path: Path, error: OSError) -> CacheError:
    """Turn the system's refusal into what was found, where, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "free some space (`stllm cache gc --budget SIZE` removes what was not used for longest)"
        return CacheError("no space left to write tokens", where=str(path.parent), fix=fix)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        fix = "choose another folder with --cache or STLLM_CACHE, or turn the cache off with --cache off"
        return CacheError("tokens may not be written here", where=str(path.parent), fix=fix)
    what = f"tokens cannot be written: {error.strerror or error}"
    return CacheError(what, where=str(path.parent), fix="choose another folder with --cache or STLLM_CACHE")


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
