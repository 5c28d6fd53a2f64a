"""Where the token cache lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "STLLM_CACHE"
OFF = "off"


def cache_root(given: str | Path | None = None) -> Path | None:
    """Find the folder of the token cache: as given, else `STLLM_CACHE`, else the user's cache folder.

    Args:
        given: A folder; `off` for no cache; None to decide by environment and platform.

    Returns:
        The folder, which need not exist yet; None where the cache is turned off.
    """
    wish = str(given or os.environ.get(VARIABLE) or "")
    if wish == OFF:
        return None
    return Path(wish).expanduser() if wish else user_cache_folder() / "stllm" / "tokens"


def user_cache_folder() -> Path:
    """Folder in which this platform keeps what programs can make again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says to pass over relative paths.
    return Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache"
