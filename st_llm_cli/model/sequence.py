"""Text with placeholders + video tokens → the sequences the language model reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

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
    """[batch, length], 0 at padding."""
    position_ids: Tensor
    """[batch, length]."""
    labels: Tensor
    """[batch, length], -100 wherever nothing is to be predicted."""
    is_video: Tensor
    """[batch, length], True at video tokens."""

    def up_to(self, end: int) -> Sequence:
        """Cut every row after `end` positions."""
        return Sequence(
            embeds=self.embeds[:, :end],
            attention_mask=self.attention_mask[:, :end],
            position_ids=self.position_ids[:, :end],
            labels=self.labels[:, :end],
            is_video=self.is_video[:, :end],
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
    return Sequence(
        embeds=torch.stack(embeds),
        attention_mask=stack("attention_mask", 0),
        position_ids=stack("position_ids", 0),
        labels=stack("labels", IGNORED_LABEL),
        is_video=stack("is_video", False),
    )
