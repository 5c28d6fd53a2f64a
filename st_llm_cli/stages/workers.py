"""Worker processes of one command: each answers a share of an evaluation, and all end with the command."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.stages.eval_job import Job, Outcome, answer_job
from st_llm_cli.stages.helper_process import end_with_command
from st_llm_cli.stages.share import Share
from st_llm_cli.tokens.store import CacheUse

MOST_WORKERS = 256
GONE_SECONDS = 10.0
Message = str | Outcome | StllmError


def answer_with_workers(job: Job, count: int, step: Callable[[str], None]) -> Outcome:
    """Answer all questions of a job with several processes on this machine.

    Args:
        job: The evaluation.
        count: Processes, at least 1. Each loads the model.
        step: Called with the id of each question that is through.

    Raises:
        StllmError: As a worker raised it, or saying that one died.
    """
    outcomes: list[Outcome] = []
    with _started(job, count) as workers:
        while workers:
            for pipe in wait(list(workers)):
                assert isinstance(pipe, Connection)
                try:
                    message: Message = pipe.recv()
                except EOFError:
                    _check(workers.pop(pipe), job)
                    continue
                if isinstance(message, StllmError):
                    raise message
                if isinstance(message, Outcome):
                    outcomes.append(message)
                else:
                    step(message)
    return _together(outcomes)


def check_workers(count: int, share: Share | None) -> None:
    """Refuse a number of workers that cannot be meant.

    Raises:
        UsageError: If it is not above 0, too large, or given to one of several processes.
    """
    if not 1 <= count <= MOST_WORKERS:
        raise UsageError(f"{count} workers", where="--workers", fix=f"give 1 to {MOST_WORKERS}")
    if count > 1 and share is not None:
        what = f"this process is one of {share.count} already ({share.by})"
        raise UsageError(what, where="--workers", fix="start more processes instead, each with its share")


@contextmanager
def _started(job: Job, count: int) -> Iterator[dict[Connection, BaseProcess]]:
    """Start the workers; whatever happens, none is left behind."""
    # A fork of a process in which torch has threads can deadlock.
    context = multiprocessing.get_context("spawn")
    threads = None if "OMP_NUM_THREADS" in os.environ else max(1, (os.cpu_count() or 1) // count)
    workers: dict[Connection, BaseProcess] = {}
    started: list[BaseProcess] = []
    try:
        for index in range(count):
            here, there = context.Pipe(duplex=False)
            share = Share(index, count, "--workers")
            worker: BaseProcess = context.Process(target=_work, args=(job, share, threads, there))
            worker.start()
            there.close()  # so that the worker's end is the only one, and its death is seen
            workers[here] = worker
            started.append(worker)
        yield workers
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.join()


def _work(job: Job, share: Share, threads: int | None, messages: Connection) -> None:
    """Answer one share, in a process of its own."""
    end_with_command()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    os.environ["LOCAL_RANK"] = str(
        share.index
    )  # each takes a graphics card of its own, where there are several
    try:
        messages.send(answer_job(job, share, messages.send))
    except StllmError as error:
        messages.send(error)


def _check(worker: BaseProcess, job: Job) -> None:
    worker.join()
    if worker.exitcode:
        what = f"a worker ended with code {worker.exitcode}"
        raise StllmError(what, where=str(job.folder), fix="the same command goes on where it stopped")


def _together(outcomes: list[Outcome]) -> Outcome:
    uses = [outcome.use for outcome in outcomes]
    summed = {each.name: sum(getattr(use, each.name) for use in uses) for each in fields(CacheUse)}
    return Outcome(" ".join(sorted({outcome.device for outcome in outcomes})), CacheUse(**summed))
