"""Where training starts: weights of InstructBLIP, BLIP-2 or MiniGPT-4 and a language model → one of ours.

The vision encoder and the Q-Former come from LAVIS' files (`.pth`, the vision encoder often in one of its
own) or from transformers' InstructBLIP and BLIP-2 checkpoints; the language model is any causal one. What
ST-LLM adds starts as the paper starts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.checkpoint import WRONG_CONFIG, reason_of
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.conversion import (
    NEW,
    Conversion,
    Offer,
    joint_shapes,
    read_offer,
    refuse_problems,
    settle,
)
from st_llm_cli.model.layouts import LANGUAGE, language_layout
from st_llm_cli.model.official import BT_ADAPTER_DEPTH, check_vocabulary, hidden_sizes
from st_llm_cli.model.sizes import qformer_sizes, read_off, vision_sizes
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import (
    QFORMER_FOLDER,
    Tokenizers,
    any_language_tokenizer,
    question_tokenizer,
    released_tokenizers,
)
from st_llm_cli.model.variants import VARIANTS, Variant, named_variant

GIVEN = ("vision_model", "qformer", "projection")
"""Parts of our model that a starting point has; all others are the language model or new."""


@dataclass(frozen=True)
class Language:
    """The language model to build on."""

    folder: Path
    """Where its configuration and tokenizer are."""
    config: Any
    is_vicuna: bool
    """Whether it is written in Vicuna's vocabulary, which the released code sets up in its own way."""


def plan_start(
    source: Path,
    variant: str,
    *,
    language_model: Path | None = None,
    bert_tokenizer: Path | None = None,
    base: Sequence[Path] = (),
    dtype: torch.dtype | None = None,
) -> Conversion:
    """Settle how training is to start.

    Args:
        source: LAVIS' `.pth` of InstructBLIP or BLIP-2, or a folder of transformers' InstructBLIP or BLIP-2.
        variant: Name in `VARIANTS`: what the model is to become.
        language_model: Folder of a causal language model; transformers' checkpoints bring their own.
        bert_tokenizer: Folder with the Q-Former's vocabulary, for variants that read the question.
        base: Further files and folders for what the source lacks: the vision encoder, a projection.
        dtype: Type to store; as found if None.

    Raises:
        CheckpointError: If anything is missing, unexpected or mis-shaped, or a file cannot be read.
        UsageError: If there is no such variant.
    """
    settings = named_variant(variant)
    reads = settings.reads_question
    first = read_offer(source, reads_question=reads)
    if first.layout.name == "ours":
        raise CheckpointError("already a checkpoint of stllm", where=str(source), fix="use it as it is")
    offers = [first, *(read_offer(path, reads_question=reads, parts=GIVEN) for path in base)]
    if language_model is not None:
        without = [
            _without(offer, LANGUAGE, "the language model comes from another folder") for offer in offers
        ]
        offers = [*without, read_offer(language_model, reads_question=reads, layout=language_layout())]
    language = _language(source, first, language_model)
    tokenizers = _tokenizers(source, language, reads, bert_tokenizer)
    config = _config(source, offers, settings, language, tokenizers)
    hidden_dim = config.text_config.hidden_size
    if joint_shapes(offers).get("projection.weight", (hidden_dim,))[0] != hidden_dim:
        reason = f"made for another language model than one of {hidden_dim} hidden units"
        offers = [_without(offer, "projection.", reason) for offer in offers]
    conversion = settle(offers, config, tokenizers, dtype=dtype, may_be_new=NEW, may_grow=_embeddings(config))
    refuse_problems(conversion.report, source, fix="give what is missing as `base`, or check `variant`")
    if tokenizers.question is not None:
        check_vocabulary(tokenizers.question, config, bert_tokenizer or source / QFORMER_FOLDER)
    return conversion


def _language(source: Path, first: Offer, folder: Path | None) -> Language:
    """Find the language model: a folder of its own, or inside transformers' checkpoint."""
    if folder is not None:
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
        except (OSError, *WRONG_CONFIG) as error:
            raise CheckpointError(
                f"no configuration of a language model: {reason_of(error)}",
                where=str(folder),
                fix="give a folder with config.json, tokenizer and weights",
            ) from error
        text = config.get_text_config()
    elif first.layout.name == "transformers" and any(name.startswith(LANGUAGE) for name in first.keys):
        folder, text = source, _transformers_config(source).text_config
    else:
        raise CheckpointError("has no language model", where=str(source), fix="give one as `language_model`")
    vicuna = text.model_type == "llama" and (folder / "tokenizer.model").exists()
    return Language(folder, text, vicuna)


