"""What this machine has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def usable_cores() -> int:
    """How many cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory_bytes() -> tuple[int | None, int | None]:
    """Memory of this machine and what of it is free; None where the system does not say."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None, None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return total, None
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return total, free[0] if free else None


def device_name(device: torch.device) -> str:
    """What a device is called; of a GPU with its memory and CUDA."""
    if device.type != "cuda":
        return device.type
    import torch

    properties = torch.cuda.get_device_properties(device)
    return f"{device} {properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
