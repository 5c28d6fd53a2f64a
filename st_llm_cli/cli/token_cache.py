"""The token cache as commands use it: opened by one option, summed up in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st_llm_cli.cli.screen import note
from st_llm_cli.cli.sizes import size_text

if TYPE_CHECKING:
    from st_llm_cli.tokens.store import CacheUse, TokenCache


def open_cache(given: str | None) -> TokenCache | None:
    """Open the cache that `--cache` names; None where it is turned off.

    Args:
        given: A folder or `off`; None takes `STLLM_CACHE`, else the user's cache folder.

    Raises:
        CacheError: If there is a file in its place.
    """
    from st_llm_cli.tokens.root import cache_root
    from st_llm_cli.tokens.store import TokenCache

    root = cache_root(given)
    return None if root is None else TokenCache(root)


def note_use(cache: TokenCache | None) -> None:
    """Say what the cache was good for, if it was asked at all."""
    if cache is not None and cache.use.hits + cache.use.misses > 0:
        note(use_text(cache.use))


def use_text(use: CacheUse) -> str:
    """Sum up the use of a cache: `cache: 12 clips found, 3 not; 9.2 MB read, …`."""
    text = f"cache: {use.hits} hits, {use.misses} misses"
    if use.damaged:
        text += f" ({use.damaged} damaged)"
    text += f"; {size_text(use.bytes_read)} read, {size_text(use.bytes_written)} written"
    return f"{text}; {use.seconds_saved:.1f} s of encoding saved" if use.hits else text
