"""Prompt + video tokens → an answer: generated, streamed, or chosen among options by their logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from st_llm_cli.model.prompt import Prompt, clean_reply, question_ids, text_ids
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
    stop = stop_sequences(tokenizers.language) if stop is None else stop
    new_ids = model.continue_from(
        joined.embeds[:, -keep:],
        joined.attention_mask[:, -keep:],
        stopping_criteria=StoppingCriteriaList([StopAfter(stop)]),
        **options,
    )
    ids = new_ids[0].tolist()
    return Reply(reply_text(model, tokenizers, ids), ids)


def stream(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    prompt: Prompt,
    video: list[Tensor],
    **generation: Any,
) -> Iterator[str]:
    """Write an answer piece by piece; the pieces joined are what `generate` gives."""
    streamer = TextIteratorStreamer(tokenizers.language, skip_special_tokens=True)
    failed: Queue[BaseException] = Queue()
    cancelled = _Cancelled()

    def work() -> None:
        try:
            options = {**GREEDY, **generation, "streamer": streamer}
            model.generate(
                _ids(model, tokenizers, prompt),
                video,
                stopping_criteria=StoppingCriteriaList(
                    [StopAfter(stop_sequences(tokenizers.language)), cancelled]
                ),
                **options,
            )
        except BaseException as error:  # the thread's errors belong to whoever reads the pieces
            failed.put(error)
            streamer.end()

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield from _until_end_mark(streamer)
    finally:
        cancelled.now = True
        thread.join()
    try:
        raise failed.get_nowait()
    except Empty:
        return


def option_scores(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    prompt: Prompt,
    video: list[Tensor],
    letters: Sequence[str],
) -> list[float]:
    """Score the options of a multiple-choice question by the logit of each letter, without decoding.

    Args:
        model: The model.
        tokenizers: Its tokenizers.
        prompt: A question whose answer starts right before the letter, `… Best option:(`.
        video: Video tokens of the clip.
        letters: `A`, `B` … one per option.

    Returns:
        Log-probabilities among all tokens, one per letter.

    Raises:
        ValueError: If two letters start with the same token.
    """
    first = [text_ids(tokenizers.language, f"({letter}")[-1] for letter in letters]
    if len(set(first)) != len(first):
        raise ValueError("the tokenizer does not tell the option letters apart")
    joined = model.join(_ids(model, tokenizers, prompt), video)
    with torch.no_grad():
        logits = model.get_output_embeddings()(model.decode(joined)[:, -1]).float()  # [1, vocabulary]
    scores: list[float] = logits.log_softmax(dim=-1)[0, first].tolist()
    return scores


def stop_sequences(tokenizer: Any) -> list[list[int]]:
    """Ways in which a vocabulary writes `###`: alone, and grown onto a word."""
    alone, word = text_ids(tokenizer, "###"), text_ids(tokenizer, "a")
    grown = text_ids(tokenizer, "a###")
    return [alone, grown[len(word) :]] if grown[: len(word)] == word else [alone]


def reply_text(model: StllmForConditionalGeneration, tokenizers: Tokenizers, ids: list[int]) -> str:
    """Decode generated ids into an answer."""
    if model.config.compat == "released":
        return released_reply(tokenizers.language, ids, prompt_format=model.config.prompt_format)
    return clean_reply(tokenizers.language.decode(ids, skip_special_tokens=True))


class _Cancelled(StoppingCriteria):
    """Stop when the reader has gone."""

    now = False

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), self.now, device=input_ids.device)


def _until_end_mark(pieces: Iterator[str]) -> Iterator[str]:
    """Pass text on, holding back what may be the start of `###`."""
    held, started = "", False
    for piece in pieces:
        held += piece
        if not started:
            held = held.lstrip()
        if "###" in held:
            held = held.split("###")[0].rstrip()
            break
        safe = held.rstrip("#").rstrip()
        if safe:
            started = True
            yield safe
            held = held[len(safe) :]
    if held.strip():
        yield held.rstrip()


def _ids(model: StllmForConditionalGeneration, tokenizers: Tokenizers, prompt: Prompt) -> Tensor:
    return torch.tensor([prompt.ids(tokenizers.language, model.config)], device=model.device)
