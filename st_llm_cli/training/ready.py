"""What training does to a model before its first step, and what its texts are like, without any weights."""

from __future__ import annotations

import warnings
from dataclasses import replace

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.lora import Adapter, add_lora
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.training.build import new_config
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.shapes import shapes_vocabulary, world_of
from st_llm_cli.training.data.stream import ExampleStream
from st_llm_cli.training.optimizer import freeze_for
from st_llm_cli.training.pair import config_of_pair
from st_llm_cli.training.rehearsal import Prepare
from st_llm_cli.training.step import TYPICAL_TEXT, TextSizes
from st_llm_cli.training.tokenizer import word_tokenizer

PROBES = 2
"""Batches that are made to see how long their texts are."""


def config_of_new(recipe: Recipe) -> StllmConfig:
    """Configuration of the model that a recipe makes from nothing."""
    new = recipe.model.new
    assert new is not None, "the caller looks whether the recipe starts from nothing"
    return new_config(
        recipe.model, new, word_tokenizer(shapes_vocabulary(world_of(recipe))), recipe.video.num_frames
    )


def config_of_start(recipe: Recipe) -> StllmConfig:
    """Configuration of the model that a recipe makes, of nothing or of published parts.

    Raises:
        CheckpointError: If a part is not there.
    """
    return config_of_new(recipe) if recipe.model.auto is None else config_of_pair(recipe)


def prepare(recipe: Recipe, stage: Train) -> Prepare:
    """What gets a model ready for a stage."""

    def get_ready(model: StllmForConditionalGeneration) -> None:
        freeze_for(model, recipe.model, stage)
        lora = recipe.model.lora
        if lora is not None:
            model.language_model.requires_grad_(False)
            add_lora(model, Adapter("", lora.rank, lora.alpha, lora.dropout, lora.targets))
        if stage.gradient_checkpointing:
            with warnings.catch_warnings():  # of a new name that older versions lack
                warnings.simplefilter("ignore", FutureWarning)
                model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]

    return get_ready


def seen_text(recipe: Recipe, stage: Train, config: StllmConfig) -> TextSizes:
    """How long the texts of a stage are: those of moving shapes are looked at, others taken as usual."""
    drawn = [source for source in stage.data if source.shapes is not None]
    if not stage.data or stage.objective == "cells":
        return TextSizes(length=1, answer=1)  # nothing is asked
    if not drawn or len(drawn) < len(stage.data) or recipe.model.new is None:
        return replace(TYPICAL_TEXT, rows_per_clip=max(source.questions_per_clip for source in stage.data))
    tokenizer = word_tokenizer(shapes_vocabulary(world_of(recipe)))
    collator = Collator(Tokenizers(tokenizer, tokenizer), config)
    stream = ExampleStream(stage, recipe.video, config.image_size)
    size = min(stage.batch_size, 8)
    batches = [[stream[batch * stage.batch_size + each] for each in range(size)] for batch in range(PROBES)]
    rows = [[collator.row(task) for example in batch for task in example.tasks] for batch in batches]
    lengths = [len(row.ids) for batch in rows for row in batch]
    answers = [sum(label != IGNORED_LABEL for label in row.labels) for batch in rows for row in batch]
    return TextSizes(
        length=max(lengths) - 1,  # the clip's placeholder
        answer=round(sum(answers) / len(answers)),
        rows_per_clip=round(len(lengths) / (PROBES * size)),
        question=max(lengths),
    )
