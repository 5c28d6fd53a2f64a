"""Load a checkpoint of ours strictly: every tensor in its place, or an error that lists what is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers.utils import logging as transformers_logging

from st_llm_cli.errors import CheckpointError, UsageError
from st_llm_cli.model import lora, weight_files
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.locate import CONFIG, locate
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers, load_tokenizers

RELEASED_TYPES = ("st_llm_hf",)
"""`model_type` of the released ST-LLM checkpoints."""


class Checkpoint(NamedTuple):
    """A loaded checkpoint."""

    model: StllmForConditionalGeneration
    """In evaluation mode, on its device."""
    tokenizers: Tokenizers
    folder: Path


def load_checkpoint(
    name: str, *, device: str = "auto", dtype: str = "auto", merged: bool = True
) -> Checkpoint:
    """Load a model to be talked to.

    Args:
        name: `tiny` (bundled), a checkpoint folder, a run folder, or a Hub id `owner/name[:subfolder]`.
        device: `auto` (cuda, else mps, else cpu), or `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `auto` (as stored, except that a CPU computes float16 in float32), `float32`, `bfloat16` or
            `float16`.
        merged: Whether LoRA matrices are worked into the language model's weights, or stay beside them.

    Raises:
        CheckpointError: If there is no such model, or its files are missing, damaged or do not fit.
        UsageError: If the device or type is unknown or not there.
    """
    place, wanted = choose_device(device), named_dtype(dtype)
    folder = locate(name)
    config = read_config(folder)
    if lora.is_adapter(folder):
        return _adapted(folder, config, device, dtype, merged)
    stored = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    if wanted is None:
        wanted = torch.float32 if place.type == "cpu" and stored == torch.float16 else stored
    check_weights(folder, config)
    tokenizers = load_tokenizers(folder, config)
    with _silent_transformers():
        loaded: Any = StllmForConditionalGeneration.from_pretrained(
            folder, config=config, dtype=wanted, local_files_only=True, output_loading_info=True
        )
    model, info = loaded
    _refuse(folder, [f"{kind} {key}" for kind, keys in info.items() for key in keys])
    return Checkpoint(model.eval().to(place), tokenizers, folder)


def _adapted(folder: Path, config: StllmConfig, device: str, dtype: str, merged: bool) -> Checkpoint:
    """Load a model that is kept as what was trained of it, and the model that this was added to."""
    adapter = lora.read_adapter(folder)
    try:
        base = load_checkpoint(adapter.base, device=device, dtype=dtype).model
    except CheckpointError as error:
        what = f"belongs to another model, which cannot be loaded: {error.what}"
        fix = f"bring {adapter.base} back, or name its new place in {lora.SETTINGS}"
        raise CheckpointError(what, where=str(folder), fix=fix) from error
    for name in METHOD_SETTINGS:
        setattr(base.config, name, getattr(config, name))
    lora.add_lora(base, adapter)
    lora.load_adapter(base, folder)
    if merged:
        lora.merge_lora(base)
    ready: Any = base.eval()  # type: ignore[no-untyped-call]
    return Checkpoint(ready.to(choose_device(device)), load_tokenizers(folder, config), folder)


def read_config(folder: Path) -> StllmConfig:
    """Read the configuration of one of our checkpoints.

    Raises:
        CheckpointError: If it is missing, damaged, or of another kind of model.
    """
    where = str(folder / CONFIG)
    content = weight_files.read_json(folder / CONFIG)
    kind = content.get("model_type")
    if kind in RELEASED_TYPES:
        what = "a checkpoint of the released code, which has another format"
        fix = f"run `stllm models import {folder} DEST --variant NAME` once, then use DEST"
        raise CheckpointError(what, where=str(folder), fix=fix)
    if kind != StllmConfig.model_type:
        what = f"a checkpoint of model type {kind!r}, not an ST-LLM"
        fix = "to start training from it, see `stllm models import --help`"
        raise CheckpointError(what, where=where, fix=fix)
    try:
        return StllmConfig.from_dict(content)
    except WRONG_CONFIG as error:
        what = f"a configuration that cannot work: {reason_of(error)}"
        raise CheckpointError(what, where=where, fix="correct it, or download it again") from error


def check_weights(folder: Path, config: StllmConfig) -> None:
    """Hold names and shapes of a folder's tensors against the model, before anything is loaded.

    Raises:
        CheckpointError: If a file is missing or damaged, or a tensor is missing, unexpected or mis-shaped.
    """
    found = {name: header.shape for name, header in weight_files.headers(folder).items()}
    expected, tied = expected_shapes(config)
    problems = [f"missing {name}" for name in expected if name not in found and name not in tied]
    problems += [f"unexpected {name}" for name in found if name not in expected]
    problems += [
        f"mis-shaped {name}: found {list(shape)}, expected {list(expected[name])}"
        for name, shape in found.items()
        if name in expected and shape != expected[name]
    ]
    _refuse(folder, problems)


def expected_shapes(config: StllmConfig) -> tuple[dict[str, tuple[int, ...]], Mapping[str, str]]:
    """Shape of every tensor a checkpoint holds, and those that may be left out as they are tied to another.

    Raises:
        CheckpointError: If no model can be made of this configuration.
    """
    try:
        with torch.device("meta"):
            model = StllmForConditionalGeneration(config)
    except (*WRONG_CONFIG, RuntimeError) as error:
        what = f"no model can be made of this configuration: {reason_of(error)}"
        raise CheckpointError(what, where=CONFIG, fix="correct it, or download it again") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return shapes, model.all_tied_weights_keys


def choose_device(name: str) -> torch.device:
    """Find the device asked for; `auto` takes cuda, else mps, else the CPU.

    Raises:
        UsageError: If there is no such device here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    have = [kind for kind, is_there in there.items() if is_there]
    if name == "auto":
        return torch.device(have[0])
    found = DEVICE_NAME.fullmatch(name)
    if found is None:
        raise UsageError(f"no device {name!r}", where="device", fix="auto, cpu, cuda, cuda:N or mps")
    if found["kind"] not in have:
        raise UsageError(f"no {found['kind']} device here", where="device", fix=f"there is {', '.join(have)}")
    if found["number"] and int(found["number"]) >= torch.cuda.device_count():
        fix = f"there are {torch.cuda.device_count()}, counted from 0"
        raise UsageError(f"no {name} here", where="device", fix=fix)
    return torch.device(name)


def named_dtype(name: str) -> torch.dtype | None:
    """Find a type by its name; None for `auto`.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in DTYPES:
        raise UsageError(f"no type {name!r}", where="dtype", fix=f"one of {', '.join(DTYPES)}")
    return DTYPES[name]


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and its report of keys off the screen: what it reports is checked."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def listed(problems: Sequence[str], most: int = 20) -> str:
    """One problem a line, as the end of an error's `what`; how many more if there are many."""
    lines = [*problems[:most], *([f"… and {len(problems) - most} more"] if len(problems) > most else [])]
    return "".join(f"\n  {line}" for line in lines) + "\n"


def _refuse(folder: Path, problems: list[str]) -> None:
    if problems:
        raise CheckpointError(
            f"{len(problems)} tensors do not fit the configuration:{listed(problems)}",
            where=str(folder),
            fix="take configuration and weights from the same checkpoint",
        )


def reason_of(error: BaseException) -> str:
    """What a library says is wrong with a configuration, in one line."""
    if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
        error = error.__cause__  # the error itself names only the check that failed
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


WRONG_CONFIG = (ValueError, TypeError, KeyError, AttributeError, StrictDataclassError)
"""What transformers raises of a configuration it cannot make sense of."""
METHOD_SETTINGS = (
    "video_input",
    "num_local_frames",
    "positions",
    "masked_video_loss",
    "masked_video_weight",
    "num_frames",
    "trained_on",
)
"""What may differ between a model and the one that its training began with."""
DEVICE_NAME = re.compile(r"(?P<kind>cpu|cuda|mps)(:(?P<number>\d+))?")
DTYPES = {
    "auto": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
