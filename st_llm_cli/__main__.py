"""`python -m st_llm_cli` is the command `stllm`, which begins here too."""

import atexit
import errno
import multiprocessing
import os
import signal
import sys
from typing import NoReturn

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EPIPE, errno.EIO)


def run() -> None:
    """Run the command line, alone or as one of several processes that train together."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        _run()
        return
    from st_llm_cli.stages.launch import end_with_launcher, set_defaults

    end_with_launcher()
    set_defaults()
    try:
        _run()
    except SystemExit as end:
        _leave_at_once(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        _leave_at_once(1)
    _leave_at_once(0)


def _leave_at_once(code: int) -> NoReturn:
    """End one of several processes, all of whose work is done and on disk or has failed.

    Python would stop threads that are still inside the communication library, which ends some with SIGABRT,
    and wait for processes that draw samples, which leave signals to this one.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's own takes their end for a failure
    for child in multiprocessing.active_children():
        child.kill()
    atexit._run_exitfuncs()  # what a logger still has to send, say
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run() -> None:
    """Run the command line; Ctrl-C is quiet from the first import on, and so is a reader that has left.

    What cannot be written to standard output is an error of one line. A stream that the caller closed
    takes what is written and keeps nothing.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - stays open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        try:
            from st_llm_cli.cli.main import main

            main()
        finally:
            sys.stdout.flush()  # so that what is still held back fails here, where it can be told
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("st_llm_cli") or "--debug" in sys.argv:
            raise
        fix = f"stllm doctor names what mends it; if that fails too, pip install {error.name}"
        print(f"stllm: error: the package '{error.name}' is missing ({fix})", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        if error.errno != errno.EPIPE:
            print(f"stllm: error: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        # Python would flush once more when it leaves, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
        sys.exit(1)


if __name__ == "__main__":
    run()
