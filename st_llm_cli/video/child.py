"""The decoding process: reads requests from standard input, writes clips or errors to standard output.

A path instead of a request asks whether the file can be opened; the answer is None or an error.

Started by `worker.py`; run by `python -m st_llm_cli.video.child`.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from st_llm_cli.errors import StllmError
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.container import open_video
from st_llm_cli.video.decode import decode

GRACE_SECONDS = 5.0


def serve() -> None:
    """Answer requests until standard input closes."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Ctrl-C goes to all processes of a terminal: the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pickle.dump("ready", answers)
    answers.flush()
    while True:
        try:
            folder, deadline, request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        os.chdir(folder)
        _die_after(deadline + GRACE_SECONDS)
        answer: Clip | StllmError | None = None
        try:
            if isinstance(request, Path):
                with open_video(request):
                    pass
            else:
                answer = decode(request)
        except StllmError as error:
            answer = error
        _die_after(0)
        # Protocol 5 writes the pictures straight from their memory.
        pickle.dump(answer, answers, protocol=5)
        answers.flush()
        del answer, request


def _die_after(seconds: float) -> None:
    """Have the system end this process, whatever it hangs in; 0 calls that off.

    The parent kills a child that is late. This is for a parent that was itself killed.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    serve()
