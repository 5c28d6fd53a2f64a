"""What every process does first that a command has started to help it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def end_with_command() -> None:
    """Leave Ctrl-C to the command that started this process, and end at once when the command is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends its helpers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # nobody would take what it makes
