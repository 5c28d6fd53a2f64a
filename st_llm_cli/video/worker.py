"""Decoding in a child process, which can be stopped: a reader that hangs or crashes costs one clip only.

Why a process of our own rather than multiprocessing: a fork of a process in which torch has threads can
deadlock; a spawn or forkserver imports the caller's script again, and may not start from a data loader's
worker. A child that runs `python -m` and speaks pickle over two pipes has none of these faults. It imports
neither torch nor transformers (0.3 s, 50 MB), stays for the next clips, and ends with its parent.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from st_llm_cli.errors import DecodeTimeoutError, StllmError, UsageError, VideoError
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.request import Request

START_SECONDS = 60.0
# decord and some decoders leak memory: no child lives long enough for that to matter.
CLIPS_PER_CHILD = 500


class DecodingProcess:
    """A child process that decodes one clip at a time. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None
        self._is_ready = False
        self._clips = 0
        self._is_closed = False

    def start(self) -> None:
        """Start the child without waiting for it, so that its imports run beside the caller's."""
        if self._child is not None and self._child.poll() is not None:
            # It died while it waited, of no clip's fault.
            self.stop()
        if self._child is not None or self._is_closed:
            return
        # What can be imported here can be imported there: a transform may come from the caller's own module.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
        }
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the child
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "st_llm_cli.video.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=environment,
        )
        self._is_ready = False
        self._clips = 0

    def read(self, request: Request, deadline: float) -> Clip:
        """Decode a clip.

        Args:
            request: What is wanted, checked.
            deadline: Seconds after which the child is killed. The time it takes to start does not count.

        Returns:
            The clip.

        Raises:
            DecodeTimeoutError: If the deadline passed.
            VideoError: If the child died, or the video cannot give the frames.
        """
        answer = self._ask(request, request, deadline)
        assert isinstance(answer, Clip), "the child answers with a clip or one of our errors"
        return answer

    def open(self, path: Path, deadline: float) -> None:
        """See whether PyAV can open a file and finds video in it; nothing is decoded.

        Args:
            path: The file.
            deadline: As for `read`.

        Raises:
            VideoError: As `open_video` does, or if the child died or was late.
        """
        self._ask(path, Request(path), deadline)

    def _ask(self, question: Request | Path, request: Request, deadline: float) -> object:
        """Have the child do one thing; `request` is for the words of errors."""
        try:
            message = pickle.dumps((os.getcwd(), deadline, question))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"the transform cannot be sent to the decoding process ({error})",
                where="transform",
                fix="define it at the top of a module, or decode here with deadline=None",
            ) from error
        self.start()
        if not self._is_ready:
            self._exchange(None, START_SECONDS, request)
            self._is_ready = True
        answer = self._exchange(message, deadline, request)
        self._clips += 1
        if self._clips >= CLIPS_PER_CHILD:
            self.stop()
        if isinstance(answer, StllmError):
            raise answer
        return answer

    def stop(self) -> None:
        """End the child at once, whatever it is doing. The next `read` starts another."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, self._messages):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """End the child for good. Another thread that is in `read` gets a VideoError."""
        self._is_closed = True
        child = self._child
        if child is not None:
            child.kill()

    def _exchange(self, message: bytes | None, deadline: float, request: Request) -> object:
        """Send a message and wait for the answer; on any failure, the child is gone afterwards."""
        child = self._child
        if child is None or self._is_closed:
            self.stop()
            raise VideoError("reading was stopped", where=str(request.path), fix="read it again")
        assert child.stdin is not None and child.stdout is not None
        limit = _TimeLimit(child, deadline)
        try:
            if message is not None:
                child.stdin.write(message)
                child.stdin.flush()
            answer = pickle.load(child.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise self._why_it_ended(request, deadline, limit.lift()) from error
        except BaseException:
            # Interrupted half-way: what the child still writes would be taken for the next clip.
            limit.lift()
            self.stop()
            raise
        if limit.lift():
            # The answer came as the child was being killed.
            self.stop()
        return answer

    def _why_it_ended(self, request: Request, deadline: float, is_late: bool) -> VideoError:
        child, messages = self._child, self._messages
        assert child is not None and messages is not None
        status = child.wait()
        messages.seek(0)
        lines = messages.read().decode(errors="replace").strip().splitlines()
        self.stop()
        if is_late:
            return DecodeTimeoutError(
                f"the reader '{request.reader}' did not finish within {deadline:.3g} s and was stopped",
                where=str(request.path),
                fix="raise the deadline, ask for fewer frames, or leave this clip out",
            )
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        last_words = f": {lines[-1][:200]}" if lines else ""
        return VideoError(
            f"the reader '{request.reader}' crashed ({how}{last_words})",
            where=str(request.path),
            fix="leave this clip out, or try another reader",
        )


class _TimeLimit:
    """Kills a child when its time is over, unless it is lifted before."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self._child = child
        self._lock = threading.Lock()
        self._is_lifted = False
        self._has_killed = False
        self._timer = threading.Timer(seconds, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def lift(self) -> bool:
        """Call the limit off, and say whether the child was killed before."""
        self._timer.cancel()
        with self._lock:
            self._is_lifted = True
            return self._has_killed

    def _kill(self) -> None:
        with self._lock:
            if not self._is_lifted:
                self._has_killed = True
                self._child.kill()


_idle: list[DecodingProcess] = []
"""Children of earlier calls that wait for the next one. list.append and list.pop are safe between threads."""


@contextmanager
def idle_process() -> Iterator[DecodingProcess]:
    """Lend a decoding process, started now if none is waiting."""
    process = take_idle()
    try:
        yield process
    finally:
        give_back(process)


def take_idle() -> DecodingProcess:
    """Take a decoding process that waits; a new one, not started yet, if none does."""
    try:
        return _idle.pop()
    except IndexError:
        return DecodingProcess()


def give_back(process: DecodingProcess) -> None:
    """Let a decoding process wait for the next clip."""
    _idle.append(process)


def warm_up() -> None:
    """Start a decoding process ahead of the first clip, without waiting for it."""
    if not _idle:
        process = DecodingProcess()
        process.start()
        _idle.append(process)


@atexit.register
def _stop_idle() -> None:
    while _idle:
        _idle.pop().stop()


# A forked copy of this process must not talk to the children of the original.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
