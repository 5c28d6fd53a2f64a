"""Text with placeholders + video tokens → the sequences the language model reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding
from torch.nn.utils.rnn import pad_sequence

from st_llm_cli.model.config import VIDEO_TOKEN_ID

IGNORED_LABEL = -100


@dataclass(frozen=True)
class VideoTokens:
    """What one clip puts into the sequence."""

    embeds: Tensor
    """All its video tokens, [tokens, hidden]."""
    kept: Tensor
    """Places of those that are put, [kept], rising; in main memory, where no device has to be waited for."""


@dataclass(frozen=True)
class Sequence:
    """A padded batch for the language model."""

    embeds: Tensor
    """[batch, length, hidden]."""
    attention_mask: Tensor
    """[batch, length], 0 at padding; after `share_clips` what is added to the attention scores,
    [batch, 1, length, length]."""
    position_ids: Tensor
    """[batch, length]."""
    labels: Tensor
    """[batch, length], -100 wherever nothing is to be predicted."""
    is_video: Tensor
    """[batch, length], True at video tokens."""
    is_padding: Tensor
    """[batch, length], True where nothing stands."""
    source: Tensor | None = None
    """After `share_clips`: number of the position of the rows, counted through all of them, that stands here,
    [clips, length]; -1 at padding."""

    def up_to(self, end: int) -> Sequence:
        """Cut every row after `end` positions."""
        return Sequence(
            embeds=self.embeds[:, :end],
            attention_mask=self.attention_mask[:, :end],
            position_ids=self.position_ids[:, :end],
            labels=self.labels[:, :end],
            is_video=self.is_video[:, :end],
            is_padding=self.is_padding[:, :end],
        )


def join(
    input_ids: Tensor,
    text_embeds: Tensor,
    video: list[VideoTokens],
    *,
    owners: list[int] | None = None,
    attention_mask: Tensor | None = None,
    labels: Tensor | None = None,
    pad_embed: Tensor,
    positions: str = "compact",
    padding_side: str = "right",
) -> Sequence:
    """Put each clip's tokens where its placeholder stands.

    All of it is one look-up in what there is to be put somewhere: on a GPU a few operations for the whole
    batch, instead of some for every row.

    Args:
        input_ids: Text, [batch, text], with `VIDEO_TOKEN_ID` once per clip.
        text_embeds: Embeddings of the text, [batch, text, hidden]; those at placeholders are not used.
        video: The clips' tokens.
        owners: Which clip stands at each placeholder, row by row; if None they come in their order.
        attention_mask: [batch, text], 0 at padding, which may stand anywhere; all ones if None.
        labels: [batch, text]; nothing to predict if None.
        pad_embed: Embedding that fills the padding, [hidden].
        positions: `compact` numbers what is there; `original` leaves gaps where video tokens were dropped.
        padding_side: `right` for training, `left` for generation.

    Raises:
        ValueError: If the number of placeholders is not the number of clips.
    """
    shown = list(range(len(video))) if owners is None else owners
    is_clip = input_ids == VIDEO_TOKEN_ID
    if (placeholders := int(is_clip.sum())) != len(shown):
        raise ValueError(f"{placeholders} video placeholders in the text, but {len(shown)} clips")
    valid = torch.ones_like(is_clip) if attention_mask is None else attention_mask.bool()
    clips, text = valid & is_clip, valid & ~is_clip
    sizes = input_ids.new_tensor([len(video[clip].kept) for clip in shown])
    spans = input_ids.new_tensor([len(video[clip].embeds) for clip in shown])
    begins, lengths = _begins(valid, clips, sizes)
    numbers, _ = _begins(valid, clips, spans if positions == "original" else sizes)
    if padding_side == "left":
        begins = begins + (lengths.max() - lengths)[:, None]
    token, place, rank = _kept_of(video, shown).to(input_ids.device, non_blocking=True)
    spread = partial(torch.repeat_interleave, repeats=sizes, output_size=len(token))
    # All texts first, then all video tokens: in which row and place each stands, and where it comes from.
    at_text, at_clips = text.nonzero(as_tuple=True), clips.nonzero(as_tuple=True)
    spot = (
        torch.cat([at_text[0], spread(at_clips[0])]),
        torch.cat([begins[at_text], spread(begins[at_clips]) + rank]),
    )
    pool = torch.cat(
        [text_embeds.flatten(0, 1), *(clip.embeds.to(text_embeds.dtype) for clip in video), pad_embed[None]]
    )
    blank = torch.full((len(input_ids), int(lengths.max())), len(pool) - 1, device=input_ids.device)
    in_pool = torch.cat([at_text[0] * input_ids.shape[1] + at_text[1], input_ids.numel() + token])
    source = blank.index_put(spot, in_pool)
    number = place if positions == "original" else rank
    told = torch.cat([numbers[at_text], spread(numbers[at_clips]) + number])
    learnt = blank.new_full(blank.shape, IGNORED_LABEL)
    if labels is not None:
        learnt[at_text[0], begins[at_text]] = labels[at_text]
    is_padding = source == len(pool) - 1
    return Sequence(
        embeds=embedding(source, pool),
        attention_mask=(~is_padding).long(),
        position_ids=torch.zeros_like(blank).index_put(spot, told),
        labels=learnt,
        is_video=(source >= input_ids.numel()) & ~is_padding,
        is_padding=is_padding,
    )


def _begins(valid: Tensor, clips: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Say where each piece of text comes to stand if every clip takes so much room, and how long rows are.

    Args:
        valid: Where there is text or a placeholder, [batch, text].
        clips: Where there is a placeholder, [batch, text].
        sizes: Room for the clip at each placeholder, row by row, [placeholders].

    Returns:
        [batch, text] and [batch].
    """
    room = valid.long().masked_scatter(clips, sizes)
    ends = room.cumsum(dim=1)
    return ends - room, ends[:, -1]


