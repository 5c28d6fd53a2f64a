"""Reading clips ahead of the one who uses them, in several processes and within bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from st_llm_cli.errors import StllmError
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.request import Request
from st_llm_cli.video.worker import DecodingProcess, give_back, take_idle

Outcome = tuple[Request, Clip | StllmError]


def read_ahead(
    requests: Iterable[Request],
    read: Callable[[DecodingProcess, Request], Clip | StllmError],
    workers: int,
    ahead: int,
    in_order: bool,
) -> Iterator[Outcome]:
    """Read clips in `workers` processes, at most `ahead` clips ahead.

    Args:
        requests: What is wanted; taken as needed.
        read: Reads one clip in a process, and gives errors back instead of raising them.
        workers: Number of processes.
        ahead: Clips under way or waiting to be taken.
        in_order: Whether the clips come in the order of the requests, or as each is ready.

    Yields:
        Each request with its clip or error. If the caller stops early, the processes are killed; else they
        wait for the next call.
    """
    processes = [take_idle() for _ in range(workers)]
    free: SimpleQueue[DecodingProcess] = SimpleQueue()
    for process in processes:
        free.put(process)

    def task(request: Request) -> Outcome:
        process = free.get()
        try:
            return request, read(process, request)
        finally:
            free.put(process)

    threads = ThreadPoolExecutor(workers, thread_name_prefix="read-clips")
    try:
        yield from _results(iter(requests), task, threads, ahead, in_order)
        while processes:
            give_back(processes.pop())
    finally:
        for process in processes:
            process.close()
        threads.shutdown(wait=True, cancel_futures=True)
        for process in processes:
            process.stop()


def _results(
    requests: Iterator[Request],
    task: Callable[[Request], Outcome],
    threads: ThreadPoolExecutor,
    ahead: int,
    in_order: bool,
) -> Iterator[Outcome]:
    """Keep `ahead` requests under way and give the results."""
    under_way: list[Future[Outcome]] = []
    while True:
        while len(under_way) < ahead and (request := next(requests, None)) is not None:
            under_way.append(threads.submit(task, request))
        if not under_way:
            return
        if in_order:
            future = under_way[0]
        else:
            done = wait(under_way, return_when=FIRST_COMPLETED).done
            future = next(candidate for candidate in under_way if candidate in done)
        under_way.remove(future)
        yield future.result()
        del future
