"""One entry on disk: a safetensors file whose header says what it is and how to see that it is whole.

    8 bytes     length of the header
    header      JSON: under `__metadata__` the format, the key, notes, two checksums of the data and one of
                the header itself; under `tokens` type and shape
    data        the tokens

Any reader of safetensors can open it. It is written here rather than by that library because the library
orders metadata differently each time: a header must have one form only, so that any change shows.

Two checksums: `sha256` finds all damage and takes 0.6 ms per MB, too slow for each read. `sum` adds the
data up as 64-bit numbers, at the speed of memory: it finds every flipped bit, every lost page that was not
empty and every cut, and is checked on every read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.key import digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from st_llm_cli.tokens.key import Key

FORMAT = "stllm tokens 1"
SUFFIX = ".safetensors"
MOST_HEADER_BYTES = 64 * 2**20
ALIGNMENT = 8
TYPE_NAMES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
"""PyTorch's names of types, and those of safetensors."""


class DamagedEntryError(CacheError):
    """A file of the cache is not what was written."""


class Header(NamedTuple):
    """What the header of an entry says."""

    key: str
    """The key, in canonical form."""
    about: dict[str, Any]
    """Notes of whoever made the tokens: `seconds`, `video` …"""
    dtype: str
    """`float16` …"""
    shape: tuple[int, ...]
    sum: str
    """Sum of the data, see `add_up`."""
    sha256: str
    """Digest of the data."""
    data_start: int
    """Where the data begins, in bytes from the start of the file."""
    data_bytes: int
    """Length of the data."""


@dataclass(frozen=True, eq=False)
class Entry:
    """Tokens, and what was noted about them."""

    tokens: Tensor
    """[frames, tokens, dim], on the CPU."""
    about: Mapping[str, Any]
    """Notes of whoever made the tokens."""


def pack(key: Key, tokens: Tensor, about: Mapping[str, Any]) -> tuple[bytes, memoryview]:
    """Turn tokens into the two parts of a file: header and data.

    Raises:
        ValueError: If the tokens are of another type than the key says, or of one that cannot be kept.
    """
    import torch

    dtype = str(tokens.dtype).removeprefix("torch.")
    if dtype != key.dtype or dtype not in TYPE_NAMES:
        raise ValueError(f"tokens of type {dtype} under a key of type {key.dtype}")
    flat = tokens.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()  # [bytes]
    metadata = {
        "format": FORMAT,
        "key": key.canonical(),
        "about": json.dumps(about, sort_keys=True),
        "sum": add_up(flat),
        "sha256": hashlib.sha256(flat.data).hexdigest(),
    }
    array = {"dtype": TYPE_NAMES[dtype], "shape": list(tokens.shape), "data_offsets": [0, flat.nbytes]}
    return _header_bytes(metadata, array), flat.data


def read_entry(path: Path, key: Key | None = None) -> Entry:
    """Read an entry and see that it is whole, by its sum.

    Args:
        path: The file.
        key: What it must be about; None takes whatever it says.

    Raises:
        DamagedEntryError: If it is not what was written.
        OSError: If the file is not there or cannot be read.
    """
    import torch

    with open(path, "rb", buffering=0) as file:
        header = read_header(file, path)
        if key is not None and header.key != key.canonical():
            raise _damaged(path, "it is about something else than its name says")
        data = torch.empty(header.data_bytes, dtype=torch.uint8)
        _read_into(file, data.numpy().data, path)
    if add_up(data.numpy()) != header.sum:
        raise _damaged(path, "its tokens are not those that were written")
    tokens = data.view(getattr(torch, header.dtype)).view(header.shape)
    return Entry(tokens, header.about)


def verify_entry(path: Path, name: str | None = None) -> Header:
    """Read an entry and see that every byte is as written, and that its name fits.

    Args:
        path: The file.
        name: What it will be called; as it is if None.

    Raises:
        DamagedEntryError: Saying what is wrong.
        OSError: If the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        header = read_header(file, path)
        found = hashlib.sha256()
        while block := file.read(2**20):
            found.update(block)
    if found.hexdigest() != header.sha256:
        raise _damaged(path, "its tokens are not those that were written")
    if (name or path.name) != digest_of(header.key) + SUFFIX:
        raise _damaged(path, "it is about something else than its name says")
    return header


def read_header(file: FileIO, path: Path) -> Header:
    """Read the header of an entry, and see that it is as written and that the file is as long as it says.

    Args:
        file: The open file, at its start; left where the data begins.
        path: Its name, for errors.

    Raises:
        DamagedEntryError: If it is not.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= MOST_HEADER_BYTES:
        raise _damaged(path, "it has no header")
    try:
        header = _interpret(file.read(length))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "its header is not the one that was written") from error
    size, expected = os.fstat(file.fileno()).st_size, header.data_start + header.data_bytes
    if size != expected:
        raise _damaged(path, f"it is {size} bytes long instead of {expected}")
    return header


def _interpret(raw: bytes) -> Header:
    """Take a header apart.

    Raises:
        ValueError: If it is not to the last byte what `pack` wrote; so do the errors of missing parts.
    """
    whole = json.loads(raw)
    metadata, array = whole["__metadata__"], whole["tokens"]
    del metadata["header"]  # compared below, with all the rest
    if _header_bytes(metadata, array)[8:] != raw or metadata["format"] != FORMAT:
        raise ValueError("changed since it was written")
    return Header(
        key=metadata["key"],
        about=json.loads(metadata["about"]),
        dtype={short: name for name, short in TYPE_NAMES.items()}[array["dtype"]],
        shape=tuple(array["shape"]),
        sum=metadata["sum"],
        sha256=metadata["sha256"],
        data_start=8 + len(raw),
        data_bytes=array["data_offsets"][1],
    )


def add_up(data: NDArray[np.uint8]) -> str:
    """Sum of bytes taken as 64-bit numbers, 16 hexadecimal digits; a rest of less than 8 bytes counts too."""
    words = len(data) // 8 * 8
    total = int(data[:words].view("<u8").sum(dtype=np.uint64))
    total += int.from_bytes(data[words:].tobytes(), "little")
    return f"{total % 2**64:016x}"


def _header_bytes(metadata: Mapping[str, str], array: Mapping[str, Any]) -> bytes:
    """The one form of a header, its length before it."""
    whole = {"__metadata__": {**metadata, "header": _check(metadata, array)}, "tokens": array}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)  # the data begins at a multiple of 8, as safetensors wants it
    return len(text).to_bytes(8, "little") + text


def _check(metadata: Mapping[str, str], array: Mapping[str, Any]) -> str:
    return digest_of(json.dumps([metadata, array], sort_keys=True))


def _read_into(file: FileIO, target: memoryview, path: Path) -> None:
    done = 0
    while done < len(target):
        count = file.readinto(target[done:])
        if not count:
            raise _damaged(path, f"it ends after {done} of {len(target)} bytes of tokens")
        done += count


def _damaged(path: Path, what: str) -> DamagedEntryError:
    return DamagedEntryError(f"damaged: {what}", where=str(path), fix="it is made again when needed")
