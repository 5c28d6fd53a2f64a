"""Kinds of weight files: how each names the parts of the model, and what it holds that is not part of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.released_names import PREFIX, our_name, their_name, why_ignored

LANGUAGE = "language_model."
"""In front of every tensor of the language model, in our names."""


@dataclass(frozen=True)
class Layout:
    """How the keys of a kind of file are read."""

    name: str
    """`released`, `lavis`, `eva`, `transformers`, `ours` or `language model`."""
    our_name: Callable[[str], str | None]
    """Their key → our name; None if the key is unknown."""
    why_ignored: Callable[[str], str | None]
    """Their key → why it is read past; None if it should be taken."""
    their_name: Callable[[str], str | None]
    """Our name → their key, or their two keys; None if they have none."""


def is_released(keys: Collection[str]) -> bool:
    """Whether tensors are named as in a released ST-LLM checkpoint."""
    return any(key.startswith(PREFIX) for key in keys)


def recognise(keys: Collection[str], source: Path, *, reads_question: bool) -> Layout:
    """Tell from its keys what kind of file this is.

    Args:
        keys: Names of its tensors.
        source: Where they come from, for the error.
        reads_question: Whether the model's Q-Former reads the question.

    Raises:
        CheckpointError: If it is of no known kind.
    """
    if "qformer.query_tokens" in keys:
        return Layout("ours", lambda key: key, lambda key: None, lambda name: name)
    if is_released(keys):
        return Layout(
            "released",
            lambda key: our_name(key, reads_question=reads_question),
            why_ignored,
            lambda name: _released_key(name, reads_question),
        )
    if any(key.startswith("language_projection.") for key in keys):
        return Layout("transformers", _transformers_name, _why_buffer, _transformers_key)
    if any(key.startswith(_LAVIS_PARTS) for key in keys):
        return Layout(
            "lavis",
            lambda key: our_name(key, reads_question=reads_question),
            lambda key: why_ignored(key) or _why_lavis_ignored(key, reads_question),
            lambda name: their_name(name, reads_question=reads_question),
        )
    if "patch_embed.proj.weight" in keys:
        return _eva(keys)
    shown = ", ".join(sorted(keys)[:3])
    raise CheckpointError(
        f"weights of no known kind: {len(keys)} tensors, such as {shown}",
        where=str(source),
        fix="give a released ST-LLM, InstructBLIP, BLIP-2, MiniGPT-4 or EVA-ViT checkpoint",
    )


def language_layout() -> Layout:
    """How a folder of a causal language model names its tensors: as transformers does."""
    return Layout("language model", lambda key: LANGUAGE + key, _why_buffer, _language_key)


def _language_key(name: str) -> str | None:
    return name.removeprefix(LANGUAGE) if name.startswith(LANGUAGE) else None


def _released_key(name: str, reads_question: bool) -> str | None:
    if name.startswith(LANGUAGE):
        return _language_key(name)
    theirs = their_name(name, reads_question=reads_question)
    return theirs and PREFIX + theirs.replace(" and ", f" and {PREFIX}")


def _why_buffer(key: str) -> str | None:
    return "computed anew" if key.endswith((".rotary_emb.inv_freq", ".position_ids")) else None


def _why_lavis_ignored(key: str, reads_question: bool) -> str | None:
    for pattern, reason in _LAVIS_IGNORED.items():
        if re.match(pattern, key):
            return reason
    if not reads_question and re.match(_QFORMER_TEXT, key):
        return "the Q-Former's text half, which a question-free one does without"
    return None


def _eva(keys: Collection[str]) -> Layout:
    """The file LAVIS keeps the vision encoder in; the released model leaves its last block out."""
    last = max(int(found[1]) for key in keys if (found := re.match(r"blocks\.(\d+)\.", key)))

    def why(key: str) -> str | None:
        if key.startswith(f"blocks.{last}."):
            return "last block, which the released model leaves out"
        return "pre-training head, not part of ST-LLM" if re.match(_EVA_HEAD, key) else None

    def key_of(name: str) -> str | None:
        theirs = their_name(name, reads_question=True)
        return theirs and theirs.replace("visual_encoder.", "")

    return Layout("eva", lambda key: our_name(f"visual_encoder.{key}", reads_question=True), why, key_of)


def _transformers_name(key: str) -> str | None:
    if key == "query_tokens":
        return "qformer.query_tokens"
    for theirs, ours in _TRANSFORMERS_PARTS.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return None


def _transformers_key(name: str) -> str | None:
    if name == "qformer.query_tokens":
        return "query_tokens"
    for theirs, ours in _TRANSFORMERS_PARTS.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return None


_LAVIS_PARTS = ("visual_encoder.", "Qformer.", "ln_vision.", "llm_proj.", "llama_proj.", "query_tokens")
_LAVIS_IGNORED = {
    r"(?:t5|opt)_proj\.": "projection to another language model",
    r"(?:llm|t5|opt|llama)_model\.": "the language model comes from `language_model`",
    r"(?:text_proj|vision_proj|itm_head)\.|temp$": "pre-training head, not part of ST-LLM",
}
_QFORMER_TEXT = (
    r"Qformer\.bert\.(?:embeddings\.(?:word|position)_embeddings|"
    r"encoder\.layer\.\d+\.(?:intermediate|output))\."
)
_EVA_HEAD = r"(?:fc_norm|norm|head)\.|mask_token$"
_TRANSFORMERS_PARTS = {
    "vision_model.": "vision_model.",
    "qformer.": "qformer.model.",
    "language_projection.": "projection.",
    "language_model.": LANGUAGE,
}
