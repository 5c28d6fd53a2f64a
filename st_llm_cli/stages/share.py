"""Which share of a list this process works on, when several work on the same one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from st_llm_cli.errors import UsageError

Item = TypeVar("Item")

LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE"),
    # Not SLURM_NTASKS: that one is set in a batch script too, where a single process does all the work.
    "SLURM": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
}
"""Environment variables in which launchers say which process this is, and of how many."""


@dataclass(frozen=True)
class Share:
    """One of several equal shares."""

    index: int
    """From 0."""
    count: int
    by: str
    """Who said so: an option or a launcher."""

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `count`-th item. Shares are disjoint, and together they are the whole list."""
        return items[self.index :: self.count]


def share_of(given: str | None, environment: Mapping[str, str] = os.environ) -> Share | None:
    """Find out which share is this process's; None for the whole.

    Args:
        given: `2/8` for the second of eight; None asks the environment that torchrun or SLURM set.
        environment: Environment variables.

    Raises:
        UsageError: If what is given is not a share.
    """
    if given is not None:
        matched = re.fullmatch(r"(\d+)/(\d+)", given.strip())
        if matched is None or not 1 <= int(matched[1]) <= int(matched[2]):
            raise UsageError(
                f"'{given}' is not a share", where="--shard", fix="write 2/8 for the second of 8"
            )
        return Share(int(matched[1]) - 1, int(matched[2]), "--shard")
    for launcher, (index, count) in LAUNCHERS.items():
        if environment.get(index, "").isdigit() and environment.get(count, "").isdigit():
            return Share(int(environment[index]), int(environment[count]), launcher)
    return None


def device_of(share: Share | None, device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Give each process of a machine a graphics card of its own, where `auto` leaves the choice.

    Args:
        share: This process's share, if it has one.
        device: As asked for.
        environment: Environment variables.
    """
    import torch

    local = environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", ""))
    if share is None or device != "auto" or not local.isdigit() or torch.cuda.device_count() < 2:
        return device
    return f"cuda:{int(local) % torch.cuda.device_count()}"
