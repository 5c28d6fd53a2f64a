import io
import logging
import sys
from dataclasses import replace

import pytest
from rich.console import Console
from transformers.utils import logging as transformers_logging

from st_llm_cli.cli import log_line
from st_llm_cli.cli.screen import OnScreen
from st_llm_cli.cli.train_screen import _View, training_progress
from st_llm_cli.training.metrics import StepMetrics
from tests.training.small import small_recipe

LINE = StepMetrics("stage0", 1, 2, 2.1, 2.1, 0.1, 0.5, 100.0, 0.1, 1.0, 1e-3, 2.0, 327.0, 0.5)


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


def test_no_line_of_the_view_fills_the_terminal() -> None:
    view = _View(small_recipe({}))
    view.take(LINE)
    console = Console(file=io.StringIO(), width=110, force_terminal=True)
    assert all(
        sum(segment.cell_length for segment in line) < 110
        for line in console.render_lines(view.render(), pad=False)
    )


def test_a_log_has_a_line_for_each_report_and_one_at_the_end_of_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with training_progress(small_recipe({}, {})) as show:
        monkeypatch.setattr(log_line, "SECONDS_BETWEEN_LINES", 0.0)
        show(LINE)
        show(replace(LINE, step=2, seconds=65.0))
        monkeypatch.undo()
        show(replace(LINE, stage="stage1"))  # within seconds of its begin
        show(replace(LINE, stage="stage1", step=2))
    said = capsys.readouterr().err
    assert "\r" not in said
    first, second, third = said.splitlines()
    rest = "loss 2.100, masked video 0.100, 50% dropped, 327 video tokens/s, 0.5 GB"
    assert first == f"stllm: stage0 1/2: {rest}, 2 s left"
    assert second == f"stllm: stage0 2/2: {rest} in 1 min 05 s"
    assert third.startswith("stllm: stage1 2/2: ")
