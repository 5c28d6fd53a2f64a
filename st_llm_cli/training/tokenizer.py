"""Tokenizers for language models made from nothing: a token per word or mark, or per byte."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as Bytes
from tokenizers.decoders import Fuse, Replace, WordPiece
from tokenizers.decoders import Sequence as Decoders
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Split
from transformers import PreTrainedTokenizerFast

PAD, END, UNKNOWN = "[PAD]", "</s>", "[UNK]"
ROLES = ("###Human:", "###Assistant:")


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer that knows these words and writes "It moves left." with natural blanks.

    Role marks are one token each. Line breaks are dropped like blanks. A word it does not know becomes
    `[UNK]`.

    Args:
        words: Words and marks, in the order of their ids.
    """
    known = [word for word in words if word != "\n"]
    ids = {word: index for index, word in enumerate(dict.fromkeys([PAD, END, UNKNOWN, *known]))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Split(Regex(_PIECE), behavior="removed", invert=True)
    tokenizer.decoder = Decoders(
        # WordPiece joins with blanks and takes them away before marks.
        [
            WordPiece(prefix="\u2581", cleanup=True),
            Fuse(),
            Replace(" )", ")"),
            Replace("( ", "("),
            Replace(" :", ":"),
        ]
    )
    tokenizer.add_tokens([AddedToken(role, normalized=False) for role in ROLES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=END,
        eos_token=END,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer that can write any text, a token for each byte."""
    ids = {character: index for index, character in enumerate([PAD, END, *sorted(ByteLevel.alphabet())])}
    tokenizer = Tokenizer(BPE(ids, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Bytes()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=END, eos_token=END, unk_token=PAD
    )


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer of bytes with a chat template, ChatML, as Qwen and many others have it."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]})
    tokenizer.bos_token = None
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


# As the world of moving shapes cuts its texts; a digit is a word, so that any number can be written.
_PIECE = r"#+|[A-Za-z]+|[0-9]|[^\sA-Za-z0-9#]"
