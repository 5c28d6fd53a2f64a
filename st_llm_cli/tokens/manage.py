"""Looking after a cache: what is in it, whether it is whole, and making room."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.atomic import TEMPORARY_SUFFIX
from st_llm_cli.tokens.entry import SUFFIX, DamagedEntryError, Header, read_header, verify_entry
from st_llm_cli.tokens.store import TokenCache

ABANDONED_SECONDS = 3600.0
"""A file still being written after this long was left behind by a process that died."""


class Stored(NamedTuple):
    """An entry, as the file system knows it."""

    path: Path
    bytes: int
    used_at: float
    """When it was last used, to the hour; seconds since 1970."""


@dataclass(frozen=True)
class Contents:
    """What is in a cache."""

    entries: int
    bytes: int
    """Of the entries."""
    by_level: dict[str, int]
    """Entries of each level."""
    by_encoder: dict[str, int]
    """Entries of each encoder, by its identity."""
    damaged: int
    """Files set aside, and entries whose header is not whole."""
    abandoned: int
    """Files left half-written by processes that died."""


@dataclass(frozen=True)
class Collected:
    """What making room did."""

    removed: int
    """Entries removed, those set aside as damaged included."""
    bytes_freed: int
    entries_left: int
    bytes_left: int


def stored(cache: TokenCache) -> list[Stored]:
    """List the entries of a cache, the one used last first.

    Raises:
        CacheError: If there is no cache.
    """
    if not cache.root.is_dir():
        raise CacheError("no cache here yet", where=str(cache.root), fix="name another folder as `cache`")
    found = _there(cache.entries.glob(f"??/*{SUFFIX}"))
    return sorted(found, key=lambda entry: entry.used_at, reverse=True)


def header_of(path: Path) -> Header:
    """Read what an entry says of itself, without its tokens.

    Raises:
        DamagedEntryError: If its header is not whole, or the file is longer or shorter than it says.
        OSError: If it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        return read_header(file, os.fstat(file.fileno()).st_size, path)


def contents(cache: TokenCache) -> Contents:
    """Count what is in a cache.

    Raises:
        CacheError: If there is no cache.
    """
    entries = stored(cache)
    levels: Counter[str] = Counter()
    encoders: Counter[str] = Counter()
    damaged = len(_set_aside(cache))
    for entry in entries:
        try:
            key = json.loads(header_of(entry.path).key)
        except (DamagedEntryError, OSError):
            damaged += 1
            continue
        levels[key["level"]] += 1
        encoders[key["encoder"]] += 1
    return Contents(
        entries=len(entries),
        bytes=sum(entry.bytes for entry in entries),
        by_level=dict(levels),
        by_encoder=dict(encoders),
        damaged=damaged,
        abandoned=len(_abandoned(cache)),
    )


def verify(cache: TokenCache) -> Iterator[tuple[Path, CacheError | None]]:
    """Read every byte of every entry; those that are damaged are set aside.

    Yields:
        Each entry, with what is wrong with it or None: a `DamagedEntryError` if it was set aside.

    Raises:
        CacheError: If there is no cache.
    """
    for entry in stored(cache):
        try:
            verify_entry(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile by another process
        except DamagedEntryError as error:
            if cache.set_aside(entry.path):
                yield entry.path, error
            else:
                what, fix = f"{error.what}; it cannot be set aside", "check the permissions of the cache"
                yield entry.path, CacheError(what, where=str(entry.path), fix=fix)
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            yield entry.path, CacheError(what, where=str(entry.path), fix="check the disk")
        else:
            yield entry.path, None


def collect(cache: TokenCache, budget: int) -> Collected:
    """Make room: remove what is of no use, then what was not used for longest, until the rest fits.

    Args:
        cache: The cache. Other processes may go on using it.
        budget: Bytes the entries may take in all.

    Raises:
        CacheError: If there is no cache, or a file may not be removed.
    """
    entries = stored(cache)
    useless = [*_set_aside(cache), *_abandoned(cache)]
    total = sum(entry.bytes for entry in entries)
    doomed: list[Stored] = []
    while entries and total > budget:
        doomed.append(entries.pop())
        total -= doomed[-1].bytes
    for entry in (*useless, *doomed):
        _remove(entry.path)
    freed = sum(entry.bytes for entry in (*useless, *doomed))
    return Collected(len(useless) + len(doomed), freed, len(entries), total)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        what = f"cannot be removed: {error.strerror or error}"
        raise CacheError(what, where=str(path), fix="check the permissions of the cache") from error


def _set_aside(cache: TokenCache) -> list[Stored]:
    return _there(cache.damaged.glob("*"))


def _abandoned(cache: TokenCache) -> list[Stored]:
    too_long_ago = time.time() - ABANDONED_SECONDS
    parts = _there(cache.root.rglob(f"*{TEMPORARY_SUFFIX}"))
    return [part for part in parts if part.used_at < too_long_ago]


def _there(paths: Iterable[Path]) -> list[Stored]:
    """Look at files, passing over those that other processes have just moved or removed."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append(Stored(path, status.st_size, status.st_mtime))
    return found
