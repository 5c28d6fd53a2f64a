"""A model made from nothing, as a recipe describes it, with the tokenizers it comes with."""

from __future__ import annotations

from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import Recipe
from st_llm_cli.training.build import new_config, new_model
from st_llm_cli.training.data.shapes import shapes_vocabulary, world_of
from st_llm_cli.training.tokenizer import word_tokenizer


def start_new(recipe: Recipe, seed: int) -> tuple[StllmForConditionalGeneration, Tokenizers]:
    """Make the model of a recipe's `model.new`, with random weights; it knows the words of moving shapes.

    Args:
        recipe: A recipe that has that block.
        seed: Of the weights.
    """
    new = recipe.model.new
    assert new is not None, "the caller looks whether the recipe starts from nothing"
    language = word_tokenizer(shapes_vocabulary(world_of(recipe)))
    question = word_tokenizer(shapes_vocabulary(world_of(recipe))) if new.qformer.reads_question else None
    if question is not None:
        question.truncation_side = "left"  # a long question loses its beginning, as where it is loaded
    config = new_config(recipe.model, new, language, recipe.video.num_frames)
    return new_model(config, seed), Tokenizers(language, question)
