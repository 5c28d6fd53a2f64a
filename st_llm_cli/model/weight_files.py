"""Weight files of any layout, read a file at a time: sharded or single, `.bin`, `.pth` or safetensors."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from st_llm_cli.errors import CheckpointError

LAYOUTS = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "model.safetensors",
    "pytorch_model.bin",
)
"""What a folder of weights holds, in the order in which it is looked for."""


def paths(source: Path) -> list[Path]:
    """List the weight files of a folder, or the file itself.

    Raises:
        CheckpointError: If there are none, or the index names one that is missing.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise CheckpointError("no such file or folder", where=str(source), fix="check the path")
    found = next((source / name for name in LAYOUTS if (source / name).exists()), None)
    if found is None:
        fix = f"a checkpoint folder holds one of {', '.join(LAYOUTS)}"
        raise CheckpointError("no weights in this folder", where=str(source), fix=fix)
    if found.suffix != ".json":
        return [found]
    names = sorted(set(read_json(found)["weight_map"].values()))
    missing = [name for name in names if not (source / name).exists()]
    if missing:
        raise CheckpointError(
            f"{len(missing)} of {len(names)} shards are missing: {', '.join(missing[:5])}",
            where=str(source),
            fix="download them again, or copy the whole folder",
        )
    return [source / name for name in names]


def tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Read one weight file; nothing but tensors is ever unpickled.

    Raises:
        CheckpointError: If the file is damaged, or holds something else than named tensors.
    """
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
        return
    yield from _read_pickle(path).items()


def shapes(source: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a checkpoint, by name, without holding more than a file in memory."""
    return {name: tuple(tensor.shape) for path in paths(source) for name, tensor in tensors(path)}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: If the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError("no such file", where=str(path), fix="check the folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"not JSON: {error}", where=str(path), fix="download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError("not a JSON object", where=str(path), fix="download it again")
    return content


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    # LAVIS and MiniGPT-4 files keep the tensors one level down.
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            "holds something else than named tensors", where=str(path), fix="check the file"
        )
    return state


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(f"cannot be read: {reason}", where=str(path), fix="download it again")
