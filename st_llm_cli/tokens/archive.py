"""A cache in tar files, to carry it to another machine: the tokens, and which frames were chosen."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.atomic import TEMPORARY_SUFFIX, cannot_write, write_whole
from st_llm_cli.tokens.entry import DamagedEntryError, verify_entry
from st_llm_cli.tokens.manage import stored
from st_llm_cli.tokens.store import TokenCache

SHARD_NAME = "tokens-{number:05d}.tar"
_ENTRY = re.compile(r"entries/[0-9a-f]{2}/[0-9a-f]{40}\.safetensors")
_VIEW = re.compile(r"views/[0-9a-f]{2}/[0-9a-f]{40}\.json")


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    shards: list[Path]
    entries: int
    bytes: int
    """Of the tar files."""


@dataclass(frozen=True)
class Imported:
    """What an import brought in."""

    added: int
    """Entries that were not there."""
    present: int
    """Entries that were there already."""
    damaged: list[str]
    """Members that were not what was exported, and were left out."""


def export(cache: TokenCache, destination: Path, shard_bytes: int) -> Exported:
    """Write a cache into tar files, readable by any tar.

    Which file has which content is not exported: another machine finds that out by itself. An entry that is
    damaged is left out.

    Args:
        cache: The cache.
        destination: Folder for the tar files; one that holds such files already is refused.
        shard_bytes: Size at which the next file is begun.

    Raises:
        CacheError: If there is no cache, or the files cannot be written.
    """
    if list(destination.glob("tokens-*.tar")):
        raise CacheError("holds an export already", where=str(destination), fix="choose another folder")
    paths = [entry.path for entry in stored(cache)] + sorted(cache.views.folder.glob("??/*.json"))
    entries, shards = 0, []
    try:
        destination.mkdir(parents=True, exist_ok=True)
        for number, group in enumerate(_groups(paths, shard_bytes)):
            shard = destination / SHARD_NAME.format(number=number)
            shards.append(shard)
            entries += _write_shard(shard, group, cache.root)
    except OSError as error:
        raise cannot_write(shards[-1] if shards else destination, error) from error
    return Exported(shards, entries, sum(shard.stat().st_size for shard in shards))


def bring_in(cache: TokenCache, shard: Path) -> Imported:
    """Take the entries of a tar file into a cache; every byte is checked before it counts.

    Args:
        cache: The cache; made where missing.
        shard: A tar file that `export` wrote.

    Raises:
        CacheError: If the file is no tar file, or the cache cannot be written.
    """
    added, present, damaged = 0, 0, []
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isfile() else None
                if source is None:
                    continue
                if _ENTRY.fullmatch(member.name) and (cache.root / member.name).exists():
                    present += 1
                elif _ENTRY.fullmatch(member.name) and _adopt(cache, member.name, source.read()):
                    added += 1
                elif not (_VIEW.fullmatch(member.name) and cache.views.adopt(source.read())):
                    damaged.append(member.name)
    except FileNotFoundError as error:
        raise CacheError("no such file", where=str(shard), fix="check the path") from error
    except (tarfile.TarError, OSError) as error:
        what = f"cannot be read as a tar file ({error})"
        raise CacheError(what, where=str(shard), fix="copy it again") from error
    return Imported(added, present, damaged)


def _adopt(cache: TokenCache, name: str, content: bytes) -> bool:
    """Write an entry under a name that does not count yet, and move it to its place once it proved whole."""
    path = cache.root / name
    arriving = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    write_whole(arriving, [content])
    try:
        verify_entry(arriving, name=path.name)
    except DamagedEntryError:
        arriving.unlink()
        return False
    arriving.replace(path)
    return True


def _groups(paths: list[Path], shard_bytes: int) -> Iterator[list[Path]]:
    group: list[Path] = []
    size = 0
    for path in paths:
        count = path.stat().st_size
        if group and size + count > shard_bytes:
            yield group
            group, size = [], 0
        group.append(path)
        size += count
    if group:
        yield group


def _write_shard(shard: Path, paths: list[Path], root: Path) -> int:
    """Write one tar file; the number of entries in it."""
    entries = 0
    with tarfile.open(shard, "w") as tar:
        for path in paths:
            name = path.relative_to(root).as_posix()
            if _ENTRY.fullmatch(name):
                try:
                    verify_entry(path)
                except DamagedEntryError:
                    continue
                entries += 1
            tar.add(path, name, recursive=False)
    return entries
