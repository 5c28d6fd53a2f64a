"""Facts that were dear to find out and cost nothing to lose: small files, one a fact.

Why files rather than a database: renaming a whole file into place is safe with any number of processes, on
network disks too, where the locks a database lives by are not. A fact takes one open and one read (about
30 µs); next to tokens of some 100 KB, its 4 KB on disk do not count.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.atomic import write_whole
from st_llm_cli.tokens.key import digest_of

log = logging.getLogger(__name__)


class Memo:
    """Facts of one kind, each found again by what it is about.

    Args:
        folder: Where they are kept; made when the first one is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def recall(self, about: str) -> dict[str, Any] | None:
        """Give the fact about something; None if it is not known, or its file is damaged."""
        try:
            content = self._path(about).read_bytes()
        except OSError:
            return None
        kept = _understand(content)
        return kept[1] if kept is not None and kept[0] == about else None

    def adopt(self, content: bytes) -> bool:
        """Take in the file of a fact from another memo of this kind; False if it is damaged."""
        kept = _understand(content)
        if kept is None:
            return False
        self.remember(*kept)
        return True

    def remember(self, about: str, fact: dict[str, Any]) -> None:
        """Keep a fact for later. Where it cannot be kept, it will be found out again."""
        kept = {"about": about, "fact": fact, "check": _check(about, fact)}
        text = json.dumps(kept, ensure_ascii=True, indent=1)
        try:
            write_whole(self._path(about), [text.encode()], durable=False)
        except CacheError as error:
            log.info("not remembered: %s", error)  # tokens that cannot be kept are an error of their own

    def _path(self, about: str) -> Path:
        name = digest_of(about)
        return self.folder / name[:2] / f"{name}.json"


def _understand(content: bytes) -> tuple[str, dict[str, Any]] | None:
    """Read what a fact is about and the fact; None if it was cut off by a power cut or changed since."""
    try:
        kept = json.loads(content)
        about, fact, check = kept["about"], kept["fact"], kept["check"]
    except (ValueError, KeyError, TypeError):
        return None
    # Without this, a flipped digit would name other frames.
    return (about, fact) if check == _check(about, fact) else None


def _check(about: str, fact: dict[str, Any]) -> str:
    return digest_of(json.dumps([about, fact], sort_keys=True))
