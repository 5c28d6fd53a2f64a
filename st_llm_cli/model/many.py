"""Many questions at once, each answered as it would be on its own.

A batch, keys and values read once for several questions, another number of threads: each moves the scores of
words by a rounding error. So a word is taken only where it leads by more than that. Where the best two are
nearer, the row is read again, alone and from its beginning, and that reading decides. What is answered then
depends on nothing but the model and the row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from st_llm_cli.model.answer import Reply, reply_text, stop_sequences
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.decoding import Sight, ending_of
from st_llm_cli.model.prompt import eos_ids, text_ids
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers

NEAR = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.5}
"""Two scores (logits) nearer than this are not told apart, by the type of the model's numbers: well above
what rounding moves them."""


@dataclass(frozen=True)
class Row:
    """A question about a clip, as the language model reads it."""

    ids: tuple[int, ...]
    """Text with `VIDEO_TOKEN_ID` once, where the clip stands."""
    sight: Sight


@dataclass(frozen=True, eq=False)
class Prefix:
    """What several rows begin with, read once."""

    ids: tuple[int, ...]
    length: int
    """Positions, those of the clip included."""
    layers: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, [1, heads, length, dim]."""

    def for_rows(self, count: int) -> DynamicCache:
        """Give a cache of its own to a batch."""
        return DynamicCache(
            [
                (keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1))
                for keys, values in self.layers
            ]
        )


@torch.no_grad()
def read_prefix(model: StllmForConditionalGeneration, rows: Sequence[Row]) -> Prefix | None:
    """Read what all rows begin with; None unless that is a clip they are all about."""
    shared = 0
    for column in zip(*(row.ids[:-1] for row in rows), strict=False):  # the last word is always read anew
        if any(token != column[0] for token in column):
            break
        shared += 1
    ids, sight = rows[0].ids[:shared], rows[0].sight
    if len(rows) < 2 or VIDEO_TOKEN_ID not in ids or any(row.sight is not sight for row in rows):
        return None
    embeds = _embeds(model, ids, [sight])
    cache = DynamicCache()
    model.language_model.get_decoder()(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
    layers = [
        (layer.keys, layer.values)
        for layer in cache.layers
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
    ]
    # Layers that keep a running state instead have none that could be handed on.
    return Prefix(ids, embeds.shape[1], layers) if len(layers) == len(cache.layers) else None


@torch.no_grad()
def choose_all(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    rows: Sequence[Row],
    letters: Sequence[str],
    prefix: Prefix | None = None,
) -> list[int]:
    """Choose an option of each multiple-choice question by the scores of the letters, without writing.

    Args:
        model: The model, in evaluation mode.
        tokenizers: Its tokenizers.
        rows: Questions whose answers start right before the letter, `… Best option:(`.
        letters: Letters of each question's options, `ABCD`.
        prefix: From `read_prefix`, of these rows and perhaps others.

    Returns:
        Place of each best option, from 0.

    Raises:
        ValueError: If two letters start with the same token.
    """
    words = [_letter_ids(tokenizers, own) for own in letters]
    chosen = [0] * len(rows)

    def alone(place: int) -> Tensor:
        return _scores(model, _read_alone(model, rows[place], []), words[place])

    for places in _batches(model, rows):
        if len(places) == 1 and prefix is None:
            # The row's own reading decides in the end, so nothing is read before it.
            chosen[places[0]] = int(alone(places[0]).argmax())
            continue
        reading = _Reading.of(model, [rows[place] for place in places], prefix)
        scores = pad_sequence(
            [
                _scores(model, hidden, words[place])
                for hidden, place in zip(reading.hidden, places, strict=True)
            ],
            batch_first=True,
            padding_value=-torch.inf,
        )  # [batch, most options]

        def again(number: int, places: Sequence[int] = places) -> Tensor:
            return alone(places[number])

        for place, option in zip(places, _decide(scores, _near(model), again), strict=True):
            chosen[place] = option
    return chosen


@torch.no_grad()
def write_all(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    rows: Sequence[Row],
    max_new_tokens: Sequence[int],
    prefix: Prefix | None = None,
) -> list[Reply]:
    """Write an answer to each question, the likeliest word at each step.

    Args:
        model: The model, in evaluation mode.
        tokenizers: Its tokenizers.
        rows: The questions.
        max_new_tokens: Longest answer to each.
        prefix: From `read_prefix`, of these rows and perhaps others.
    """
    endings = [
        *stop_sequences(tokenizers.language, model.config),
        *([token] for token in eos_ids(model.config)),
    ]
    written: list[list[int]] = [[] for _ in rows]
    for places in _batches(model, rows):
        reading = _Reading.of(model, [rows[place] for place in places], prefix)
        waiting = list(places)
        while True:

            def alone(number: int, waiting: Sequence[int] = waiting) -> Tensor:
                place = waiting[number]
                return _scores(model, _read_alone(model, rows[place], written[place]))

            tokens = _decide(_scores(model, reading.hidden), _near(model), alone)
            for place, token in zip(waiting, tokens, strict=True):
                written[place].append(token)
            on = [
                number
                for number, place in enumerate(waiting)
                if len(written[place]) < max_new_tokens[place] and not ending_of(written[place], endings)
            ]
            if not on:
                break
            waiting = [waiting[number] for number in on]
            reading.go_on(model, on, [written[place][-1] for place in waiting])
    return [Reply(reply_text(model, tokenizers, ids), ids) for ids in written]


@dataclass
class _Reading:
    """A batch that is being read."""

    hidden: Tensor
    """State after each row's last word, [batch, hidden]."""
    cache: DynamicCache
    lengths: list[int]
    """Positions of each row so far."""
    mask: Tensor | None = field(default=None)
    """[batch, positions], 0 at padding; None where there is none."""

    @classmethod
    def of(cls, model: StllmForConditionalGeneration, rows: Sequence[Row], prefix: Prefix | None) -> _Reading:
        """Read rows to their ends."""
        start, cache = (0, DynamicCache()) if prefix is None else (prefix.length, prefix.for_rows(len(rows)))
        known = 0 if prefix is None else len(prefix.ids)
        rests = [_embeds(model, row.ids[known:], [] if prefix else [row.sight])[0] for row in rows]
        lengths = [len(rest) for rest in rests]
        embeds = pad_sequence(rests, batch_first=True)  # [batch, width, hidden]
        ends = torch.tensor(lengths, device=embeds.device)
        mask = None
        if min(lengths) < max(lengths):
            mask = torch.ones(len(rows), start + max(lengths), dtype=torch.long, device=embeds.device)
            mask[:, start:] = torch.arange(max(lengths), device=embeds.device) < ends[:, None]
        reading = cls(embeds, cache, [start + length for length in lengths], mask)
        numbers = torch.arange(start, start + max(lengths), device=embeds.device).expand(len(rows), -1)
        hidden = reading._read(model, embeds, numbers)  # [batch, width, hidden]
        reading.hidden = hidden[torch.arange(len(rows), device=embeds.device), ends - 1]
        return reading

    def go_on(self, model: StllmForConditionalGeneration, on: Sequence[int], tokens: Sequence[int]) -> None:
        """Read one more word of some of the rows, and leave the others behind."""
        device = self.hidden.device
        kept = torch.tensor(on, device=device)
        if len(on) < len(self.lengths):
            self.cache.batch_select_indices(kept)
            self.lengths = [self.lengths[number] for number in on]
            self.mask = None if self.mask is None else self.mask[kept]
        numbers = torch.tensor(self.lengths, device=device)[:, None]
        if self.mask is not None:
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(on), 1)], dim=1)
        embeds = model.get_input_embeddings()(torch.tensor(tokens, device=device)[:, None])
        self.lengths = [length + 1 for length in self.lengths]
        self.hidden = self._read(model, embeds, numbers)[:, -1]

    def _read(self, model: StllmForConditionalGeneration, embeds: Tensor, numbers: Tensor) -> Tensor:
        # Plain numbering is every language model's own default, and some take no other.
        padding = {} if self.mask is None else {"attention_mask": self.mask, "position_ids": numbers}
        output = model.language_model.get_decoder()(
            inputs_embeds=embeds, past_key_values=self.cache, use_cache=True, **padding
        )
        hidden: Tensor = output.last_hidden_state
        return hidden


