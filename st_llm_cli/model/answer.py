"""Prompt + video tokens → a written answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.prompt import PROMPT_FORMATS, Prompt, clean_reply, question_ids, text_ids
from st_llm_cli.model.released_reply import released_reply
from st_llm_cli.model.st_llm import Clips, StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers

GREEDY = {"do_sample": False, "num_beams": 1, "max_new_tokens": 128}
"""Generation options unless the caller gives others."""

RELEASED_MAX_LENGTH = 2000
"""The released chat keeps this many tokens, answer included, and drops the beginning of what is longer."""


@dataclass(frozen=True)
class Reply:
    """What the model said."""

    text: str
    """The answer, cleaned of end marks."""
    ids: list[int]
    """Token ids as generated."""


class StopAfter(StoppingCriteria):
    """Stop each row once it ends in one of some id sequences."""

    def __init__(self, endings: Sequence[Sequence[int]]) -> None:
        self.endings = [list(ending) for ending in endings]

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Say of each row whether it is done, [batch]."""
        rows = input_ids.tolist()
        done = [any(row[-len(ending) :] == ending for ending in self.endings) for row in rows]
        return torch.tensor(done, device=input_ids.device)


def encode(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    prompt: Prompt,
    *,
    frames: Clips | None = None,
    features: Clips | None = None,
    queries: Clips | None = None,
    video_input: str | None = None,
) -> list[Tensor]:
    """Look at one clip with the prompt's question in mind, if the model reads it.

    Args:
        model: The model.
        tokenizers: Its tokenizers.
        prompt: The question.
        frames: Normalised frames, [1, frames, 3, height, width].
        features: Vision features instead.
        queries: Q-Former output instead.
        video_input: Another video input than the configuration's.

    Returns:
        The clip's video tokens, one tensor [tokens, hidden].
    """
    ids = mask = None
    if tokenizers.question is not None and queries is None:
        ids, mask = question_ids(tokenizers.question, model.config, [prompt.question])
        ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.no_grad():
        video, _ = model.encode_video(frames, features, queries, ids, mask, video_input)
    return video


def generate(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    prompt: Prompt,
    video: list[Tensor],
    *,
    stop: Sequence[Sequence[int]] | None = None,
    max_length: int | None = None,
    **generation: Any,
) -> Reply:
    """Write an answer.

    Args:
        model: The model.
        tokenizers: Its tokenizers.
        prompt: The question.
        video: Video tokens of the clip, as `encode` gives them.
        stop: Id sequences after which the answer is over; the ways to write `###` if None.
        max_length: Longest sequence with the answer; the beginning of what is longer is dropped, as the
            released code does. None drops nothing.
        generation: transformers' generation options.
    """
    options = {**GREEDY, **generation}
    joined = model.join(_ids(model, tokenizers, prompt), video, padding_side="left")
    keep = len(joined.labels[0]) if max_length is None else max_length - options["max_new_tokens"]
    stop = stop_sequences(tokenizers.language, model.config) if stop is None else stop
    new_ids = model.continue_from(
        joined.embeds[:, -keep:],
        joined.attention_mask[:, -keep:],
        stopping_criteria=StoppingCriteriaList([StopAfter(stop)]),
        **options,
    )
    ids = new_ids[0].tolist()
    return Reply(reply_text(model, tokenizers, ids), ids)


def forced_options(config: StllmConfig) -> dict[str, Any]:
    """Generation options that the released chat forces upon its InstructBLIP variants; else none."""
    if config.compat == "released" and not PROMPT_FORMATS[config.prompt_format].video_in_turn:
        return {"repetition_penalty": 1.5}
    return {}


def stop_sequences(tokenizer: Any, config: StllmConfig) -> list[list[int]]:
    """Ways in which a vocabulary writes `###`, the end of an answer: alone, and grown onto a word.

    A model with a chat template of its own ends its answers with a token, and may write headings.
    """
    if config.chat_marks is not None:
        return []
    alone, word = text_ids(tokenizer, "###"), text_ids(tokenizer, "a")
    grown = text_ids(tokenizer, "a###")
    return [alone, grown[len(word) :]] if grown[: len(word)] == word else [alone]


def reply_text(model: StllmForConditionalGeneration, tokenizers: Tokenizers, ids: list[int]) -> str:
    """Decode generated ids into an answer."""
    if model.config.compat == "released":
        return released_reply(tokenizers.language, ids, prompt_format=model.config.prompt_format)
    text: str = tokenizers.language.decode(ids, skip_special_tokens=True)
    return clean_reply(text) if model.config.chat_marks is None else text.strip()


def _ids(model: StllmForConditionalGeneration, tokenizers: Tokenizers, prompt: Prompt) -> Tensor:
    return torch.tensor([prompt.ids(tokenizers.language, model.config)], device=model.device)
