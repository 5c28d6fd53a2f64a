"""Tensors of other checkpoints → one of ours: settled on names and shapes first, then written.

Nothing is written before every tensor is accounted for, and nothing stays behind when writing fails.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.checkpoint import check_weights, expected_shapes, listed
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.file_modes import follow_umask
from st_llm_cli.model.layouts import Layout, recognise
from st_llm_cli.model.new_parts import new_tensors, read_by_new_parts
from st_llm_cli.model.sizes import Shapes
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers, save_tokenizers
from st_llm_cli.model.weight_files import Header

SHARD_BYTES = 2 * 1024**3
"""Size at which a weight file of ours is closed: what a conversion holds in memory."""


@dataclass(frozen=True)
class Offer:
    """What a file or folder has for the model."""

    source: Path
    layout: Layout
    """How its keys are read."""
    headers: dict[str, Header] = field(default_factory=dict)
    """Shape and type by our name."""
    keys: dict[str, str] = field(default_factory=dict)
    """Our name → its own."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Its keys that are read past, with the reason."""
    unknown: list[str] = field(default_factory=list)
    """Its keys that are not understood."""


@dataclass(frozen=True)
class ImportReport:
    """What became of every tensor."""

    taken: dict[str, int] = field(default_factory=dict)
    """How many tensors found a place, by the file or folder they came from."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Keys read past, with the reason."""
    new: dict[str, str] = field(default_factory=dict)
    """Our names that no file fills, with how they start."""
    missing: dict[str, str] = field(default_factory=dict)
    """Our names that nothing fills and that must not start anew, with the keys their file would have."""
    unexpected: list[str] = field(default_factory=list)
    """Their keys that have no place in the model."""
    mis_shaped: list[str] = field(default_factory=list)
    """`key: found [..], expected [..]`."""

    @property
    def loaded(self) -> int:
        """How many tensors found a place."""
        return sum(self.taken.values())

    @property
    def problems(self) -> list[str]:
        """Everything that keeps the import from being trusted, one line each."""
        return [
            *(f"missing {key}, here {name}" for name, key in self.missing.items()),
            *(f"unexpected {key}" for key in self.unexpected),
            *(f"mis-shaped {line}" for line in self.mis_shaped),
        ]


@dataclass(frozen=True)
class Conversion:
    """An import of which everything is settled and nothing is written."""

    config: StllmConfig
    tokenizers: Tokenizers
    picks: list[tuple[Path, dict[str, str]]]
    """Of each source, the keys that are taken and our names for them."""
    grown: dict[str, int]
    """Our names that get more rows than the file has, and how many."""
    dtype: torch.dtype | None
    """Type to store; as found if None."""
    report: ImportReport

    @property
    def files(self) -> list[Path]:
        """Weight files that will be read."""
        return [path for source, _ in self.picks for path in weight_files.paths(source)]


def read_offer(
    source: Path,
    *,
    reads_question: bool,
    layout: Layout | None = None,
    parts: Collection[str] | None = None,
) -> Offer:
    """Read the names and shapes of a source.

    Args:
        source: Weight file or folder.
        reads_question: Whether the model's Q-Former reads the question.
        layout: How its keys are read; told from the keys if None.
        parts: Take these parts of our model only, and do not mind what else it holds.

    Raises:
        CheckpointError: If a file is missing, damaged, or of no known kind.
    """
    headers = weight_files.headers(source)
    return make_offer(source, headers, reads_question=reads_question, layout=layout, parts=parts)


def make_offer(
    source: Path,
    headers: Mapping[str, Header],
    *,
    reads_question: bool,
    layout: Layout | None = None,
    parts: Collection[str] | None = None,
) -> Offer:
    """Sort the tensors of a source by our names; arguments as for `read_offer`."""
    layout = layout or recognise(headers, source, reads_question=reads_question)
    offer = Offer(source, layout)
    for key, header in headers.items():
        name = layout.our_name(key)
        if reason := layout.why_ignored(key):
            offer.ignored[key] = reason
        elif parts is not None and (name is None or name.split(".")[0] not in parts):
            offer.ignored[key] = "not needed"
        elif name is None or name in offer.keys:
            offer.unknown.append(key)
        else:
            offer.keys[name] = key
            offer.headers[name] = header
    return offer


