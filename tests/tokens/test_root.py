import sys
from pathlib import Path

import pytest

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.root import cache_root, user_cache_folder
from st_llm_cli.tokens.store import TokenCache


def test_argument_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STLLM_CACHE", "/elsewhere")
    assert cache_root("/here") == Path("/here")


def test_environment_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STLLM_CACHE", "~/tokens")
    assert cache_root() == Path.home() / "tokens"


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="XDG folders are those of Linux")
def test_user_cache_folder_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STLLM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_root() == Path("/xdg/stllm/tokens")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_root() == Path.home() / ".cache/stllm/tokens"


def test_windows_keeps_caches_in_local_app_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert user_cache_folder() == Path("/local")


def test_mac_keeps_caches_in_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_cache_folder() == Path.home() / "Library" / "Caches"


def test_off_turns_the_cache_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root("off") is None
    monkeypatch.setenv("STLLM_CACHE", "off")
    assert cache_root() is None
    with pytest.raises(CacheError, match="the cache is turned off"):
        TokenCache()
