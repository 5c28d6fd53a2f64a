"""The released ST-LLM checkpoints → ours: read strictly, a shard at a time, without building the model.

A released folder lacks much of what a checkpoint must say: the variant, the vision and Q-Former settings and
the Q-Former's vocabulary. Sizes are read off the tensors; the rest comes from `VARIANTS` and from the caller.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.released_names import PREFIX, our_name, why_ignored
from st_llm_cli.model.st_llm import StllmForConditionalGeneration

log = logging.getLogger(__name__)

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Variant:
    """What a released configuration is, as far as its files do not say."""

    video_input: str
    reads_question: bool
    masked_video_decoder: bool
    num_frames: int
    """Frames it was trained and is asked with."""
    about: str


@dataclass(frozen=True)
class ImportReport:
    """What became of every tensor."""

    loaded: int = 0
    ignored: dict[str, str] = field(default_factory=dict)
    """Keys read past, with the reason."""
    missing: list[str] = field(default_factory=list)
    """Our names that nothing filled."""
    unexpected: list[str] = field(default_factory=list)
    """Their keys that have no place in the model."""
    mis_shaped: list[str] = field(default_factory=list)
    """`name: found [..], expected [..]`."""

    @property
    def problems(self) -> list[str]:
        """Everything that keeps the import from being trusted, one line each."""
        return [
            *(f"missing {name}" for name in self.missing),
            *(f"unexpected {key}" for key in self.unexpected),
            *(f"mis-shaped {line}" for line in self.mis_shaped),
        ]


def import_released(
    source: Path,
    destination: Path,
    variant: str,
    *,
    bert_tokenizer: Path | None = None,
    dtype: torch.dtype | None = None,
) -> ImportReport:
    """Convert a released checkpoint folder.

    Args:
        source: Folder with `config.json`, the language model's tokenizer, and weights as sharded or single
            `.bin` or safetensors files.
        destination: Folder to write; must not hold a checkpoint yet.
        variant: Name in `VARIANTS`.
        bert_tokenizer: Folder with the Q-Former's vocabulary, for variants that read the question.
        dtype: Type to store; as found if None.

    Returns:
        The report; it has no problems.

    Raises:
        CheckpointError: If anything is missing, unexpected or mis-shaped, or a file cannot be read.
    """
    from st_llm_cli.model.tokenizers import write_released_tokenizers

    settings = _variant(variant)
    if (destination / "config.json").exists():
        raise CheckpointError("already holds a checkpoint", where=str(destination), fix="name another folder")
    shapes = weight_files.shapes(source)
    config = released_config(shapes, settings, *_read_configs(source))
    _refuse(check_names(shapes, config), source)
    destination.mkdir(parents=True, exist_ok=True)
    write_released_tokenizers(source, destination, config, bert_tokenizer=bert_tokenizer)
    loaded = _convert(source, destination, config.reads_question, dtype)
    config.dtype = dtype or loaded
    config.architectures = [StllmForConditionalGeneration.__name__]
    config.save_pretrained(destination)
    return check_names(shapes, config)


def check_names(shapes: Shapes, config: StllmConfig) -> ImportReport:
    """Hold the tensors of a released file against the model they are to fill, on meta tensors.

    Args:
        shapes: Shape of each tensor by its released name.
        config: Configuration of the model.
    """
    with torch.device("meta"):
        model = StllmForConditionalGeneration(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    ignored: dict[str, str] = {}
    unexpected, mis_shaped = [], []
    found: set[str] = set()
    for key, shape in shapes.items():
        if reason := why_ignored(key):
            ignored[key] = reason
            continue
        name = our_name(key, reads_question=config.reads_question)
        target, _, half = (name or "").partition(":")
        if target not in expected:
            unexpected.append(key)
            continue
        wanted = (expected[target][0] // 3,) if half else expected[target]
        if shape != wanted:
            mis_shaped.append(f"{key}: found {list(shape)}, expected {list(wanted)}")
        found.add(name or "")
    biases = {name for name in found if name.endswith((":q", ":v"))}
    whole = {name[:-2] for name in biases if {name[:-2] + ":q", name[:-2] + ":v"} <= biases}
    tied = set(model.all_tied_weights_keys)
    missing = [name for name in expected if name not in found | whole | tied]
    return ImportReport(
        loaded=len(found), ignored=ignored, missing=missing, unexpected=unexpected, mis_shaped=mis_shaped
    )


def released_config(
    shapes: Shapes, variant: Variant, language: dict[str, Any], heads: dict[str, int] | None = None
) -> StllmConfig:
    """Read the sizes off the tensors.

    Args:
        shapes: Shape of each tensor by its released name.
        variant: What the files do not say.
        language: The released `config.json`, a Llama configuration but for its `model_type`.
        heads: Attention heads of `vit` and `qformer`; the released 16 and 12 if None.
    """
    heads = heads or {"vit": 16, "qformer": 12}
    text = AutoConfig.for_model("llama", **{k: v for k, v in language.items() if k not in _NOT_LLAMA})
    vision_dim = shapes[f"{PREFIX}visual_encoder.cls_token"][-1]
    patch = shapes[f"{PREFIX}visual_encoder.patch_embed.proj.weight"][-1]
    patches = shapes[f"{PREFIX}visual_encoder.pos_embed"][1] - 1
    queries = shapes[f"{PREFIX}query_tokens"]
    layers = _count(shapes, r".*Qformer\.bert\.encoder\.layer\.(\d+)\..*")
    crossed = sorted(_numbers(shapes, r".*encoder\.layer\.(\d+)\.crossattention\..*"))
    qformer = {
        "model_type": "instructblip_qformer" if variant.reads_question else "blip_2_qformer",
        "hidden_size": queries[-1],
        "num_hidden_layers": layers,
        "num_attention_heads": heads["qformer"],
        "intermediate_size": shapes[f"{PREFIX}Qformer.bert.encoder.layer.0.intermediate_query.dense.weight"][
            0
        ],
        "cross_attention_frequency": crossed[1] - crossed[0] if len(crossed) > 1 else layers,
        "encoder_hidden_size": vision_dim,
    }
    if variant.reads_question:
        qformer["vocab_size"] = shapes[f"{PREFIX}Qformer.bert.embeddings.word_embeddings.weight"][0]
        positions = shapes[f"{PREFIX}Qformer.bert.embeddings.position_embeddings.weight"][0]
        qformer["max_position_embeddings"] = positions
    adapter = shapes.get(f"{PREFIX}down_proj.weight")
    positions = shapes.get(f"{PREFIX}visual_encoder.BTAdapter_position.weight", (64, 0))[0]
    return StllmConfig(
        vision_config={
            "model_type": "instructblip_vision_model",
            "hidden_size": vision_dim,
            "num_hidden_layers": _count(shapes, r".*visual_encoder\.blocks\.(\d+)\..*"),
            "num_attention_heads": heads["vit"],
            "intermediate_size": shapes[f"{PREFIX}visual_encoder.blocks.0.mlp.fc1.weight"][0],
            "patch_size": patch,
            "image_size": patch * round(patches**0.5),
            "layer_norm_eps": 1e-6,
        },
        qformer_config=qformer,
        text_config=text,
        num_queries=queries[1],
        bt_adapter_depth=_count(shapes, r".*visual_encoder\.BTAdapter_S\.(\d+)\..*"),
        bt_adapter_positions=positions,
        video_input=variant.video_input,
        num_local_frames=heads.get("residual_size", 16),
        adapter_dim=adapter[0] if adapter else 1024,
        masked_video_decoder=variant.masked_video_decoder,
        num_frames=variant.num_frames,
        prompt_format="instructblip" if variant.reads_question else "minigpt4",
        bos_token_id=2 if variant.reads_question else 1,
        eos_token_id=2,
        pad_token_id=text.vocab_size - 1 if variant.reads_question else 0,
    )


def _convert(source: Path, destination: Path, reads_question: bool, dtype: torch.dtype | None) -> torch.dtype:
    """Write our safetensors files, one per file read, and their index; return the type stored."""
    weight_map: dict[str, str] = {}
    biases: dict[str, Tensor] = {}
    total, stored = 0, dtype
    files = weight_files.paths(source)
    for number, path in enumerate(files, start=1):
        shard: dict[str, Tensor] = {}
        for key, tensor in weight_files.tensors(path):
            if why_ignored(key):
                continue
            name = our_name(key, reads_question=reads_question)
            assert name is not None  # check_names has refused unknown keys
            stored = stored or tensor.dtype
            (biases if ":" in name else shard)[name] = tensor.to(stored).contiguous()
        shard |= _joined_biases(biases)
        file_name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save_file(shard, destination / file_name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file_name)
        total += sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
        log.info("%s: %d tensors", path.name, len(shard))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (destination / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    return stored or torch.float32


def _joined_biases(biases: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Make one qkv bias of each complete pair and take the pair away; keys have none."""
    for name in [name[:-2] for name in biases if name.endswith(":q") and f"{name[:-2]}:v" in biases]:
        q, v = biases.pop(f"{name}:q"), biases.pop(f"{name}:v")
        yield name, torch.cat([q, torch.zeros_like(q), v])


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise CheckpointError(f"no variant {name!r}", where="--variant", fix=f"one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _read_configs(source: Path) -> tuple[dict[str, Any], dict[str, int] | None]:
    """The language model's configuration, and the head counts of a model not of the released sizes."""
    language = weight_files.read_json(source / "config.json")
    if not (source / "arch.json").exists():
        return language, None
    arch = weight_files.read_json(source / "arch.json")["arch"]
    heads = {"vit": arch["vit"]["heads"], "qformer": arch["qformer"]["heads"]}
    return language, {**heads, "residual_size": arch["residual_size"]}


def _refuse(report: ImportReport, source: Path) -> None:
    if report.problems:
        shown = "\n  ".join(report.problems[:20])
        more = f"\n  … and {len(report.problems) - 20} more" if len(report.problems) > 20 else ""
        raise CheckpointError(
            f"{len(report.problems)} tensors do not fit the variant:\n  {shown}{more}",
            where=str(source),
            fix="check --variant, and that every shard is there",
        )


def _numbers(shapes: Shapes, pattern: str) -> set[int]:
    return {int(found[1]) for key in shapes if (found := re.fullmatch(pattern, key))}


def _count(shapes: Shapes, pattern: str) -> int:
    return max(_numbers(shapes, pattern), default=-1) + 1


# Said about themselves by the released files and the library that wrote them, not about the Llama inside.
_NOT_LLAMA = {"model_type", "architectures", "_name_or_path", "torch_dtype", "transformers_version", "dtype"}

VARIANTS = {
    "instructblip_vicuna0": Variant(
        video_input="residual",
        reads_question=True,
        masked_video_decoder=True,
        num_frames=64,
        about="conversation: 64 frames, global-local input with 16 local frames",
    ),
    "instructblip_vicuna0_btadapter": Variant(
        video_input="all",
        reads_question=True,
        masked_video_decoder=True,
        num_frames=16,
        about="question answering: 16 frames, all tokens, BT-Adapter",
    ),
    "minigpt4_vicuna0_btadapter": Variant(
        video_input="all",
        reads_question=False,
        masked_video_decoder=True,
        num_frames=16,
        about="question answering from MiniGPT-4: 16 frames, all tokens, BT-Adapter, question-free Q-Former",
    ),
    "instructblip_vicuna0_btadapter_mean": Variant(
        video_input="mean",
        reads_question=True,
        masked_video_decoder=False,
        num_frames=16,
        about="averaged baseline: mean over 16 frames",
    ),
    "instructblip_vicuna0_plain": Variant(
        video_input="residual",
        reads_question=True,
        masked_video_decoder=False,
        num_frames=64,
        about="global-local input trained without masking",
    ),
}
