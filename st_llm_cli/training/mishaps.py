"""What ends a training run from outside, in words that say what to change."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from st_llm_cli.errors import LostProcess, TrainingError
from st_llm_cli.training.saving import check_pickles, last_checkpoint, start_writing, what_is_left
from st_llm_cli.training.scale import process_count


@contextmanager
def explained(stage: str, folder: Path) -> Iterator[None]:
    """Turn running out of memory, disk or company, and damage, into an error that says what to change.

    Args:
        stage: Name of the stage.
        folder: Where its checkpoints on the way are.

    Raises:
        TrainingError: In place of the library's error.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, SafetensorError) as error:
        where = f"stage '{stage}'"
        if _is_memory(error):
            what = f"out of memory; {what_is_left(folder)}"
            raise TrainingError(what, where=where, fix=LESS_MEMORY) from error
        if _is_disk(error):
            start_writing(folder)  # half a checkpoint takes the room that is missing
            what = f"no space left to write a checkpoint; {what_is_left(folder)}"
            fix = "free some space, and the same command goes on"
            raise TrainingError(what, where=str(folder), fix=fix) from error
        last = last_checkpoint(folder)
        if last is not None and UNREADABLE in str(error):
            check_pickles(last)
        if process_count() > 1 and _is_lost(error):
            what = f"another process of this run has ended; {what_is_left(folder)}"
            raise LostProcess(
                what, where=where, fix="see what it says, then give the same command"
            ) from error
        raise


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def _is_lost(error: BaseException) -> bool:
    # An OSError is about somebody else: what carries tensors raises RuntimeError.
    return isinstance(error, RuntimeError) and LOST.search(str(error)) is not None


def _is_disk(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if NO_SPACE.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


LESS_MEMORY = (
    "halve batch_size and double accumulate, or set gradient_checkpointing: true, and the run goes on; "
    "a new one may take model.lora, or deepspeed: zero2 with more GPUs"
)
NO_MEMORY = re.compile(
    "out of memory|not enough memory|can't allocate memory|bad_alloc|STATUS_ALLOC_FAILED", re.IGNORECASE
)
LOST = re.compile(
    r"Connection (closed|reset|refused)|closed by remote peer|remote process exit|Broken pipe"
    r"|communicator was aborted|socket has timed out",
    re.IGNORECASE,
)
"""What gloo, NCCL and PyTorch's store say when they speak to nobody."""
UNREADABLE = "PytorchStreamReader failed"
"""What torch.load says of a file that is not as it was written, without its name."""
# The second is all that torch.save says of a write that failed.
NO_SPACE = re.compile(
    r"No space left|os error 28|Disk quota|PytorchStreamWriter failed|unexpected pos", re.IGNORECASE
)
