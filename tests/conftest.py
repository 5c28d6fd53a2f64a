import os
import signal

import pytest

# As `make test` does: several threads wait for each other wherever something else keeps a core busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a shell script; Ctrl-C is tested
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of whoever runs it."""
    monkeypatch.setenv("STLLM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
