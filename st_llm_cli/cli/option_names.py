"""The library's arguments → the options of the command line, or the commands of a conversation, in errors.

An error names an argument where it says `where`, or in backticks; whoever typed a command knows options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

from st_llm_cli.errors import StllmError
from st_llm_cli.model.generation import Generation


def in_words_of(error: StllmError, words: Mapping[str, str]) -> StllmError:
    """Say an error in the words of whoever reads it.

    Args:
        error: In the library's words.
        words: `OPTIONS` or `IN_CHAT`.
    """
    names = error.where.split(", ") if error.where else []
    where = error.where
    if names and all(name in words for name in names):
        where = ", ".join(dict.fromkeys(words[name] for name in names))
    fix = None if error.fix is None else _translated(error.fix, words)
    return type(error)(_translated(error.what, words), where=where, fix=fix)


def _translated(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"`(\w+)`", lambda found: words.get(found[1], found[0]), text)


SAME_NAME = frozenset(
    {
        *("answer", "base", "batch_size", "bert_tokenizer", "cache", "compat", "data", "device", "dtype"),
        *(
            "end",
            "every",
            "fps",
            "judge_key_env",
            "judge_model",
            "judge_rate",
            "judge_url",
            "language_model",
            "limit",
        ),
        *("max_new_tokens", "num_beams", "output", "prompt", "prompt_style", "reader", "released"),
        *(
            "repetition_penalty",
            "seed",
            "start",
            "tasks",
            "temperature",
            "top_p",
            "variant",
            "visual_tokens",
            "world",
        ),
    }
)
OPTIONS = {
    **{name: "--" + name.replace("_", "-") for name in SAME_NAME},
    "benchmark": "--bench",
    "compiled": "--compile",
    "name": "--model",
    "num_frames": "--frames",
}
"""Arguments of the library and the options that set them."""
IN_CHAT = {
    **OPTIONS,
    "start": "the start of /clip",
    "end": "the end of /clip",
    "num_frames": "/frames",
    **{field.name: f"/set {field.name}" for field in fields(Generation)},
}
"""The same for somebody who talks, and can change some of them there."""
