"""Processes behind docs/claims.md: none of them outlives the command, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from st_llm_cli.stages.helper_process import end_with_command
from st_llm_cli.stages.launch import LAUNCHER

STLLM = """
from st_llm_cli.stages.launch import end_with_launcher

end_with_launcher()
from st_llm_cli.__main__ import run

run()
"""
"""`stllm`, which ends soon after the process that started it is gone."""


@contextmanager
def processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes to work side by side; an error that leaves the block ends them at once."""
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=end_with_command)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def stllm(*arguments: str) -> None:
    """Run `stllm` to its end.

    Raises:
        RuntimeError: If it fails, with what it said.
    """
    command = [sys.executable, "-c", STLLM, *arguments]
    environment = {**os.environ, LAUNCHER: str(os.getpid())}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip() or f"stllm {arguments[0]} ended with {ran.returncode}")


def settings(values: Sequence[str]) -> list[str]:
    """Settings as the command line takes them."""
    return [part for value in values for part in ("--set", value)]
