"""What a plan is made for: memory and speed of one device."""

from __future__ import annotations

import difflib
import os
import re
import time
from dataclasses import dataclass

import torch

from st_llm_cli.errors import UsageError

GB = 10**9
TERA = 10**12
CPU_OVERHEAD = 0.3 * GB
"""What training on a CPU takes beside its tensors and the heap's holes, by runs of 1.3 to 2.8 GB."""
CPU_OVERHEAD_16_BITS = 0.1 * GB
"""What it takes besides where it computes in 16 bits, by runs of 1.5 GB on two kinds of processors."""
CPU_HOLES = 0.15
"""Its heap's holes, by the same runs, where the C library is left as it is."""


@dataclass(frozen=True)
class Device:
    """One GPU, or the CPU."""

    name: str
    memory: float
    """Bytes."""
    flops: float
    """Peak of dense matrix products in the type that is trained in, operations per second."""
    efficiency: float = 0.4
    """Share of the peak that training reaches. The released run reached about half on A100s."""
    overhead: float = 1.5 * GB
    """Bytes that belong to nobody: the driver's context, workspaces, what the allocator rounds up."""
    holes: float = 0.0
    """Bytes that lie unused between what is alive, as a share of the activations."""


def named_device(name: str | None, precision: str) -> Device:
    """Find a device: by name, as `80GB,312TF`, or the one that is here if None.

    Args:
        name: What `--device` says.
        precision: The stage's; a CPU is asked how fast it is in it.

    Raises:
        UsageError: If there is none of that name.
    """
    if name is None:
        name = _device_here()
    if name == "cpu":
        memory, flops = _main_memory(), _cpu_flops(precision)
        overhead = CPU_OVERHEAD + (0 if precision == "float32" else CPU_OVERHEAD_16_BITS)
        return Device("cpu", memory, flops, efficiency=0.5, overhead=overhead, holes=CPU_HOLES)
    if name.lower() in DEVICES:
        memory, teraflops = DEVICES[name.lower()]
        return Device(name.lower(), memory * GB, teraflops * TERA)
    custom = _CUSTOM.fullmatch(name.replace(" ", ""))
    if custom is not None and float(custom["memory"]) > 0 and float(custom["speed"]) > 0:
        return Device(name, float(custom["memory"]) * GB, float(custom["speed"]) * TERA)
    near = difflib.get_close_matches(name.lower(), DEVICES, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    fix = f"{', '.join(DEVICES)}, cpu, or memory and speed: '80GB,312TF'"
    raise UsageError(f"no device '{name}'{meant}", where="--device", fix=fix)


def peak_here() -> float | None:
    """Dense 16-bit operations a second of the GPU that is here; None without one that is in `DEVICES`."""
    fitting = _fitting_names() if torch.cuda.is_available() else []
    return DEVICES[fitting[0]][1] * TERA if fitting else None


def slowness_here(precision: str) -> float:
    """How many times as long as in float32 a matrix product takes here; 1 on a GPU.

    Many a processor without instructions for it computes in bfloat16 at a fiftieth of its speed.
    """
    if precision == "float32" or torch.cuda.is_available():
        return 1.0
    ones = torch.ones(128, 256), torch.ones(256, 256)
    narrow = [each.to(getattr(torch, precision)) for each in ones]
    return min(_seconds(*narrow) for _ in range(3)) / min(_seconds(*ones) for _ in range(3))


def _device_here() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    fitting = _fitting_names()
    properties = torch.cuda.get_device_properties(0)
    if not fitting:
        what = f"the speed of {properties.name} is not known"
        fix = (
            f"say it: --device '{properties.total_memory / GB:.0f}GB,…TF', dense bfloat16 from its data sheet"
        )
        raise UsageError(what, where="--device", fix=fix)
    return fitting[0]


def _fitting_names() -> list[str]:
    """Names in `DEVICES` that fit the first GPU."""
    properties = torch.cuda.get_device_properties(0)
    plain = re.sub(r"[^a-z0-9]", "", properties.name.lower())
    return [
        name
        for name, (memory, _) in DEVICES.items()
        if name.split("-")[0] in plain and abs(properties.total_memory / GB / memory - 1) < 0.15
    ]


def _main_memory() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _cpu_flops(precision: str) -> float:
    """Time a few matrix products of the size of a small language model's."""
    dtype = torch.float32 if precision == "float32" else getattr(torch, precision)
    left, right = torch.ones(640, 512, dtype=dtype), torch.ones(512, 1536, dtype=dtype)
    left @ right
    best = min(_seconds(left, right) for _ in range(5))
    return 2 * 640 * 512 * 1536 / best


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    began = time.perf_counter()
    left @ right
    return time.perf_counter() - began


_CUSTOM = re.compile(r"(?P<memory>\d+(?:\.\d+)?)GB,(?P<speed>\d+(?:\.\d+)?)TF(?:LOPS?)?", re.IGNORECASE)
DEVICES = {
    "h200": (141, 790),
    "h100": (80, 790),
    "a100-80g": (80, 312),
    "a100-40g": (40, 312),
    "l40s": (48, 362),
    "rtx4090": (24, 165),
    "rtx3090": (24, 71),
}
"""GB, and dense bfloat16 TFLOP/s: of data sheets; for Hopper as measured on long products (sheet: 989)."""
