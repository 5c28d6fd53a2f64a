"""Being told to stop where no step of training is under way: a line that says so, and exit code 130."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from st_llm_cli.errors import Interrupted


@contextmanager
def ends_when_told() -> Iterator[None]:
    """End a command at SIGTERM as at Ctrl-C, where it goes on if given again.

    Training listens itself for as long as a stage learns (training/stopping.py). A second SIGTERM ends the
    process at once.

    Raises:
        Interrupted: In place of KeyboardInterrupt, which no library takes for a failure of its own.
    """
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except KeyboardInterrupt as error:
        raise told_to_stop() from error
    finally:
        signal.signal(signal.SIGTERM, before)


def told_to_stop() -> Interrupted:
    """What there is to say where nothing is saved now."""
    return Interrupted("told to stop; what was saved before stays", fix="the same command goes on from there")


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
