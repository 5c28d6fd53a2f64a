"""Weight files of any layout, read a file at a time: sharded or single, `.bin`, `.pth` or safetensors."""

from __future__ import annotations

import json
import math
import pickle
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from st_llm_cli.errors import CheckpointError
from st_llm_cli.json_text import parse_json
from st_llm_cli.model.locate import remedy

LAYOUTS = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "model.safetensors",
    "pytorch_model.bin",
)
"""What a folder of weights holds, in the order in which it is looked for."""


@dataclass(frozen=True)
class Header:
    """What is known of a tensor without reading its values."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Size of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


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
    weight_map = read_json(found).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError("names no weight files", where=str(found), fix=remedy(found))
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (source / name).exists()]
    if missing:
        raise CheckpointError(
            f"{len(missing)} of {len(names)} shards are missing: {', '.join(missing[:5])}",
            where=str(source),
            fix="download them again, or copy the whole folder",
        )
    return [source / name for name in names]


def tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Read one weight file, tensor by tensor; nothing but tensors is ever unpickled.

    The values stay on disk until they are used.

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


def headers(source: Path) -> dict[str, Header]:
    """Shape and type of every tensor of a checkpoint, by name.

    Raises:
        CheckpointError: If a file is missing or damaged, or two files hold the same name.
    """
    found: dict[str, Header] = {}
    for path in paths(source):
        for name, tensor in tensors(path):
            if name in found:
                what = f"{name} is in more than one weight file"
                raise CheckpointError(what, where=str(source), fix=remedy(source))
            found[name] = Header(tuple(tensor.shape), tensor.dtype)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: If the file is missing or is not a JSON object.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError("no such file", where=str(path), fix="check the folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"not JSON: {error}", where=str(path), fix=remedy(path)) from error
    if not isinstance(content, dict):
        raise CheckpointError("not a JSON object", where=str(path), fix=remedy(path))
    return content


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # Files of before PyTorch 1.6 are no zip archives, and only archives can be left on disk.
        on_disk = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=on_disk)
    except pickle.UnpicklingError as error:
        raise _refused_pickle(path, error) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error
    # LAVIS and MiniGPT-4 files keep the tensors one level down.
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            "holds something else than named tensors", where=str(path), fix="check the file"
        )
    return state


def _refused_pickle(path: Path, error: Exception) -> CheckpointError:
    """Tell a pickle that asks for more than tensors from one that is damaged."""
    if asked := re.search(r"GLOBAL (\S+)", str(error)):
        return CheckpointError(
            f"asks to run code when it is read ({asked[1]}), which is never done",
            where=str(path),
            fix="save its tensors alone, in a place you trust, and give that file",
        )
    return _damaged(path, pickle.UnpicklingError("no tensors can be read from it"))


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    what = "an empty file" if path.stat().st_size == 0 else f"damaged, cut short or no weight file: {reason}"
    return CheckpointError(what, where=str(path), fix=remedy(path))
