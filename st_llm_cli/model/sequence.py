"""Text with placeholders + video tokens → the sequences the language model reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from st_llm_cli.model.config import VIDEO_TOKEN_ID

IGNORED_LABEL = -100


@dataclass(frozen=True)
class VideoTokens:
    """What one clip puts into the sequence."""

    embeds: Tensor
    """Video tokens, [kept, hidden]."""
    places: Tensor
    """Place of each kept token in the whole clip, [kept], rising."""
    total: int
    """Tokens of the whole clip, before any were dropped."""


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
    attention_mask: Tensor | None = None,
    labels: Tensor | None = None,
    pad_embed: Tensor,
    positions: str = "compact",
    padding_side: str = "right",
) -> Sequence:
    """Put each clip's tokens where its placeholder stands.

    Args:
        input_ids: Text, [batch, text], with `VIDEO_TOKEN_ID` once per clip.
        text_embeds: Embeddings of the text, [batch, text, hidden]; those at placeholders are not used.
        video: The clips' tokens, in the order of the placeholders, row by row.
        attention_mask: [batch, text], 0 at padding, which may stand anywhere; all ones if None.
        labels: [batch, text]; nothing to predict if None.
        pad_embed: Embedding that fills the padding, [hidden].
        positions: `compact` numbers what is there; `original` leaves gaps where video tokens were dropped.
        padding_side: `right` for training, `left` for generation.

    Raises:
        ValueError: If the number of placeholders is not the number of clips.
    """
    placeholders = int((input_ids == VIDEO_TOKEN_ID).sum())
    if placeholders != len(video):
        raise ValueError(f"{placeholders} video placeholders in the text, but {len(video)} clips")
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    if labels is None:
        labels = torch.full_like(input_ids, IGNORED_LABEL)
    clips = iter(video)
    rows = []
    for ids, embeds, mask, row_labels in zip(input_ids, text_embeds, attention_mask, labels, strict=True):
        valid = mask.bool()
        rows.append(_join_row(ids[valid], embeds[valid], row_labels[valid], clips, positions))
    return _pad(rows, pad_embed, padding_side)


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
    sequences: list[list[range]] = [[] for _ in range(max(clip_of_row) + 1)]
    for row, clip in enumerate(clip_of_row):
        begin, start, end = (row * width + place for place in (0, starts[row], lengths[row]))
        sequences[clip] += (
            [range(start, end)] if sequences[clip] else [range(begin, start), range(start, end)]
        )
    source = _padded([[place for part in parts for place in part] for parts in sequences])
    part_of = _padded([[number for number, part in enumerate(parts) for _ in part] for parts in sequences])
    source, part_of = source.to(rows.embeds.device), part_of.to(rows.embeds.device)
    there = part_of >= 0  # [clips, length]

    def lay(values: Tensor, filler: float | bool) -> Tensor:
        # One look-up for all: the gradient of one slice a row would be written out at full size for each.
        laid = values.flatten(0, 1)[source.clamp_min(0)]
        return laid.masked_fill(~there.view(*there.shape, *(1,) * (laid.ndim - 2)), filler)

    return Sequence(
        embeds=lay(rows.embeds, 0.0),
        attention_mask=_scores_of_parts(part_of, rows.embeds.dtype),
        position_ids=lay(rows.position_ids, 0),
        labels=lay(rows.labels, IGNORED_LABEL),
        is_video=lay(rows.is_video, False),
        is_padding=~there,
        source=source,
    )


def _common_lengths(rows: Sequence, clip_of_row: list[int]) -> list[int]:
    """How much of each row all rows of its clip begin with, short of the position that guesses an answer."""
    places = torch.arange(rows.is_video.shape[1], device=rows.is_video.device)
    answered = torch.where(rows.labels != IGNORED_LABEL, places, len(places)).amin(dim=1)  # [rows]
    first = torch.tensor([clip_of_row.index(clip) for clip in clip_of_row], device=places.device)
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


def _padded(rows: list[list[int]]) -> Tensor:
    """Lists of numbers as one tensor, -1 behind the shorter ones."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-1)


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


def _join_row(
    ids: Tensor, embeds: Tensor, labels: Tensor, clips: object, positions: str
) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {"embeds": [], "labels": [], "is_video": [], "position_ids": []}
    position = 0

    def add(piece: Tensor, piece_labels: Tensor, is_video: bool, places: Tensor) -> None:
        parts["embeds"].append(piece)
        parts["labels"].append(piece_labels)
        parts["is_video"].append(torch.full_like(places, is_video, dtype=torch.bool))
        parts["position_ids"].append(position + places)

    start = 0
    for place in [*(ids == VIDEO_TOKEN_ID).nonzero().flatten().tolist(), len(ids)]:
        text = slice(start, place)
        add(embeds[text], labels[text], False, torch.arange(place - start, device=ids.device))
        position += place - start
        if place == len(ids):
            break
        clip: VideoTokens = next(clips)  # type: ignore[call-overload]
        kept = len(clip.embeds)
        places = clip.places if positions == "original" else torch.arange(kept, device=ids.device)
        add(clip.embeds.to(embeds.dtype), labels.new_full((kept,), IGNORED_LABEL), True, places)
        position += clip.total if positions == "original" else kept
        start = place + 1
    return {name: torch.cat(pieces) for name, pieces in parts.items()}


def _pad(rows: list[dict[str, Tensor]], pad_embed: Tensor, side: str) -> Sequence:
    length = max(len(row["labels"]) for row in rows)

    def stack(name: str, value: float | bool) -> Tensor:
        padded = []
        for row in rows:
            missing = length - len(row[name])
            padded.append(pad(row[name], (missing, 0) if side == "left" else (0, missing), value=value))
        return torch.stack(padded)

    embeds = []
    for row in rows:
        filler = pad_embed.expand(length - len(row["embeds"]), -1)
        embeds.append(torch.cat([filler, row["embeds"]] if side == "left" else [row["embeds"], filler]))
    for row in rows:
        row["attention_mask"] = torch.ones_like(row["labels"])
        row["is_padding"] = torch.zeros_like(row["is_video"])
    return Sequence(
        embeds=torch.stack(embeds),
        attention_mask=stack("attention_mask", 0),
        position_ids=stack("position_ids", 0),
        labels=stack("labels", IGNORED_LABEL),
        is_video=stack("is_video", False),
        is_padding=stack("is_padding", True),
    )
