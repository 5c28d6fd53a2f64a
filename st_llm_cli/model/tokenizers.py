"""Tokenizers of a checkpoint: the language model's, and the Q-Former's where it reads the question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, normalizers
from transformers import AutoTokenizer, BertTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.config import StllmConfig

QFORMER_FOLDER = "qformer_tokenizer"


@dataclass(frozen=True)
class Tokenizers:
    """What turns text into ids and back."""

    language: Any
    """transformers tokenizer of the language model."""
    question: Any | None
    """transformers tokenizer of the Q-Former; None if it does not read the question."""


def load_tokenizers(folder: Path, config: StllmConfig) -> Tokenizers:
    """Read the tokenizers of one of our checkpoint folders.

    Raises:
        CheckpointError: If one is missing or cannot be read.
    """
    language = _load(AutoTokenizer, folder)
    question = _load(AutoTokenizer, folder / QFORMER_FOLDER) if config.reads_question else None
    return Tokenizers(language, question)


def write_released_tokenizers(
    source: Path, destination: Path, config: StllmConfig, *, bert_tokenizer: Path | None
) -> None:
    """Set up the tokenizers as the released code does when it loads, and keep them that way.

    Args:
        source: Released folder, with the plain Vicuna tokenizer.
        destination: Our folder.
        config: Configuration of the checkpoint.
        bert_tokenizer: Folder with the Q-Former's uncased BERT vocabulary, before `[DEC]` is added.

    Raises:
        CheckpointError: If a tokenizer is missing, or its size is not that of the embedding.
    """
    _released_language_tokenizer(source, pad=config.reads_question).save_pretrained(destination)
    if not config.reads_question:
        return
    if bert_tokenizer is None:
        raise CheckpointError(
            "this variant reads the question with a BERT vocabulary that released folders lack",
            where=str(source),
            fix="give --bert-tokenizer DIR, a folder with vocab.txt of bert-base-uncased",
        )
    question = _load(BertTokenizer, bert_tokenizer)
    question.add_special_tokens({"bos_token": "[DEC]"})
    question.truncation_side = "left"
    if len(question) != config.qformer_config.vocab_size:
        raise CheckpointError(
            f"{len(question)} tokens, but the Q-Former knows {config.qformer_config.vocab_size}",
            where=str(bert_tokenizer),
            fix="use the vocabulary the Q-Former was trained with: bert-base-uncased",
        )
    question.save_pretrained(destination / QFORMER_FOLDER)


def _released_language_tokenizer(source: Path, *, pad: bool) -> PreTrainedTokenizerFast:
    """Vicuna's SentencePiece vocabulary, giving the pieces of the slow tokenizer the released code used."""
    backend = _load(LlamaTokenizer, source).backend_tokenizer
    # The slow tokenizer puts a blank in front of every piece of text, whatever stands before it.
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokens: dict[str, Any] = {
        name: AddedToken(text, normalized=False, special=True) for name, text in special.items()
    }
    if pad:
        # `</s>` also swallows the blanks around it here: it was made a special token as a plain string.
        tokens["eos_token"] = AddedToken("</s>", lstrip=True, rstrip=True, normalized=False, special=True)
        tokens["pad_token"] = AddedToken("[PAD]", normalized=False, special=True)
    tokenizer.add_special_tokens(tokens)
    return tokenizer


def _load(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"no usable tokenizer: {reason}", where=str(folder), fix="check the folder"
        ) from error
