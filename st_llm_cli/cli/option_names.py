"""The library's arguments → the options of the command line, in errors.

An error names an argument where it says `where`, or in backticks; whoever typed a command knows options.
"""

from __future__ import annotations

import re

from st_llm_cli.errors import StllmError


def in_options(error: StllmError) -> StllmError:
    """Say an error in the words of the command line."""
    names = error.where.split(", ") if error.where else []
    where = error.where
    if names and all(name in OPTIONS for name in names):
        where = ", ".join(OPTIONS[name] for name in names)
    fix = None if error.fix is None else _translated(error.fix)
    return type(error)(_translated(error.what), where=where, fix=fix)


def _translated(text: str) -> str:
    return re.sub(r"`(\w+)`", lambda found: OPTIONS.get(found[1], found[0]), text)


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
    "name": "--model",
    "num_frames": "--frames",
}
"""Arguments of the library and the options that set them."""
