"""A recipe in small, to see it work before it takes hours.

The parts, stages and data are the same, but there are two steps of two clips, and a model of ten to
120 thousand random weights, for which nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from st_llm_cli.errors import DataError
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.recipe import Recipe, load_recipe
from st_llm_cli.recipe.loading import find_recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.stages.run_folder import START, claimed

PART = {"hidden_dim": 32, "num_layers": 2, "num_heads": 2}


def in_small(source: str, settings: Sequence[str], output: Path) -> list[str]:
    """Say a recipe in small by settings, and write the small checkpoint that it starts from.

    Args:
        source: Path or name of the recipe.
        settings: `key=value` of the user; they win, except over the model.
        output: Run folder; made where missing.

    Returns:
        All settings together.

    Raises:
        RecipeError: If the recipe is wrong.
        DataError: If the recipe's data are not there.
        TrainingError: If the folder holds a run of another recipe, or another process writes to it.
        CheckpointError: If nothing says what the recipe's checkpoint is, or the small one cannot be written.
    """
    from st_llm_cli.stages.plan_training import planned_config
    from st_llm_cli.training.scale import is_main_process, wait_for

    recipe = load_recipe(source, settings)
    _check_data(recipe, source)
    small = [f"{key}={json.dumps(value)}" for key, value in _in_small(recipe)]
    start = output.resolve() / START
    model = [f"model.{key}={json.dumps(value)}" for key, value in _model_in_small(recipe, start)]
    together = [*small, *settings, *model]
    if not is_main_process():
        if recipe.model.new is None:
            wait_for(start)
        return together
    with claimed(output, load_recipe(source, together)):
        if recipe.model.new is None and not start.is_dir():
            _write_start(planned_config(recipe)[0], start, as_pair=recipe.model.auto is not None)
    return together


def _check_data(recipe: Recipe, source: str) -> None:
    """Refuse to go without the recipe's own data, and say where the recipe says what they are."""
    for files in (data.files for stage in recipe.training for data in stage.data):
        for name in () if files is None else (files[1].annotations, files[1].media):
            if not Path(name).expanduser().exists():
                recipe_file = find_recipe(source)
                fix = f"--tiny learns from a few of the recipe's own data; more at the top of {recipe_file}"
                raise DataError("no such file or folder", where=name, fix=fix)


def small_config(config: StllmConfig, words: int, question_words: int) -> StllmConfig:
    """Shrink every part of a model, and leave how the parts work together.

    Args:
        config: Configuration of a model of any size.
        words: Tokens that the small language model is to know.
        question_words: Tokens of the text that a Q-Former reads.
    """
    values = config.to_dict()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    vision, qformer, text = (values[f"{part}_config"] for part in ("vision", "qformer", "text"))
    vision |= {**sizes, "image_size": 2 * vision["patch_size"], "initializer_range": 0.02}
    vision["num_hidden_layers"] = max(2, config.bt_adapter_depth)
    qformer |= {**sizes, "encoder_hidden_size": 32, "vocab_size": question_words}
    groups = text.get("num_key_value_heads") != text["num_attention_heads"]
    text |= {**sizes, "vocab_size": words, "num_key_value_heads": 1 if groups else 2}
    for name, value in (("head_dim", 16), ("layer_types", (text.get("layer_types") or ())[:2])):
        if text.get(name):
            text[name] = value
    values |= {"num_queries": 4, "adapter_dim": 8, "num_frames": min(4, config.num_frames)}
    return StllmConfig(**values)


def _in_small(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Fewer frames, steps and samples."""
    yield "video.num_frames", min(4, recipe.video.num_frames)
    for number, stage in enumerate(recipe.stages):
        place = f"stages.{number}"
        if stage.train is not None:
            for key, value in _steps_in_small(stage.train):
                yield f"{place}.train.{key}", value
        elif stage.eval is not None:
            yield f"{place}.eval.limit", min(4, stage.eval.limit or 4)
            yield f"{place}.eval.max_new_tokens", 8
        elif stage.extract_features is not None:
            yield f"{place}.extract_features.workers", min(2, stage.extract_features.workers)


def _steps_in_small(train: Train) -> Iterator[tuple[str, Any]]:
    yield "steps", min(2, train.steps)
    yield "warmup_steps", 0
    yield "schedule_steps", None
    yield "batch_size", min(2, train.batch_size)
    yield "accumulate", min(2, train.accumulate)
    yield "log_every", 1
    yield "save_every", min(1, train.save_every)


def _model_in_small(recipe: Recipe, start: Path) -> Iterator[tuple[str, Any]]:
    model = recipe.model
    if model.num_local_frames is not None:
        yield "num_local_frames", min(2, model.num_local_frames)
    if model.lora is not None:
        yield "lora.rank", min(4, model.lora.rank)
    if model.new is not None:
        yield "new.vision", {"image_size": 16, "patch_size": 8, **PART}
        yield "new.qformer", {"num_queries": 4, "reads_question": model.new.qformer.reads_question, **PART}
        yield "new.language", PART
    elif model.auto is not None:
        yield "auto.vision", str(start / "vision")
        yield "auto.language", str(start / "language")
        yield "auto.qformer", {"num_queries": 4, "reads_question": model.auto.qformer.reads_question, **PART}
    else:
        yield "checkpoint", str(start)


def _write_start(config: StllmConfig, start: Path, *, as_pair: bool) -> None:
    """Write what a small model starts from: a checkpoint, or its published parts."""
    from st_llm_cli.model.conversion import appearing_whole
    from st_llm_cli.training.scale import choose_accelerator

    choose_accelerator()
    with appearing_whole(start) as folder:
        (_write_pair if as_pair else _write_checkpoint)(config, folder)


def _write_checkpoint(config: StllmConfig, folder: Path) -> None:
    from st_llm_cli.model.tokenizers import Tokenizers, save_tokenizers
    from st_llm_cli.training.build import random_model
    from st_llm_cli.training.tokenizer import byte_tokenizer

    language = byte_tokenizer()
    small = small_config(config, len(language), len(language))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(small, name, getattr(language, name))
    random_model(small, seed=0).save_pretrained(folder)
    save_tokenizers(Tokenizers(language, byte_tokenizer() if config.reads_question else None), folder)


def _write_pair(config: StllmConfig, folder: Path) -> None:
    from transformers import AutoModel, AutoModelForCausalLM

    from st_llm_cli.model.parts import PREPROCESSOR
    from st_llm_cli.training.tokenizer import chat_tokenizer

    tokenizer = chat_tokenizer()
    small = small_config(config, len(tokenizer), len(tokenizer))
    AutoModel.from_config(small.vision_config).save_pretrained(folder / "vision")
    looks = {"image_mean": config.image_mean, "image_std": config.image_std}
    (folder / "vision" / PREPROCESSOR).write_text(json.dumps(looks), encoding="utf-8")
    AutoModelForCausalLM.from_config(small.text_config).save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")
