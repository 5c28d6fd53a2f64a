"""Which video a file is, whatever it is called: digests of content, computed once per file."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from st_llm_cli.errors import NotAVideoError, VideoError, VideoNotFoundError
from st_llm_cli.tokens.memo import Memo

SETTLED_SECONDS = 2.0
"""A file written to this recently can be written to again without its times changing: they have a grain
(10 ms on ext4, 2 s on FAT). Its digest is not remembered yet."""


def content_digest(path: Path) -> str:
    """Digest of the content of a video file, or of a folder of frames: their names and contents.

    Args:
        path: The file or folder. It is read whole, at about 1 to 2 GB/s from memory.

    Returns:
        `sha256:` and 64 hexadecimal digits.

    Raises:
        VideoNotFoundError: If there is no such file or folder.
        NotAVideoError: If it is neither: reading a pipe or a device may never end.
        VideoError: If it cannot be read.
    """
    try:
        if not path.is_dir():
            if path.exists() and not path.is_file():
                raise NotAVideoError(
                    "is neither a file nor a folder", where=str(path), fix="give a video file"
                )
            return _file_digest(path)
        whole = hashlib.sha256(b"folder\0")
        for file in _files_of(path):
            whole.update(f"{file.name}\0{_file_digest(file)}\0".encode(errors="surrogateescape"))
        return f"sha256:{whole.hexdigest()}"
    except OSError as error:
        raise _cannot_read(path, error) from error


class MediaDigests:
    """Digests of files, remembered by path, size, times and inode, so that a warm run reads no video.

    Args:
        memo: Where they are remembered. Safe with any number of processes.
    """

    def __init__(self, memo: Memo) -> None:
        self._memo = memo

    def of(self, path: Path) -> str:
        """Digest of a file or folder, from memory if it has not changed since.

        Raises:
            VideoNotFoundError: If there is no such file or folder.
            VideoError: If it cannot be read.
        """
        place = os.path.abspath(path)
        before = fingerprint(path)
        known = self._memo.recall(place)
        if known is not None and known.get("fingerprint") == before:
            return str(known["digest"])
        digest = content_digest(path)
        # A file that changes while it is read must be read again the next time.
        if fingerprint(path) == before and is_settled(path):
            self._memo.remember(place, {"fingerprint": before, "digest": digest})
        return digest


def fingerprint(path: Path) -> list[list[int | str]]:
    """Say what changes when a file does: name, size, times and inode, of each file if it is a folder.

    The time of the last change of the inode is among it: `touch` and `rsync --times` set the other one back.

    Raises:
        VideoNotFoundError: If there is no such file or folder.
        VideoError: If it cannot be looked at.
    """
    try:
        files = _files_of(path) if path.is_dir() else [path]
        return [[file.name, *_numbers(file.stat())] for file in files]
    except OSError as error:
        raise _cannot_read(path, error) from error


def _numbers(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _files_of(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(files, key=lambda file: file.name)


def is_settled(path: Path) -> bool:
    """Whether a file, or the files of a folder, were last written to long enough ago for times to tell."""
    files = _files_of(path) if path.is_dir() else [path]
    newest = max((max(file.stat().st_mtime, file.stat().st_ctime) for file in files), default=0.0)
    return abs(time.time() - newest) > SETTLED_SECONDS


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _cannot_read(path: Path, error: OSError) -> VideoError:
    if isinstance(error, FileNotFoundError):
        return VideoNotFoundError("no such file or folder", where=str(path), fix="check the path")
    return VideoError(f"cannot be read: {error.strerror}", where=str(path), fix="check its permissions")
