"""The part of a model that tokens come out of, and who it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from st_llm_cli.tokens.encoder import encoder_identity
from st_llm_cli.tokens.media import fingerprint, is_settled

if TYPE_CHECKING:
    from torch import Tensor

    from st_llm_cli.model.config import StllmConfig
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.tokens.memo import Memo

NOT_COMPUTATION = ("_name_or_path", "architectures", "dtype", "transformers_version", "torch_dtype")
"""Entries of transformers' configurations that say nothing about what a model computes."""


class Encoder(NamedTuple):
    """Who made tokens."""

    identity: str
    """Digest of weights and settings."""
    dtype: str
    """Type of the tokens: `float16`."""


def encoder_of(model: StllmForConditionalGeneration, level: str, memo: Memo, folder: Path | None) -> Encoder:
    """Find out who a model's encoder is.

    Args:
        model: The model.
        level: How far the encoder goes, see `Key.level`.
        memo: Where identities are remembered.
        folder: Checkpoint the model was loaded from, unchanged since: its files then stand for the weights,
            which are digested once (0.6 s per GB). None computes the identity from the weights in memory.
    """
    parameter = model.vision_model if level == "frames" else model.qformer
    dtype = str(next(parameter.parameters()).dtype).removeprefix("torch.")
    if folder is None:
        return Encoder(encoder_identity(_tensors(model, level), _settings(model.config, level)), dtype)
    about = json.dumps(["encoder", os.path.abspath(folder), level, dtype])
    files = fingerprint(folder)
    known = memo.recall(about)
    if known is not None and known.get("files") == files:
        return Encoder(str(known["identity"]), dtype)
    identity = encoder_identity(_tensors(model, level), _settings(model.config, level))
    if fingerprint(folder) == files and is_settled(folder):
        memo.remember(about, {"files": files, "identity": identity})
    return Encoder(identity, dtype)


def _tensors(model: StllmForConditionalGeneration, level: str) -> Iterator[tuple[str, Tensor]]:
    parts: list[tuple[str, Any]] = [("vision_model", model.vision_model), ("bt_adapter", model.bt_adapter)]
    if level == "queries":
        parts.append(("qformer", model.qformer))
    for part, module in parts:
        if module is not None:
            yield from ((f"{part}.{name}", tensor) for name, tensor in module.state_dict().items())


def _settings(config: StllmConfig, level: str) -> dict[str, Any]:
    """What the computation depends on beside the weights."""
    settings: dict[str, Any] = {
        "vision": _computation(config.vision_config),
        "vision_final_norm_eps": config.vision_final_norm_eps,
        "bt_adapter_depth": config.bt_adapter_depth,
        "image_mean": list(config.image_mean),
        "image_std": list(config.image_std),
    }
    if level == "queries":
        settings["qformer"] = _computation(config.qformer_config)
    return settings


def _computation(part: Any) -> dict[str, Any]:
    return {name: value for name, value in part.to_dict().items() if name not in NOT_COMPUTATION}