def joint_shapes(offers: Sequence[Offer]) -> Shapes:
    """Shape of everything on offer, by our name; what comes first counts."""
    shapes: Shapes = {}
    for offer in offers:
        for name, header in offer.headers.items():
            shapes.setdefault(name, header.shape)
    return shapes


def settle(
    offers: Sequence[Offer],
    config: StllmConfig,
    tokenizers: Tokenizers,
    *,
    dtype: torch.dtype | None = None,
    may_be_new: Collection[str] = (),
    may_grow: Collection[str] = (),
) -> Conversion:
    """Hold what is on offer against the model, on meta tensors.

    Args:
        offers: In the order in which they are asked.
        config: Configuration of the model.
        tokenizers: Its tokenizers.
        dtype: Type to store; as found if None.
        may_be_new: Parts of our model that start anew where no file has them.
        may_grow: Our names that may have fewer rows in the file than in the model.

    Returns:
        The conversion; its report may have problems.
    """
    expected, tied = expected_shapes(config)
    wanted = {name: shape for name, shape in _with_halves(expected, offers).items() if name not in tied}
    picks, missing = _pick(offers, wanted)
    new = _start_anew(missing, may_be_new, picks)
    grown, mis_shaped = {}, []
    for offer, keys in zip(offers, picks, strict=True):
        for key, name in keys.items():
            found, shape = offer.headers[name].shape, wanted[name]
            if name in may_grow and found[1:] == shape[1:] and found[0] < shape[0]:
                grown[name] = shape[0] - found[0]
                new[name] = f"the last {grown[name]} of {shape[0]} rows, for new tokens: random"
            elif found != shape:
                mis_shaped.append(f"{key}: found {list(found)}, expected {list(shape)}")
    ignored, unexpected = _left_over(offers, picks, expected, tied)
    report = ImportReport(
        taken={str(offer.source): len(keys) for offer, keys in zip(offers, picks, strict=True)},
        ignored=ignored,
        new=new,
        missing={name.partition(":")[0]: _their_key(name, offers) for name in missing if name not in new},
        unexpected=unexpected,
        mis_shaped=mis_shaped,
    )
    read = [(offer.source, keys) for offer, keys in zip(offers, picks, strict=True) if keys]
    return Conversion(config, tokenizers, read, grown, dtype, report)


def write(conversion: Conversion, destination: Path, step: Callable[[str], None] = lambda name: None) -> None:
    """Write the checkpoint; a folder of that name appears only when it is whole.

    Args:
        conversion: With a report that has no problems.
        destination: Folder that does not exist, or is empty.
        step: Told the name of every weight file that is through.

    Raises:
        CheckpointError: If a file cannot be read or written, or the disk is too small.
    """
    assert not conversion.report.problems
    refuse_taken(destination)
    _check_space(conversion, destination)
    with appearing_whole(destination) as folder:
        stream = _stored(conversion, step)
        weight_map, total, stored = _write_shards(folder, stream)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
        save_tokenizers(conversion.tokenizers, folder)
        config = conversion.config
        config.dtype = conversion.dtype or stored
        config.architectures = [StllmForConditionalGeneration.__name__]
        check_weights(folder, config)
        config.save_pretrained(folder)


def refuse_problems(report: ImportReport, source: Path, fix: str) -> None:
    """Refuse a conversion that does not account for every tensor.

    Raises:
        CheckpointError: Listing what is missing, unexpected or mis-shaped.
    """
    if report.problems:
        what = f"{len(report.problems)} tensors do not fit the model:{listed(report.problems)}"
        raise CheckpointError(what, where=str(source), fix=fix)


def refuse_taken(destination: Path) -> None:
    """Refuse a destination that holds anything.

    Raises:
        CheckpointError: If it does.
    """
    if destination.is_file():
        raise CheckpointError("is a file", where=str(destination), fix="name a new folder")
    if destination.is_dir() and any(destination.iterdir()):
        what = "already holds a checkpoint" if (destination / "config.json").exists() else "is not empty"
        raise CheckpointError(what, where=str(destination), fix="name a new folder")