def _tokenizers(source: Path, language: Language, reads_question: bool, bert: Path | None) -> Tokenizers:
    """Set up both tokenizers; transformers' InstructBLIP brings the Q-Former's."""
    beside = source / QFORMER_FOLDER
    if bert is None and beside.is_dir():
        bert = beside
    if language.is_vicuna:
        return released_tokenizers(language.folder, reads_question, bert)
    question = question_tokenizer(source, bert) if reads_question else None
    return Tokenizers(any_language_tokenizer(language.folder), question)


def _config(
    source: Path, offers: Sequence[Offer], variant: Variant, language: Language, tokenizers: Tokenizers
) -> StllmConfig:
    shapes = joint_shapes(offers)
    if offers[0].layout.name == "transformers":
        theirs = _transformers_config(source)
        _check_kind(source, theirs.qformer_config.model_type, variant)
        vision, qformer = theirs.vision_config.to_dict(), theirs.qformer_config.to_dict()
        # BLIP-2 and InstructBLIP share the tower, under two names.
        vision |= {"model_type": "instructblip_vision_model"}
    else:
        hidden = hidden_sizes(source)
        with read_off(source):
            vision = vision_sizes(shapes, hidden)
            qformer = qformer_sizes(shapes, hidden, reads_question=variant.reads_question)
    text = language.config
    text.vocab_size = max(text.vocab_size, len(tokenizers.language))
    return StllmConfig(
        vision_config=vision,
        qformer_config=qformer,
        text_config=text,
        num_queries=shapes["qformer.query_tokens"][1],
        bt_adapter_depth=BT_ADAPTER_DEPTH if variant.bt_adapter else 0,
        video_input=variant.video_input,
        masked_video_decoder=variant.masked_video_decoder,
        num_frames=variant.num_frames,
        prompt_format=variant.prompt_format,
        **_special_tokens(language, tokenizers.language, variant),
    )


def _special_tokens(language: Language, tokenizer: Any, variant: Variant) -> dict[str, Any]:
    if not language.is_vicuna:
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        return {name: getattr(tokenizer, name) for name in names}
    if variant.reads_question:  # the released code re-points <s> to </s>
        return {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": tokenizer.pad_token_id}
    return {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def _transformers_config(source: Path) -> Any:
    content = weight_files.read_json(source / "config.json")
    kind = content.get("model_type")
    if kind not in ("instructblip", "blip-2"):
        what = f"a checkpoint of model type {kind!r}"
        raise CheckpointError(what, where=str(source), fix="give one of `instructblip` or `blip-2`")
    return AutoConfig.for_model(**content)


def _check_kind(source: Path, kind: str, variant: Variant) -> None:
    reads = kind == "instructblip_qformer"
    if reads != variant.reads_question:
        fitting = [name for name, other in VARIANTS.items() if other.reads_question == reads]
        what = (
            f"its Q-Former {'reads' if reads else 'does not read'} the question, the variant's does otherwise"
        )
        raise CheckpointError(what, where=str(source), fix=f"use `variant` {' or '.join(fitting)}")


def _without(offer: Offer, prefix: str, reason: str) -> Offer:
    """Take from an offer what another is to give."""
    ignored = {key: reason for name, key in offer.keys.items() if name.startswith(prefix)}
    keys = {name: key for name, key in offer.keys.items() if key not in ignored}
    headers = {name: offer.headers[name] for name in keys}
    return Offer(offer.source, offer.layout, headers, keys, offer.ignored | ignored, offer.unknown)


def _embeddings(config: StllmConfig) -> list[str]:
    """Name the language model's token embedding and head, which get rows for new tokens."""
    with torch.device("meta"):
        model: Any = StllmForConditionalGeneration(config)
    embeddings = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    named = model.named_parameters(remove_duplicate=False)
    return [name for name, parameter in named if any(parameter is weight for weight in embeddings)]
