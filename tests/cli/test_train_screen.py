import io
import logging
import sys

import pytest
from transformers.utils import logging as transformers_logging

from st_llm_cli.cli.screen import OnScreen
from st_llm_cli.cli.train_screen import training_progress
from tests.training.small import small_recipe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_and_warnings_do_not_break_into_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(transformers_logging, "_tqdm_active", True)
    log = logging.getLogger("a library")
    log.addHandler(OnScreen())
    with training_progress(small_recipe({})):
        assert list(transformers_logging.tqdm(range(2), desc="Writing model shards")) == [0, 1]
        assert sys.stderr is not terminal  # the view is put anew below what is written to it
        log.handlers[0].setFormatter(logging.Formatter("stllm: %(message)s"))
        log.warning("something to know")
    assert "Writing model shards" not in terminal.getvalue()
    shown = terminal.getvalue().split("stllm: something to know")
    assert len(shown) == 2 and "stage0" in shown[1]
    log.handlers.clear()