def _with_halves(expected: Shapes, offers: Sequence[Offer]) -> Shapes:
    """Ask for the halves of an attention bias where a file has one of them, else for the whole."""
    wanted: Shapes = {}
    for name, shape in expected.items():
        halves = (f"{name}:q", f"{name}:v")
        if any(half in offer.keys for offer in offers for half in halves):
            wanted |= dict.fromkeys(halves, (shape[0] // 3,))
        else:
            wanted[name] = shape
    return wanted


def _pick(offers: Sequence[Offer], wanted: Shapes) -> tuple[list[dict[str, str]], list[str]]:
    """Take each tensor from the first that has it: per offer its keys with our names, and what none has."""
    picks: list[dict[str, str]] = [{} for _ in offers]
    missing = []
    for name in wanted:
        number = next((i for i, offer in enumerate(offers) if name in offer.keys), None)
        if number is None:
            missing.append(name)
        else:
            picks[number][offers[number].keys[name]] = name
    return picks, missing


def _start_anew(
    missing: list[str], may_be_new: Collection[str], picks: list[dict[str, str]]
) -> dict[str, str]:
    """Say how those of the missing start that may: parts of which nothing was found."""
    found = {name.split(".")[0] for keys in picks for name in keys.values()}
    anew = set(may_be_new) - found
    return {name: NEW[part] for name in missing if (part := name.split(".")[0]) in anew}


def _left_over(
    offers: Sequence[Offer], picks: list[dict[str, str]], expected: Shapes, tied: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Account for the keys nobody took: ignored with a reason, or unexpected."""
    ignored: dict[str, str] = {}
    unexpected: list[str] = []
    for offer, taken in zip(offers, picks, strict=True):
        ignored |= offer.ignored
        unexpected += offer.unknown
        for name, key in offer.keys.items():
            if key in taken:
                continue
            if name in tied:
                ignored[key] = f"same tensor as {tied[name]}"
            elif name.partition(":")[0] in expected:
                ignored[key] = "taken from another file"
            else:
                unexpected.append(key)
    return ignored, unexpected


def _their_key(name: str, offers: Sequence[Offer]) -> str:
    """Name a missing tensor as the file would that has the most of its part."""
    part = name.split(".")[0]
    nearest = max(offers, key=lambda offer: sum(known.split(".")[0] == part for known in offer.keys))
    return nearest.layout.their_name(name) or "a tensor"


def _stored(conversion: Conversion, step: Callable[[str], None]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of our checkpoint, in the type to store; new ones come last."""
    wanted = read_by_new_parts(conversion.config, conversion.report.new)
    kept: dict[str, Tensor] = {}
    sizes: Counter[torch.dtype] = Counter()
    for name, tensor in _read(conversion, step):
        if name in wanted:
            kept[name] = tensor
        sizes[tensor.dtype] += tensor.numel()
        yield name, _grow(tensor, conversion.grown.get(name, 0), conversion.config)
    main = sizes.most_common(1)[0][0]
    whole = [name for name in conversion.report.new if name not in conversion.grown]
    for name, tensor in new_tensors(conversion.config, whole, kept).items():
        yield name, tensor.to(main)


def _read(conversion: Conversion, step: Callable[[str], None]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that is taken from a file, by our name."""
    halves: dict[str, Tensor] = {}
    for source, names in conversion.picks:
        for path in weight_files.paths(source):
            for key, tensor in weight_files.tensors(path):
                if key in names:
                    stored = tensor.to(conversion.dtype or tensor.dtype)
                    _refuse_unsound(key, tensor, stored, path)
                    yield from _whole(names[key], stored, halves)
            step(path.name)


def _refuse_unsound(key: str, found: Tensor, stored: Tensor, path: Path) -> None:
    """Refuse a tensor that holds NaN or infinity, or would in the type to store."""
    bad = int((~torch.isfinite(stored)).sum())
    if bad == 0:
        return
    of = f"{bad} of its {stored.numel()} numbers"
    if bool(torch.isfinite(found).all()):
        what, fix = (
            f"{key}: {of} are too large for {stored.dtype}".replace("torch.", ""),
            "choose another `dtype`",
        )
    else:
        what = f"{key}: {of} are NaN or infinite, as after a training that went astray"
        fix = "download the file again, or take an earlier checkpoint"
    raise CheckpointError(what, where=str(path), fix=fix)


def _whole(name: str, tensor: Tensor, halves: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Pass a tensor on, but hold half a qkv bias back until the other half comes; keys have no bias."""
    stem, _, half = name.partition(":")
    if not half:
        yield name, tensor
        return
    halves[name] = tensor
    if f"{stem}:q" in halves and f"{stem}:v" in halves:
        q, v = halves.pop(f"{stem}:q"), halves.pop(f"{stem}:v")
        yield stem, torch.cat([q, torch.zeros_like(q), v])


def _grow(tensor: Tensor, rows: int, config: StllmConfig) -> Tensor:
    """Give an embedding rows for new tokens, [tokens, dim] → [tokens+rows, dim], as transformers does."""
    if rows == 0:
        return tensor
    std = getattr(config.text_config, "initializer_range", 0.02)
    generator = torch.Generator().manual_seed(0)
    new = torch.randn(rows, tensor.shape[1], generator=generator) * std
    return torch.cat([tensor, new.to(tensor.dtype)])


def _write_shards(
    folder: Path, stream: Iterable[tuple[str, Tensor]]
) -> tuple[dict[str, str], int, torch.dtype]:
    """Write files of some `SHARD_BYTES` each; return where each tensor is, all bytes and the main type."""
    shard: dict[str, Tensor] = {}
    names: list[list[str]] = []
    sizes: Counter[torch.dtype] = Counter()
    size = 0

    def close() -> None:
        nonlocal size
        save_file(shard, folder / f"{len(names)}.part", metadata={"format": "pt"})
        names.append(list(shard))
        shard.clear()
        size = 0

    for name, tensor in stream:
        num_bytes = tensor.numel() * tensor.element_size()
        if shard and size + num_bytes > SHARD_BYTES:
            close()
        shard[name] = tensor.contiguous()
        size += num_bytes
        sizes[tensor.dtype] += num_bytes
    close()
    weight_map: dict[str, str] = {}
    for number, held in enumerate(names):
        file_name = f"model-{number + 1:05d}-of-{len(names):05d}.safetensors"
        (folder / f"{number}.part").rename(folder / file_name)
        weight_map |= dict.fromkeys(held, file_name)
    return weight_map, sum(sizes.values()), sizes.most_common(1)[0][0]


@contextmanager
def appearing_whole(destination: Path) -> Iterator[Path]:
    """Give a folder to write to, which gets its name at the end; on failure it goes.

    Raises:
        CheckpointError: If something in it cannot be written.
    """
    partial = destination.with_name(f".{destination.name}.importing-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        follow_umask(partial)
        if destination.is_dir():
            destination.rmdir()  # empty: checked before
        partial.rename(destination)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"cannot be written: {reason}", where=str(destination), fix="make room, or name another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_space(conversion: Conversion, destination: Path) -> None:
    shapes, _ = expected_shapes(conversion.config)
    # Found as they are, tensors have two bytes per number or more.
    width = (conversion.dtype or torch.float16).itemsize
    needed = width * sum(math.prod(shape) for shape in shapes.values())
    above = next(path for path in (destination, *destination.absolute().parents) if path.exists())
    free = shutil.disk_usage(above).free
    if free < needed:
        raise CheckpointError(
            f"the checkpoint needs {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free",
            where=str(destination),
            fix="make room, or name another place",
        )


NEW = {
    "projection": "random",
    "global_local": "as ST-LLM starts it: random down, zero up",
    "masked_video_decoder": "random",
    "bt_adapter": "copies of the last vision blocks, no change over time",
}
"""Parts that a starting point may lack, and how they start."""
