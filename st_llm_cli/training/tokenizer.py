"""A word-level tokenizer for a language model made from nothing: one token per word or mark."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse, Replace, WordPiece
from tokenizers.decoders import Sequence as Decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
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


# As the world of moving shapes cuts its texts; a digit is a word, so that any number can be written.
_PIECE = r"#+|[A-Za-z]+|[0-9]|[^\sA-Za-z0-9#]"
