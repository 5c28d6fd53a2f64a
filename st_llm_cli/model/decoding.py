"""Write token by token, reading only what the language model has not read before.

transformers' `generate` takes a cache too, but runs to its end: stopping it needs a thread, and a long
prefill cannot be stopped at all. This loop runs in the caller's thread and hands over each token as it is
chosen. Greedy and drawn tokens are those of `generate`, which a test holds it to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from st_llm_cli.errors import UsageError
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.generation import TOP_K, Generation
from st_llm_cli.model.growing_cache import GrowingCache
from st_llm_cli.model.one_token import Recorder
from st_llm_cli.model.st_llm import StllmForConditionalGeneration

PREFILL_CHUNK = 1024
"""Tokens read at a time: between two chunks reading can be stopped."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What one clip puts into a sequence; two sights are the same only if they are one object."""

    tokens: Tensor
    """Video tokens, [tokens, hidden]."""


Place = int | tuple[Sight, int]
"""What stands at one position of a sequence: a token id, or one of the tokens of a sight."""


def too_long(video: int, text: int, new: int, most: int) -> UsageError:
    """Say that clip, words and answer do not fit together, and which of them to cut: the longest.

    Args:
        video: Tokens of the clips.
        text: Tokens of the question and all that was said before.
        new: Tokens that may be written.
        most: What the language model can read and write together.
    """
    what = f"{video} video + {text} text + {new} new tokens are more than the {most} the language model reads"
    cuts = {
        "num_frames": (video, "look at fewer frames, or lower `max_new_tokens`"),
        "question": (text, "ask in fewer words"),
        "max_new_tokens": (new, "lower it"),
    }
    where, (_, fix) = max(cuts.items(), key=lambda cut: cut[1][0])
    return UsageError(what, where=where, fix=fix)


class PrefixCache:
    """Keys and values of what the language model read last, kept for a sequence that begins alike."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.cache = GrowingCache()
        self.recorder = Recorder()

    def begin(self, places: Sequence[Place]) -> int:
        """Forget all that a new sequence does not begin with.

        Args:
            places: The new sequence.

        Returns:
            Positions that need not be read again; the last one always is, for what follows it.
        """
        shared = 0
        for known, new in zip(self.places, places[:-1], strict=False):
            if known != new:
                break
            shared += 1
        if shared == 0:
            self.clear()
        elif shared < len(self.places):
            self.cache.crop(shared - len(self.places))  # a negative number is how many to remove
        self.places = self.places[:shared]
        return shared

    @torch.no_grad()
    def read(self, model: StllmForConditionalGeneration, embeds: Tensor, places: Sequence[Place]) -> Tensor:
        """Read on, [1, new, hidden] → next-token logits after the last position, [1, vocabulary], float32."""
        return self._go_on(lambda: self._forward(model, embeds), places)

    @torch.no_grad()
    def read_token(self, model: StllmForConditionalGeneration, token: int) -> Tensor:
        """Read on by one written token → next-token logits after it, [1, vocabulary], float32."""

        def plainly() -> Tensor:
            ids = torch.tensor([[token]], device=model.device)
            return self._forward(model, model.get_input_embeddings()(ids))

        return self._go_on(lambda: self.recorder.read(model, self.cache, token, plainly), [token])

    def _forward(self, model: StllmForConditionalGeneration, embeds: Tensor) -> Tensor:
        output = model.language_model.get_decoder()(
            inputs_embeds=embeds, past_key_values=self.cache, use_cache=True
        )
        logits: Tensor = model.get_output_embeddings()(output.last_hidden_state[:, -1])
        return logits.float()

    def _go_on(self, read: Callable[[], Tensor], places: Sequence[Place]) -> Tensor:
        try:
            logits = read()
        except BaseException:
            self.clear()  # some layers may have read this and others not
            raise
        self.places.extend(places)
        return logits

    def clear(self) -> None:
        """Forget everything."""
        self.places, self.cache = [], GrowingCache()


def places_of(ids: Sequence[int], sights: Sequence[Sight]) -> list[Place]:
    """Say what stands where once video tokens are in place of their placeholders.

    Args:
        ids: Text with `VIDEO_TOKEN_ID` once per sight.
        sights: The clips, in the order of the placeholders.
    """
    clips = iter(sights)
    places: list[Place] = []
    for token in ids:
        if token == VIDEO_TOKEN_ID:
            sight = next(clips)
            places.extend((sight, index) for index in range(len(sight.tokens)))
        else:
            places.append(token)
    return places


def write(
    model: StllmForConditionalGeneration,
    prefix: PrefixCache,
    embeds: Tensor,
    places: Sequence[Place],
    generation: Generation,
    endings: Sequence[Sequence[int]],
    should_stop: Callable[[], bool],
) -> Iterator[int]:
    """Continue a sequence token by token; `num_beams` is not looked at.

    Args:
        model: The model.
        prefix: What is read already; afterwards it also holds what was read here.
        embeds: The rest of the sequence, at least one position, [1, rest, hidden].
        places: What stands at each position of the rest.
        generation: How to choose tokens.
        endings: Id sequences after which the answer is over.
        should_stop: Asked between chunks of the prompt and between tokens.

    Yields:
        Token ids, the ending included.
    """
    logits = None
    for begin in range(0, len(places), PREFILL_CHUNK):
        if should_stop():
            return
        chunk = slice(begin, begin + PREFILL_CHUNK)
        logits = prefix.read(model, embeds[:, chunk], places[chunk])
    assert logits is not None
    choose = _chooser(generation, logits.device)
    written: list[int] = []
    while True:
        token = choose(written, logits)
        written.append(token)
        yield token
        if len(written) == generation.max_new_tokens or ending_of(written, endings) or should_stop():
            return
        logits = prefix.read_token(model, token)


def ending_of(ids: Sequence[int], endings: Sequence[Sequence[int]]) -> int:
    """How many of the last ids are the end of an answer; 0 if it is not over."""
    return max((len(end) for end in endings if end and list(ids[-len(end) :]) == list(end)), default=0)


def _chooser(generation: Generation, device: torch.device) -> Callable[[list[int], Tensor], int]:
    """The way to the next token from those written and the logits, in the order transformers goes it."""
    steps: Any = LogitsProcessorList()
    if generation.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(generation.repetition_penalty))
    if generation.temperature:
        steps.append(TemperatureLogitsWarper(generation.temperature))
        steps.append(TopKLogitsWarper(TOP_K))
        if generation.top_p < 1:
            steps.append(TopPLogitsWarper(generation.top_p))
    draws = torch.Generator(device=device).manual_seed(generation.seed)

    def choose(written: list[int], logits: Tensor) -> int:
        ids = torch.tensor([written], dtype=torch.long, device=device)  # [1, written]
        scores = steps(ids, logits)
        if generation.temperature:
            return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=draws))
        return int(scores.argmax(dim=-1))

    return choose
