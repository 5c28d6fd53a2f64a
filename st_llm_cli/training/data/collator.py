"""Examples → one batch of tensors, token for token what the checkpoint's prompt format says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from st_llm_cli.model import prompt
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.video.transform import normalize


@dataclass(frozen=True)
class Row:
    """One sequence."""

    ids: list[int]
    """Token ids, with `VIDEO_TOKEN_ID` where the video stands."""
    labels: list[int]
    """The ids to be learnt, `IGNORED_LABEL` elsewhere."""
    question: str
    """What a Q-Former that reads the question is given."""


@dataclass(frozen=True)
class Collator:
    """Examples → one batch: the arguments of the model's forward pass, and the seeds of its masks."""

    tokenizers: Tokenizers
    config: StllmConfig

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Put examples together, all of frames or all of tokens of one level.

        Returns:
            `frames` [clips, frames, 3, side, side], or `features` or `queries` [clips, frames, tokens, dim];
            `clip_of_row` [rows]; `mask_seeds` [clips]; `input_ids`, `attention_mask` and `labels`
            [rows, length]. A Q-Former that reads the question gives each row video tokens of its own:
            `mask_seeds` [rows], `question_ids` and `question_mask` [rows, question].
        """
        rows = [self.row(task, example.is_picture) for example in examples for task in example.tasks]
        length = max(len(row.ids) for row in rows)
        # A masked position may hold any id; this one is never looked up as a video.
        input_ids = torch.zeros(len(rows), length, dtype=torch.long)
        attention_mask = torch.zeros(len(rows), length, dtype=torch.long)
        labels = torch.full((len(rows), length), IGNORED_LABEL)
        for number, row in enumerate(rows):
            input_ids[number, : len(row.ids)] = torch.tensor(row.ids)
            attention_mask[number, : len(row.ids)] = 1
            labels[number, : len(row.ids)] = torch.tensor(row.labels)
        owners = [clip for clip, example in enumerate(examples) for _ in example.tasks]
        seeds = [
            example.mask_seed + place
            for example in examples
            for place in range(len(example.tasks) if self.config.reads_question else 1)
        ]
        return {
            **self.video(examples),
            "clip_of_row": torch.tensor(owners),
            "mask_seeds": torch.tensor(seeds),
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
            **self._questions(rows),
        }

    def row(self, task: Task, is_picture: bool = False) -> Row:
        """Write a question with what was said before, and its answer, as a conversation writes them."""
        tokenizer = self.tokenizers.language
        turns = [*task.history, (task.question, task.answer)]
        opening = self._opening(task, turns[0][0], is_picture)
        ids = opening.ids(tokenizer, self.config)
        labels = [IGNORED_LABEL] * len(ids)
        for number, (question, answer) in enumerate(turns):
            if number > 0:
                asked = prompt.answer_end_ids(self.config)
                labels += asked if task.learns_history else [IGNORED_LABEL] * len(asked)
                turn = prompt.turn_ids(tokenizer, self.config, question, first=False)
                ids += asked + turn
                labels += [IGNORED_LABEL] * len(turn)
            if number == len(turns) - 1:
                said = prompt.answer_ids(tokenizer, self.config, answer)
            else:
                said = prompt.text_ids(tokenizer, answer.rstrip())
            is_learnt = task.learns_history or number == len(turns) - 1
            ids += said
            labels += said if is_learnt else [IGNORED_LABEL] * len(said)
        # One pass through the Q-Former serves all answers of the row: it reads the question of the first.
        first = opening.question if task.learns_history or not task.history else task.question
        return Row(ids, labels, first)

    def _opening(self, task: Task, question: str, is_picture: bool) -> prompt.Prompt:
        if task.choice:
            return prompt.choice_prompt(question)
        return prompt.training_prompt(
            self.config.prompt_format,
            question,
            instruction=task.instruction,
            picture=is_picture,
            released=self.config.compat == "released",
        )

    def video(self, examples: Sequence[Example]) -> dict[str, Any]:
        """What stands for the clips: their frames, or what the encoder made of them."""
        frames = [example.frames for example in examples if example.frames is not None]
        if frames:
            mean, std = self.config.image_mean, self.config.image_std
            return {"frames": torch.stack([normalize(clip, mean, std) for clip in frames])}
        name = {"frames": "features", "queries": "queries"}[examples[0].level]
        return {name: torch.stack([example.tokens for example in examples if example.tokens is not None])}

    def _questions(self, rows: Sequence[Row]) -> dict[str, Any]:
        if not self.config.reads_question:
            return {}
        texts = [row.question for row in rows]
        ids, mask = prompt.question_ids(self.tokenizers.question, self.config, texts)
        return {"question_ids": ids, "question_mask": mask}