def _kept_of(video: list[VideoTokens], shown: list[int]) -> Tensor:
    """Number the kept tokens at all placeholders, in main memory.

    Returns:
        [3, tokens at all placeholders]: their number among the tokens of all clips, kept or not; within
        their clip; and among those that are kept of it.
    """
    firsts = accumulate((len(clip.embeds) for clip in video), initial=0)
    own = [
        torch.stack([first + clip.kept, clip.kept, torch.arange(len(clip.kept), device="cpu")])
        for first, clip in zip(firsts, video, strict=False)
    ]
    return torch.cat(
        [torch.empty(3, 0, dtype=torch.long, device="cpu"), *(own[clip] for clip in shown)], dim=1
    )


def share_clips(rows: Sequence, clip_of_row: list[int]) -> Sequence:
    """Lay the rows that ask about one clip behind each other, after one copy of what they begin with.

    Each row sees the common beginning and itself, at the positions it had, but no other row: every hidden
    state stays as it was, and the clip's tokens are read once instead of once a row.

    Args:
        rows: Padded on the right, one clip a row.
        clip_of_row: Clip of each row, rising from 0.

    Returns:
        One sequence per clip.

    Raises:
        ValueError: If rows of one clip differ before its end, or an answer begins right behind it: only one
            row can stand there.
    """
    lengths = rows.attention_mask.sum(dim=1).tolist()
    starts = _common_lengths(rows, clip_of_row)  # where each row's own part begins
    width = rows.is_video.shape[1]
    pieces: list[list[range]] = [[] for _ in range(max(clip_of_row) + 1)]
    for row, clip in enumerate(clip_of_row):
        begin, start, end = (row * width + place for place in (0, starts[row], lengths[row]))
        pieces[clip] += [range(start, end)] if pieces[clip] else [range(begin, start), range(start, end)]
    source, part_of = (each.to(rows.embeds.device) for each in _in_a_row(pieces))
    there = part_of >= 0  # [clips, length]

    def lay(values: Tensor, filler: int) -> Tensor:
        return values.flatten()[source.clamp_min(0)].masked_fill(~there, filler)

    # As a look-up in a table, whose gradient is far faster on a GPU than that of an index.
    embeds = embedding(source.clamp_min(0), rows.embeds.flatten(0, 1)).masked_fill(~there[..., None], 0.0)
    return Sequence(
        embeds=embeds,
        attention_mask=_scores_of_parts(part_of, rows.embeds.dtype),
        position_ids=lay(rows.position_ids, 0),
        labels=lay(rows.labels, IGNORED_LABEL),
        is_video=lay(rows.is_video, 0),
        is_padding=~there,
        source=source,
    )


def _common_lengths(rows: Sequence, clip_of_row: list[int]) -> list[int]:
    """How much of each row all rows of its clip begin with, short of the position that guesses an answer."""
    places = torch.arange(rows.is_video.shape[1], device=rows.is_video.device)
    answered = torch.where(rows.labels != IGNORED_LABEL, places, len(places)).amin(dim=1)  # [rows]
    first_row = {clip: row for row, clip in reversed(list(enumerate(clip_of_row)))}
    first = torch.tensor([first_row[clip] for clip in clip_of_row], device=places.device)
    embeds = rows.embeds.detach().nan_to_num()  # a loss that is no number is for others to name
    same = (embeds == embeds[first]).all(dim=2)  # [rows, length]
    common = same.cumprod(dim=1).sum(dim=1).minimum(answered - 1).minimum(rows.attention_mask.sum(dim=1))
    ends = (rows.is_video * (places + 1)).amax(dim=1)  # right behind the clip
    shortest = {clip: len(places) for clip in clip_of_row}
    for clip, length, end in zip(clip_of_row, common.tolist(), ends.tolist(), strict=True):
        if length < end:
            raise ValueError("rows differ before the end of their clip, or an answer begins right behind it")
        shortest[clip] = min(shortest[clip], length)
    return [shortest[clip] for clip in clip_of_row]


def _in_a_row(pieces: list[list[range]]) -> tuple[Tensor, Tensor]:
    """Put the pieces of each clip behind each other: what is in them, and the number of the piece it is in.

    Returns:
        Both [clips, length], -1 behind shorter ones.
    """
    places = [np.concatenate([np.arange(part.start, part.stop) for part in parts]) for parts in pieces]
    parts_of = [np.repeat(np.arange(len(parts)), list(map(len, parts))) for parts in pieces]
    source, part_of = (
        pad_sequence(list(map(torch.from_numpy, each)), batch_first=True, padding_value=-1)
        for each in (places, parts_of)
    )
    return source, part_of


def _scores_of_parts(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Let every position see what stands before it in its own part and in part 0.

    Args:
        part: Number of the part each position belongs to, -1 at padding, [clips, length].
        dtype: Of the scores.

    Returns:
        0 where attention is allowed, the lowest number elsewhere, [clips, 1, length, length].
    """
    theirs, own = part[:, None, :], part[:, :, None]
    seen = ((theirs == 0) | (theirs == own)).tril()  # [clips, length, length]
    scores = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return scores.masked_fill(~seen, torch.finfo(dtype).min)[:, None]
