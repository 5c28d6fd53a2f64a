"""A published vision encoder or language model by folder or Hub id: its configuration, and its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.checkpoint import WRONG_CONFIG, listed, reason_of
from st_llm_cli.model.locate import OUR_FILES, fetch, remedy

PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class VisionPart:
    """A vision encoder, before its weights."""

    config: Any
    """transformers configuration of the encoder alone."""
    image_mean: list[float]
    image_std: list[float]


def vision_part(name: str) -> VisionPart:
    """Read what a vision encoder is: of `PUBLISHED_VISION` without looking, where it is not a folder here.

    Raises:
        CheckpointError: If it is not there, or is no vision encoder.
    """
    if name in PUBLISHED_VISION and not Path(name).is_dir():
        content, preprocessor = PUBLISHED_VISION[name]
        config = AutoConfig.for_model(**content)
    else:
        folder = part_folder(name, ("*.json",))
        config = _read_config(folder, name)
        preprocessor = weight_files.read_json(folder / PREPROCESSOR)
    config = getattr(config, "vision_config", config)
    if getattr(config, "image_size", None) is None or "image_mean" not in preprocessor:
        what = f"a model of type '{config.model_type}', not a vision encoder of square pictures"
        raise CheckpointError(what, where=name, fix="name one such as google/siglip2-base-patch16-256")
    if hasattr(config, "vision_use_head"):
        config.vision_use_head = False  # what pools a picture into one vector is not used
    return VisionPart(config, preprocessor["image_mean"], preprocessor["image_std"])


def language_config(name: str) -> Any:
    """Read what a language model is: of `PUBLISHED_LANGUAGE` without looking, where it is not a folder here.

    Raises:
        CheckpointError: If it is not there, or cannot be read.
    """
    if name in PUBLISHED_LANGUAGE and not Path(name).is_dir():
        return AutoConfig.for_model(**PUBLISHED_LANGUAGE[name])
    return _read_config(part_folder(name, ("*.json",)), name).get_text_config()


def load_vision(name: str, config: Any) -> PreTrainedModel:
    """Load a vision encoder in float32.

    Raises:
        CheckpointError: If weights are missing.
    """
    return _load(AutoModel, name, config)


def load_language(name: str, config: Any) -> PreTrainedModel:
    """Load a causal language model in float32, to be asked without its own habits of sampling.

    Raises:
        CheckpointError: If weights are missing.
    """
    model = _load(AutoModelForCausalLM, name, config)
    model.generation_config = GenerationConfig()
    return model


def part_folder(name: str, patterns: Sequence[str] = OUR_FILES) -> Path:
    """Folder of a part: here, or from the Hub."""
    path = Path(name).expanduser()
    return path if path.is_dir() else fetch(name, patterns)


def _read_config(folder: Path, name: str) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, *WRONG_CONFIG) as error:
        what = f"no configuration that transformers knows: {reason_of(error)}"
        raise CheckpointError(what, where=name, fix="name a folder or a Hub id of a model") from error


def _load(kind: Any, name: str, config: Any) -> PreTrainedModel:
    folder = part_folder(name)
    try:
        model, info = kind.from_pretrained(
            folder, config=config, dtype="float32", local_files_only=True, output_loading_info=True
        )
    except (OSError, *WRONG_CONFIG, RuntimeError) as error:
        what = f"cannot be loaded: {reason_of(error)}"
        raise CheckpointError(what, where=name, fix=remedy(folder)) from error
    # What is there beside, such as the text half of a pair of towers, is not ours to use.
    missing = [f"missing {key}" for key in info["missing_keys"]]
    missing += [f"mis-shaped {key}" for key, *_ in info.get("mismatched_keys", ())]
    if missing:
        what = f"{len(missing)} tensors do not fit its configuration:{listed(missing)}"
        raise CheckpointError(what, where=name, fix=remedy(folder))
    loaded: PreTrainedModel = model
    return loaded


_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
PUBLISHED_VISION: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "google/siglip2-base-patch16-256": (
        {"model_type": "siglip_vision_model", "image_size": 256, "patch_size": 16},
        _HALF,
    ),
    "google/siglip2-so400m-patch14-224": (
        {
            "model_type": "siglip_vision_model",
            "image_size": 224,
            "patch_size": 14,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
        },
        _HALF,
    ),
}
"""Configuration and preprocessing as published: to plan before anything is downloaded."""
_QWEN3 = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 28,
    "rope_theta": 1_000_000.0,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}
PUBLISHED_LANGUAGE: Mapping[str, dict[str, Any]] = {
    "Qwen/Qwen3-0.6B": _QWEN3 | {"hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16},
    "Qwen/Qwen3-1.7B": _QWEN3 | {"hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16},
}
"""Configuration as published."""
