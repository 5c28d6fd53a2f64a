"""One entry on disk: a safetensors file whose header says what it is and how to see that it is whole.

    8 bytes     length of the header
    header      JSON: under `__metadata__` the format, the key, notes, two checksums of the data and one of
                the header itself; under `tokens` type and shape
    data        the tokens

Any reader of safetensors can open it. It is written here rather than by that library, which leaves no place
for a digest of the header in the header.

Two checksums: `sha256` finds all damage and takes 0.6 ms per MB, too slow for each read. `sum` adds the
data up as 64-bit numbers, at the speed of memory: it finds every flipped bit, every lost page that was not
empty and every cut, and is checked on every read.

Tokens are read into memory of their own. Mapping the file instead would save the copy, and would end the
process rather than raise an error when a network disk or another node takes the file away.
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
ALIGNMENT = 64
_OPENING = b'{"__metadata__":{"header":"'
"""How a header begins; the digest of what comes before and after it follows."""
_DIGEST_BYTES = 40
_AFTER_DIGEST = len(_OPENING) + _DIGEST_BYTES
_decode = json.JSONDecoder().raw_decode  # half the time of json.loads, which counts where a read takes 0.3 ms
TYPE_NAMES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
"""PyTorch's names of types, and those of safetensors."""
_OUR_NAMES = {short: name for name, short in TYPE_NAMES.items()}


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
    """Sum of the data, see `add_up`; 16 hexadecimal digits."""
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
    used_at: float
    """When they were last used, as far as the file system was told; seconds since 1970."""


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
        "header": "",
        "format": FORMAT,
        "key": key.canonical(),
        "about": json.dumps(about),
        "sum": _sum_text(add_up(flat)),
        "sha256": hashlib.sha256(flat.data).hexdigest(),
    }
    array = {"dtype": TYPE_NAMES[dtype], "shape": list(tokens.shape), "data_offsets": [0, flat.nbytes]}
    whole = {"__metadata__": metadata, "tokens": array}
    text = json.dumps(whole, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text) + _DIGEST_BYTES) % ALIGNMENT)  # PyTorch likes data at multiples of 64
    rest = text.removeprefix(_OPENING)
    header = _OPENING + _seal(rest) + rest
    return len(header).to_bytes(8, "little") + header, flat.data


def read_entry(path: str | Path, key: str) -> Entry:
    """Read an entry and see that it is whole, by its sum.

    Args:
        path: The file.
        key: What it must be about: a key in canonical form.

    Raises:
        DamagedEntryError: If it is not what was written.
        OSError: If the file is not there or cannot be read.
    """
    import torch

    with FileIO(path) as file:
        status = os.fstat(file.fileno())
        whole = np.empty(status.st_size, dtype=np.uint8)  # [bytes of the file]
        _read_into(file, whole, path)
    length = int.from_bytes(whole[:8].tobytes(), "little")
    header = _understand(whole[8 : 8 + length].tobytes(), length, len(whole), path)
    if header.key != key:
        raise _damaged(path, "it is about something else than its name says")
    data = whole[header.data_start :]
    if _sum_text(add_up(data)) != header.sum:
        raise _damaged(path, "its tokens are not those that were written")
    tokens = torch.frombuffer(whole, dtype=getattr(torch, header.dtype), offset=header.data_start)
    tokens = tokens.view(header.shape)
    return Entry(tokens, header.about, status.st_mtime)


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
        header = read_header(file, os.fstat(file.fileno()).st_size, path)
        found = hashlib.sha256()
        while block := file.read(2**20):
            found.update(block)
    if found.hexdigest() != header.sha256:
        raise _damaged(path, "its tokens are not those that were written")
    if (name or path.name) != digest_of(header.key) + SUFFIX:
        raise _damaged(path, "it is about something else than its name says")
    return header


def read_header(file: FileIO, size: int, path: str | Path) -> Header:
    """Read the header of an entry, and see that it is as written and that the file is as long as it says.

    Args:
        file: The open file, at its start; left where the data begins.
        size: Of the file, in bytes.
        path: Its name, for errors.

    Raises:
        DamagedEntryError: If it is not.
    """
    length = int.from_bytes(file.read(8), "little")
    raw = file.read(length) if length < size else b""
    return _understand(raw, length, size, path)


def _understand(raw: bytes, length: int, size: int, path: str | Path) -> Header:
    """See that a header is as written, and that its file is as long as it says."""
    if len(raw) != length or not raw:
        raise _damaged(path, "it has no header")
    try:
        header = _interpret(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "its header is not the one that was written") from error
    expected = header.data_start + header.data_bytes
    if size != expected:
        raise _damaged(path, f"it is {size} bytes long instead of {expected}")
    return header


def _interpret(raw: bytes) -> Header:
    """Take a header apart.

    Raises:
        ValueError: If it is not to the last byte what `pack` wrote; so do the errors of missing parts.
    """
    rest = raw[_AFTER_DIGEST:]
    if raw[:_AFTER_DIGEST] != _OPENING + _seal(rest):
        raise ValueError("changed since it was written")
    whole, _ = _decode(raw.decode())
    metadata, array = whole["__metadata__"], whole["tokens"]
    if metadata["format"] != FORMAT:
        raise ValueError("of another format")
    return Header(
        key=metadata["key"],
        about=_decode(metadata["about"])[0],
        dtype=_OUR_NAMES[array["dtype"]],
        shape=tuple(array["shape"]),
        sum=metadata["sum"],
        sha256=metadata["sha256"],
        data_start=8 + len(raw),
        data_bytes=array["data_offsets"][1],
    )


def add_up(data: NDArray[np.uint8]) -> int:
    """Sum of bytes taken as 64-bit numbers; a rest of less than 8 bytes counts too."""
    words = len(data) // 8 * 8
    return int(np.add.reduce(data[:words].view("<u8"))) + int.from_bytes(data[words:].tobytes(), "little")


def _sum_text(total: int) -> str:
    return f"{total % 2**64:016x}"


def _seal(rest: bytes) -> bytes:
    """Digest of a header, given what follows the digest's place in it."""
    return hashlib.blake2b(_OPENING + rest, digest_size=_DIGEST_BYTES // 2).hexdigest().encode()


def _read_into(file: FileIO, target: NDArray[np.uint8], path: str | Path) -> None:
    done = 0
    while done < len(target):
        count = file.readinto(target[done:].data)
        if not count:
            raise _damaged(path, f"it ends {len(target) - done} bytes too early")
        done += count


def _damaged(path: str | Path, what: str) -> DamagedEntryError:
    return DamagedEntryError(f"damaged: {what}", where=str(path), fix="it is made again when needed")
