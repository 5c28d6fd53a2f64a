"""The released ST-LLM checkpoints → ours: read strictly, without building the model.

A released folder lacks much of what a checkpoint must say: the variant, the vision and Q-Former settings and
the Q-Former's vocabulary. Sizes are read off the tensors; the rest comes from `VARIANTS` and from the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.conversion import (
    Conversion,
    ImportReport,
    Offer,
    joint_shapes,
    read_offer,
    refuse_problems,
    refuse_taken,
    settle,
    write,
)
from st_llm_cli.model.sizes import Hidden, Shapes, count, qformer_sizes, read_off, vision_sizes
from st_llm_cli.model.tokenizers import Tokenizers, released_tokenizers
from st_llm_cli.model.variants import VARIANTS, Variant, named_variant

FROZEN = ("vision_model", "qformer")
"""Parts that training leaves alone, and that are not in files saved without DeepSpeed."""

BT_ADAPTER_DEPTH = 3
"""Layers of the released BT-Adapter."""


def import_released(
    source: Path,
    destination: Path,
    variant: str,
    *,
    bert_tokenizer: Path | None = None,
    base: Sequence[Path] = (),
    dtype: torch.dtype | None = None,
) -> ImportReport:
    """Convert a released checkpoint folder.

    Args:
        source: Folder with `config.json`, the language model's tokenizer, and weights as sharded or single
            `.bin` or safetensors files.
        destination: Folder to write; must not hold anything yet.
        variant: Name in `VARIANTS`.
        bert_tokenizer: Folder with the Q-Former's vocabulary, for variants that read the question.
        base: Files or folders to take the frozen parts from, where the source was saved without them.
        dtype: Type to store; as found if None.

    Returns:
        The report; it has no problems.

    Raises:
        CheckpointError: If anything is missing, unexpected or mis-shaped, or a file cannot be read.
        UsageError: If there is no such variant.
    """
    refuse_taken(destination)
    conversion = plan_released(source, variant, bert_tokenizer=bert_tokenizer, base=base, dtype=dtype)
    write(conversion, destination)
    return conversion.report


def plan_released(
    source: Path,
    variant: str,
    *,
    bert_tokenizer: Path | None = None,
    base: Sequence[Path] = (),
    dtype: torch.dtype | None = None,
) -> Conversion:
    """Settle the import of a released checkpoint; arguments and errors as for `import_released`."""
    settings = named_variant(variant)
    offers = _offers(source, base, settings)
    if offers[0].layout.name != "released":
        what = f"not a released ST-LLM checkpoint: its tensors are named as in {offers[0].layout.name} files"
        raise CheckpointError(what, where=str(source), fix="check the path")
    tokenizers = released_tokenizers(source, settings.reads_question, bert_tokenizer)
    try:
        conversion = settle(offers, _config(source, offers, settings), tokenizers, dtype=dtype)
        refuse_problems(conversion.report, source, fix=_what_to_do(conversion.report))
    except CheckpointError as error:
        fitting = [name for name in VARIANTS if _fits(source, base, VARIANTS[name], tokenizers)]
        if not fitting:
            raise
        reason = error.what.splitlines()[0].rstrip(":")
        raise CheckpointError(
            f"not of variant {variant}: {reason}",
            where=str(source),
            fix=f"use `variant` {' or '.join(fitting)}",
        ) from error
    _check_words(tokenizers.language, conversion.config, source)
    if tokenizers.question is not None:
        check_vocabulary(tokenizers.question, conversion.config, bert_tokenizer)
    return conversion


def released_config(
    shapes: Shapes, variant: Variant, language: dict[str, Any], hidden: Hidden | None = None
) -> StllmConfig:
    """Read the sizes off the tensors.

    Args:
        shapes: Shape of each tensor by our name.
        variant: What the files do not say.
        language: The released `config.json`, a Llama configuration but for its `model_type`.
        hidden: What no tensor tells; as released if None.

    Raises:
        CheckpointError: If a part is missing.
    """
    hidden = hidden or Hidden()
    text = AutoConfig.for_model("llama", **{k: v for k, v in language.items() if k not in _NOT_LLAMA})
    adapter = shapes.get("global_local.down.weight", (1024,))
    branches = count(shapes, r"bt_adapter\.spatial\.(\d+)\..*") or BT_ADAPTER_DEPTH
    return StllmConfig(
        vision_config=vision_sizes(shapes, hidden),
        qformer_config=qformer_sizes(shapes, hidden, reads_question=variant.reads_question),
        text_config=text,
        num_queries=shapes["qformer.query_tokens"][1],
        bt_adapter_depth=branches if variant.bt_adapter else 0,
        bt_adapter_positions=shapes.get("bt_adapter.time_embedding.weight", (64,))[0],
        video_input=variant.video_input,
        num_local_frames=hidden.num_local_frames,
        adapter_dim=adapter[0],
        masked_video_decoder=variant.masked_video_decoder,
        num_frames=variant.num_frames,
        prompt_format=variant.prompt_format,
        bos_token_id=2 if variant.reads_question else 1,
        eos_token_id=2,
        pad_token_id=text.vocab_size - 1 if variant.reads_question else 0,
    )


def _offers(source: Path, base: Sequence[Path], variant: Variant) -> list[Offer]:
    reads = variant.reads_question
    frozen = [read_offer(path, reads_question=reads, parts=FROZEN) for path in base]
    return [read_offer(source, reads_question=reads), *frozen]


def _config(source: Path, offers: Sequence[Offer], variant: Variant) -> StllmConfig:
    language = weight_files.read_json(source / "config.json")
    with read_off(source):
        return released_config(joint_shapes(offers), variant, language, hidden_sizes(source))


def _fits(source: Path, base: Sequence[Path], variant: Variant, tokenizers: Tokenizers) -> bool:
    try:
        offers = _offers(source, base, variant)
        return not settle(offers, _config(source, offers, variant), tokenizers).report.problems
    except CheckpointError:  # a part the variant needs is not there at all
        return False


def _what_to_do(report: ImportReport) -> str:
    if any(name.split(".")[0] in FROZEN for name in report.missing):
        return "give the frozen parts, which are not saved without DeepSpeed, as `base`"
    return "check `variant`, and that every shard is there"


def hidden_sizes(source: Path) -> Hidden:
    """What no tensor tells: as released, unless an `arch.json` beside the weights says otherwise."""
    path = (source if source.is_dir() else source.parent) / "arch.json"
    if not path.exists():
        return Hidden()
    says = weight_files.read_json(path)
    arch = says.get("arch", says)
    return Hidden(arch["vit"]["heads"], arch["qformer"]["heads"], arch["residual_size"])


def _check_words(tokenizer: Any, config: StllmConfig, source: Path) -> None:
    """Refuse a tokenizer that is not the language model's."""
    words, known = len(tokenizer), config.text_config.vocab_size
    # Where a padding token was added, it is the last row of the embedding.
    if words > known or (config.reads_question and words != known):
        what = f"the tokenizer has {words} tokens, but the language model knows {known}"
        raise CheckpointError(what, where=str(source), fix="put the tokenizer of Vicuna into the folder")


def check_vocabulary(tokenizer: Any, config: StllmConfig, folder: Path | None) -> None:
    """Refuse a vocabulary that is not the Q-Former's.

    Raises:
        CheckpointError: If their sizes differ.
    """
    if len(tokenizer) != config.qformer_config.vocab_size:
        raise CheckpointError(
            f"{len(tokenizer)} tokens, but the Q-Former knows {config.qformer_config.vocab_size}",
            where=str(folder),
            fix="use the vocabulary the Q-Former was trained with: bert-base-uncased",
        )


# Said about themselves by the released files and the library that wrote them, not about the Llama inside.
_NOT_LLAMA = {"model_type", "architectures", "_name_or_path", "torch_dtype", "transformers_version", "dtype"}
