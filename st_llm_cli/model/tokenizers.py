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
    if not config.reads_question:
        return Tokenizers(language, None)
    question = _load(AutoTokenizer, folder / QFORMER_FOLDER)
    question.truncation_side = "left"  # a long question loses its beginning; not kept on disk
    return Tokenizers(language, question)


def save_tokenizers(tokenizers: Tokenizers, folder: Path) -> None:
    """Write the tokenizers into one of our checkpoint folders."""
    tokenizers.language.save_pretrained(folder)
    if tokenizers.question is not None:
        tokenizers.question.save_pretrained(folder / QFORMER_FOLDER)


def released_tokenizers(source: Path, reads_question: bool, bert_tokenizer: Path | None) -> Tokenizers:
    """Set up the tokenizers as the released code does when it loads.

    Args:
        source: Folder with the plain Vicuna tokenizer.
        reads_question: Whether the Q-Former reads the question.
        bert_tokenizer: Folder with the Q-Former's uncased BERT vocabulary, before `[DEC]` is added.

    Raises:
        CheckpointError: If a tokenizer is missing or cannot be read.
    """
    question = question_tokenizer(source, bert_tokenizer) if reads_question else None
    return Tokenizers(_released_language_tokenizer(source, pad=reads_question), question)


def any_language_tokenizer(folder: Path) -> Any:
    """Read the tokenizer of a language model, and give it a padding token where it has none.

    Raises:
        CheckpointError: If it is missing or cannot be read, or nothing in it ends a text.
    """
    tokenizer = _load(AutoTokenizer, folder)
    if tokenizer.eos_token_id is None:
        what = "the tokenizer has no end-of-sequence token"
        raise CheckpointError(what, where=str(folder), fix="give a language model that ends its answers")
    if tokenizer.pad_token_id is None:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return tokenizer


def question_tokenizer(source: Path, folder: Path | None) -> Any:
    """Read the Q-Former's vocabulary.

    Args:
        source: Checkpoint, for the error.
        folder: Folder with an uncased BERT vocabulary; `[DEC]` is added unless it is there.

    Raises:
        CheckpointError: If it is not given or cannot be read.
    """
    if folder is None:
        raise CheckpointError(
            "this variant reads the question with a BERT vocabulary that such a checkpoint lacks",
            where=str(source),
            fix="give `bert_tokenizer`, a folder with vocab.txt of bert-base-uncased",
        )
    tokenizer = _load(BertTokenizer, folder)
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.truncation_side = "left"
    return tokenizer


def _released_language_tokenizer(source: Path, *, pad: bool) -> PreTrainedTokenizerFast:
    """Vicuna's SentencePiece vocabulary, giving the pieces of the slow tokenizer the released code used."""
    if not any((source / name).exists() for name in ("tokenizer.model", "tokenizer.json")):
        # transformers would make one without a vocabulary.
        raise CheckpointError(
            "no tokenizer: neither tokenizer.model nor tokenizer.json",
            where=str(source),
            fix="copy the tokenizer of Vicuna into the folder",
        )
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
