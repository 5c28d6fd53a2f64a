"""Which answers a model would give to the letter, without writing them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from st_llm_cli.model.sequence import IGNORED_LABEL, share_clips
from st_llm_cli.stages.video_model import VideoModel
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.example import Example


def right_answers(model: VideoModel, examples: Sequence[Example], clips: int = 10) -> Iterator[list[int]]:
    """For each clip, 1 for each question that greedy decoding would answer to the letter, else 0.

    Greedy decoding writes an answer exactly if, behind each beginning of it, its next token is the likeliest:
    so all answers are judged in one pass through the language model.

    Args:
        model: The model.
        examples: Clips as `queries` tokens, with questions and their true answers.
        clips: Clips in a batch.
    """
    collate = Collator(model.tokenizers, model.model.config)
    for start in range(0, len(examples), clips):
        batch = examples[start : start + clips]
        given = {name: values.to(model.model.device) for name, values in collate(batch).items()}
        rows = iter(_right(model, given).tolist())
        for example in batch:
            yield [int(next(rows)) for _ in example.tasks]


@torch.no_grad()
def _right(model: VideoModel, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Whether each row's answer is the likeliest throughout, [rows]."""
    st_llm, clip_of_row = model.model, given["clip_of_row"].tolist()
    video, _ = st_llm.encode_video(queries=given["queries"])
    rows = st_llm.join(
        given["input_ids"],
        video,
        owners=clip_of_row,
        attention_mask=given["attention_mask"],
        labels=given["labels"],
    )
    laid = share_clips(rows, clip_of_row)
    assert laid.source is not None
    hidden, labels = st_llm.decode(laid)[:, :-1], laid.labels[:, 1:]  # [clips, length - 1, …]
    asked = labels != IGNORED_LABEL
    wrong = st_llm.get_output_embeddings()(hidden[asked]).argmax(dim=-1) != labels[asked]
    row = laid.source[:, 1:][asked] // rows.is_video.shape[1]  # of each token of an answer
    return torch.bincount(row[wrong], minlength=len(clip_of_row)) == 0
