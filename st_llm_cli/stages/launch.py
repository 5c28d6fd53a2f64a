"""Start the same command in several processes of this machine, and wait for all of them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Self

from st_llm_cli.errors import TrainingError, UsageError
from st_llm_cli.stages.ending import told_to_stop

log = logging.getLogger(__name__)

SECONDS_TO_WRITE = 20.0
"""How long process 0 may take to end what it is at, once another was killed: it may be writing a result."""
SECONDS_TO_SPEAK = 2.0
"""How long the others may take to end where nothing but their words can be lost."""
SECONDS_BETWEEN_LOOKS = 0.5
NOTED = "its last words:"
REFUSES = "stllm: error: "
"""What an error begins with that says what, where and what to do."""
LOST = 3
"""Exit code of a process that failed because another had ended."""
STOPPED = 130
"""Exit code of a process that was told to stop."""
ENDS_OF_A_STOP = (STOPPED, LOST, -signal.SIGTERM, -signal.SIGINT)
"""How processes that were told to stop end, also where they could not listen yet or wait for each other."""
LAUNCHER = "STLLM_LAUNCHER"
"""Environment variable that tells a process which one has started it."""


def is_launched() -> bool:
    """Whether this process is one of several that a launcher started: ours, torchrun, srun or DeepSpeed's."""
    return "RANK" in os.environ


def end_with_launcher() -> None:
    """End this process soon after `run_here` that started it is gone, by `kill -9` say.

    Otherwise it would train on unseen, in the folder in which the command given again goes on.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher is not None:
        threading.Thread(target=_watch, args=(int(launcher),), daemon=True).start()


def set_defaults() -> None:
    """Set for one of several processes what libraries look for when loaded, unless its launcher has."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP's advice about itself
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // beside)))


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGKILL)


def run_here(arguments: Sequence[str], processes: int, *, results: bool = True) -> int:
    """Run `stllm` in several processes of this machine, one for each GPU, or on the CPU where there is none.

    The first process speaks for all. Signals reach every process; if one fails, the others are ended.

    Args:
        arguments: Of `stllm`.
        processes: How many.
        results: Whether what the first has to say is a result, for standard output.

    Returns:
        Exit code of the first one that failed, else 0.

    Raises:
        UsageError: If there are fewer GPUs.
        TrainingError: If a process other than the first failed alone: with its error, or its last words.
        Interrupted: If they were told to stop before the first one could say so.
    """
    from st_llm_cli.training.scale import environment_of, free_port

    _check_gpus(processes)
    port = free_port()
    command = [sys.executable, "-m", "st_llm_cli", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        errors = [Path(folder) / f"process-{rank}" for rank in range(1, processes)]
        with Processes() as started:
            for rank in range(processes):
                environment = {**os.environ, **environment_of(rank, processes, port)}
                environment[LAUNCHER] = str(os.getpid())
                started.add(command, environment, None if rank == 0 else errors[rank - 1], results=results)
            failed = started.wait()
        if failed is None:
            return 0
        rank, code = failed
        if started.told and code in ENDS_OF_A_STOP and failed != (0, STOPPED):
            raise told_to_stop()
        if rank == 0 and code > 0:
            return code  # it has said why itself
        said = "" if rank == 0 else errors[rank - 1].read_text(encoding="utf-8", errors="replace").strip()
        raise _error_of(rank, code, said)


class Processes:
    """Processes that live and die together, and hear the signals that this one gets. For a `with` block."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []
        self.before: dict[int, object] = {}
        self.told = False
        """Whether a signal to stop was given to this process."""

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for process in self.all:
            if process.poll() is None:
                process.kill()
            process.wait()

    def add(
        self, command: list[str], environment: dict[str, str], errors: Path | None, *, results: bool
    ) -> None:
        """Start one; what it says goes to a file, if one is given."""
        out = None if results else sys.stderr
        quiet: IO[bytes] | None = None if errors is None else errors.open("wb")
        # A group of its own: Ctrl-C reaches this process alone, which passes it on once.
        self.all.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=out if errors is None else subprocess.DEVNULL,
                stderr=quiet,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        if quiet is not None:
            quiet.close()

    def wait(self) -> tuple[int, int] | None:
        """Wait for all of them; number and exit code of the one that failed, and not for another's sake."""
        ended: dict[int, int] = {}  # those that failed, in the order of their ends
        deadline = float("inf")
        while any(process.poll() is None for process in self.all) and time.monotonic() < deadline:
            for rank, process in enumerate(self.all):
                if rank not in ended and process.poll():
                    ended[rank] = process.returncode
                    deadline = min(deadline, time.monotonic() + _grace(rank, process.returncode))
            time.sleep(0.1)
        failed = [(rank, code) for rank, process in enumerate(self.all) if (code := process.poll())]
        guilty = [each for each in failed if each[1] != LOST] or failed
        first = next(iter(ended.items()), None)
        if first in guilty and guilty[0][0] != 0:  # where all failed alike, process 0 has said why
            return first
        return next(iter(guilty), None)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        for process in self.all:
            if process.poll() is None:
                process.send_signal(number)


def _check_gpus(processes: int) -> None:
    import torch

    there = torch.cuda.device_count()
    if there == 0:
        log.warning("no GPU here: %d processes share the CPU", processes)
    elif processes > there:
        raise UsageError(f"there are {there} GPUs here", where=f"--gpus {processes}", fix=f"--gpus {there}")


def _grace(rank: int, code: int) -> float:
    """Seconds until the others are ended, once a process has failed.

    On a GPU they may wait for it for minutes. Process 0 alone writes what is to last, and waits for the
    others before it writes anything that they could refuse; so it may be at that only where one was killed,
    left alone or told to stop.
    """
    refused = code > 0 and code not in (LOST, STOPPED)
    return SECONDS_TO_SPEAK if rank == 0 or refused else SECONDS_TO_WRITE


def _error_of(rank: int, code: int, said: str) -> TrainingError:
    where = f"process {rank}"
    _, refuses, error = f"\n{said}".rpartition(f"\n{REFUSES}")
    if code > 0 and refuses:
        return TrainingError(error, where=where)
    last = said.splitlines()[-1] if said else ""
    end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    return TrainingError(f"{end}; {NOTED} {last}" if last else end, where=where, fix=_fix(code))


def _fix(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the system may have run out of memory: use fewer processes or a smaller batch_size"
    return "the same command goes on from the last checkpoint"
