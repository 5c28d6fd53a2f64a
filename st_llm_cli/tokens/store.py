"""TokenCache: tokens by key, on disk, shared by any number of processes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.atomic import cannot_write, write_whole
from st_llm_cli.tokens.entry import SUFFIX, DamagedEntryError, Entry, pack, read_entry
from st_llm_cli.tokens.media import MediaDigests
from st_llm_cli.tokens.memo import Memo
from st_llm_cli.tokens.root import VARIABLE, cache_root

if TYPE_CHECKING:
    from torch import Tensor

    from st_llm_cli.tokens.key import Key

log = logging.getLogger(__name__)

USED_AGAIN_SECONDS = 3600.0
"""How old the note of an entry's last use may grow before a read renews it: few reads shall cost a write."""

TAG = """Signature: 8a477f597d28d172789f06886806bc55
# The token cache of stllm: everything here can be made again. Backups may leave it out.
"""
"""Content of CACHEDIR.TAG (bford.info/cachedir)."""


@dataclass
class CacheUse:
    """What a cache was good for, counted since it was opened."""

    hits: int = 0
    """Clips whose tokens were there."""
    misses: int = 0
    """Clips whose tokens were not."""
    damaged: int = 0
    """Entries found damaged and set aside; each is a miss too."""
    bytes_read: int = 0
    """Bytes of tokens read."""
    bytes_written: int = 0
    """Bytes of tokens written."""
    seconds_saved: float = 0.0
    """Seconds it took to encode the clips that were there, when they were encoded."""


class TokenCache:
    """Tokens by key, on disk, shared by any number of processes without a server.

    An entry is there whole or not at all. One that is damaged is never returned: it is reported, moved to
    `damaged/`, and treated as if it were not there.

    Args:
        root: Folder of the cache; None takes `STLLM_CACHE`, else the user's cache folder. Nothing is written
            to it before there is something to keep.

    Raises:
        CacheError: If the cache is turned off, or the root is a file.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        folder = cache_root(root)
        if folder is None:
            where = VARIABLE if root is None else None
            raise CacheError("the cache is turned off", where=where, fix="name a folder")
        if folder.exists() and not folder.is_dir():
            raise CacheError("is a file, not a folder of tokens", where=str(folder), fix="name a folder")
        self.root = folder
        self.entries = folder / "entries"
        self.damaged = folder / "damaged"
        """Entries that were found damaged."""
        self.use = CacheUse()
        self.media = MediaDigests(Memo(folder / "media"))
        self.views = Memo(folder / "views")
        """Which frames a request chooses of a video: what is needed to know a key without decoding."""
        self.encoders = Memo(folder / "encoders")
        """Identities of encoders, by the files they were loaded from."""

    def path(self, key: Key) -> Path:
        """Where the entry of a key lies, if it is there."""
        return Path(self._place(key))

    def has(self, key: Key) -> bool:
        """Whether there is an entry; it may still turn out damaged when it is read."""
        return os.path.exists(self._place(key))

    def get(self, key: Key) -> Tensor | None:
        """Read tokens.

        Returns:
            The tokens, [frames, tokens, dim], on the CPU; None if they are not there or damaged.

        Raises:
            CacheError: If the entry is there and the system refuses to read it.
        """
        entry = self.find(key)
        return None if entry is None else entry.tokens

    def find(self, key: Key) -> Entry | None:
        """Read tokens and what was noted about them. See `get`."""
        place = self._place(key)
        try:
            entry = read_entry(place, key.canonical())
        except FileNotFoundError:
            self.use.misses += 1
            return None
        except DamagedEntryError as error:
            log.warning("%s; set aside, to be made again", error)
            self.set_aside(Path(place))
            self.use.damaged += 1
            self.use.misses += 1
            return None
        except OSError as error:
            what = f"tokens cannot be read: {error.strerror or error}"
            raise CacheError(what, where=place, fix="check the disk and the permissions") from error
        if time.time() - entry.used_at > USED_AGAIN_SECONDS:
            with suppress(OSError):  # a cache that may only be read, or an entry that was just removed
                os.utime(place)
        self.use.hits += 1
        self.use.bytes_read += entry.tokens.nbytes
        self.use.seconds_saved += float(entry.about.get("seconds", 0.0))
        return entry

    def put(self, key: Key, tokens: Tensor, about: Mapping[str, Any] | None = None) -> None:
        """Keep tokens. A power cut within the next seconds leaves them whole, or not there.

        Where an entry is there already, it is left as it is: the same key means the same tokens.

        Args:
            key: What they are.
            tokens: [frames, tokens, dim], of the type the key names.
            about: Notes in JSON values; `seconds` is what `CacheUse.seconds_saved` adds up.

        Raises:
            CacheError: If they cannot be written; what is in the cache stays as it is.
        """
        path = self.path(key)
        if path.exists():
            return
        if not self.root.exists():
            self._make_root()
        header, data = pack(key, tokens, about or {})
        write_whole(path, [header, data])
        self.use.bytes_written += data.nbytes

    def set_aside(self, path: Path) -> bool:
        """Move a damaged file of the cache to `damaged/`, under a name that nothing there has.

        Returns:
            Whether it is no entry any more, be it that another process was first; it is not returned anyway.
        """
        try:
            self.damaged.mkdir(parents=True, exist_ok=True)
            os.replace(path, self.damaged / f"{path.name}.{time.time_ns()}")
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _place(self, key: Key) -> str:
        """Where an entry lies; text, because paths as objects take a tenth of the time of a read."""
        name = key.digest
        return f"{self.entries}{os.sep}{name[:2]}{os.sep}{name}{SUFFIX}"

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.root, error) from error
        write_whole(self.root / "CACHEDIR.TAG", [TAG.encode()], durable=False)