def _batches(model: StllmForConditionalGeneration, rows: Sequence[Row]) -> Iterator[list[int]]:
    """Give the places of rows that can be read together: all, or those of one length where padding harms."""
    parameters = inspect.signature(model.language_model.get_decoder().forward).parameters
    window = getattr(model.config.text_config, "sliding_window", None)
    if "position_ids" in parameters and "attention_mask" in parameters and not window:
        yield list(range(len(rows)))
        return
    lengths: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        lengths.setdefault(len(row.ids) + len(row.sight.tokens), []).append(place)
    yield from lengths.values()


def _decide(scores: Tensor, near: float, alone: Callable[[int], Tensor]) -> list[int]:
    """Take each row's best; where the second is near, the best of the row's own reading.

    Args:
        scores: [rows, words].
        near: See `NEAR`.
        alone: Gives the scores of the row of a number when it is read alone, [words].
    """
    if scores.shape[1] == 1:
        return [0] * len(scores)
    best = scores.topk(2, dim=-1)
    leads = (best.values[:, 0] - best.values[:, 1]).tolist()
    words = best.indices[:, 0].tolist()
    return [
        word if lead >= near else int(alone(number).argmax())
        for number, (word, lead) in enumerate(zip(words, leads, strict=True))
    ]


def _read_alone(model: StllmForConditionalGeneration, row: Row, written: Sequence[int]) -> Tensor:
    """Read a row and what was written to it from the beginning; the state after the last word, [hidden]."""
    embeds = _embeds(model, (*row.ids, *written), [row.sight])
    output = model.language_model.get_decoder()(inputs_embeds=embeds, use_cache=False)
    hidden: Tensor = output.last_hidden_state
    return hidden[0, -1]


def _embeds(model: StllmForConditionalGeneration, ids: Sequence[int], sights: Sequence[Sight]) -> Tensor:
    """[1, length, hidden]."""
    text = torch.tensor([list(ids)], dtype=torch.long, device=model.device)
    return model.join(text, [sight.tokens for sight in sights]).embeds


def _scores(
    model: StllmForConditionalGeneration, hidden: Tensor, words: Sequence[int] | None = None
) -> Tensor:
    """Logits of all words, or of some, [… , hidden] → [… , words] in float32."""
    head = model.get_output_embeddings()
    if words is None:
        scores: Tensor = head(hidden).float()
        return scores
    if type(head) is nn.Linear:  # a few words need not be rounded, and equal scores would favour the first
        bias = None if head.bias is None else head.bias[list(words)].float()
        return nn.functional.linear(hidden.float(), head.weight[list(words)].float(), bias)
    chosen: Tensor = head(hidden).float()[..., list(words)]
    return chosen


def _near(model: StllmForConditionalGeneration) -> float:
    return NEAR[model.get_input_embeddings().weight.dtype]  # type: ignore[index]


def _letter_ids(tokenizers: Tokenizers, letters: str) -> list[int]:
    """Tokens of letters behind an opening bracket."""
    first = [text_ids(tokenizers.language, f"({letter}")[-1] for letter in letters]
    if len(set(first)) != len(first):
        raise ValueError("the tokenizer does not tell the option letters apart")
    return first
