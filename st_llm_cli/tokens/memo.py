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
            text = self._path(about).read_text(encoding="utf-8")
            kept = json.loads(text)
        except (OSError, ValueError):
            return None  # never known, cut off by a power cut, or unreadable: it is found out again
        if not isinstance(kept, dict) or kept.get("about") != about:
            return None
        fact = kept.get("fact")
        if not isinstance(fact, dict) or kept.get("check") != _check(about, fact):
            return None  # a flipped digit would name other frames
        return fact

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


def _check(about: str, fact: dict[str, Any]) -> str:
    return digest_of(json.dumps([about, fact], sort_keys=True))
