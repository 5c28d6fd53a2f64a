"""Vision features → a fixed number of query tokens per frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerModel, InstructBlipQFormerModel

from st_llm_cli.model.config import StllmConfig


class QFormer(nn.Module):
    """Learned queries that look at one frame at a time, and at the question if the model reads it.

    Source: InstructBLIP (arXiv 2305.06500) with the question, BLIP-2 (arXiv 2301.12597) without.
    """

    def __init__(self, config: StllmConfig) -> None:
        super().__init__()
        self.reads_question = config.reads_question
        kind = InstructBlipQFormerModel if self.reads_question else Blip2QFormerModel
        self.model = kind(config.qformer_config)
        self.query_tokens = nn.Parameter(
            torch.zeros(1, config.num_queries, config.qformer_config.hidden_size)
        )

    def forward(
        self, features: list[Tensor], question_ids: Tensor | None, question_mask: Tensor | None
    ) -> list[Tensor]:
        """Ask each frame on its own.

        Args:
            features: One entry per clip, each [frames, patches, vision_dim].
            question_ids: Question of each clip, [clips, length]; used only by a model that reads it.
            question_mask: [clips, length], 0 at padding.

        Returns:
            One entry per clip, each [frames, queries, dim].

        Raises:
            ValueError: If the model reads questions and none is given.
        """
        counts = [len(clip) for clip in features]
        patches = torch.cat(features).to(self.query_tokens.dtype)  # [all frames, patches, vision_dim]
        queries = self.query_tokens.expand(len(patches), -1, -1)  # [all frames, queries, dim]
        if not self.reads_question:
            output = self.model(query_embeds=queries, encoder_hidden_states=patches)
            return list(output.last_hidden_state.split(counts))
        if question_ids is None:
            raise ValueError("this Q-Former reads the question: give question_ids")
        if question_mask is None:
            question_mask = torch.ones_like(question_ids)
        text_ids = _for_each_frame(question_ids, counts)  # [all frames, length]
        text_mask = _for_each_frame(question_mask, counts)
        mask = torch.cat(
            [text_mask.new_ones(queries.shape[:2]), text_mask], dim=1
        )  # [all frames, queries+length]
        output = self.model(
            input_ids=text_ids, attention_mask=mask, query_embeds=queries, encoder_hidden_states=patches
        )
        return list(output.last_hidden_state[:, : queries.shape[1]].split(counts))


def _for_each_frame(rows: Tensor, counts: list[int]) -> Tensor:
    """Repeat each clip's row for its frames, [clips, length] → [all frames, length]."""
    return torch.cat([row.expand(count, -1) for row, count in zip(rows, counts, strict=True)])
