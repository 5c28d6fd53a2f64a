import pytest


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of whoever runs it."""
    monkeypatch.setenv("STLLM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
