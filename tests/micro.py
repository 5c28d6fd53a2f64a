"""Models of a few thousand random weights, large enough to give answers that depend on what was said."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Blip2QFormerConfig,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    Qwen3Config,
)

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers, save_tokenizers
from st_llm_cli.shapes.words import vocabulary
from st_llm_cli.training.tokenizer import word_tokenizer

TEXT = (
    "What moves first last then The red blue circle square star left right up down and stops . ? ! ### "
    "Carefully watch the video is it a ball Tell me more How many objects 1 2 3"
)
WORDS = TEXT.split()


def micro_config(
    *,
    words: Sequence[str] = WORDS,
    width: int = 16,
    image_size: int = 16,
    reads_question: bool = False,
    language: str = "llama",
    **settings: Any,
) -> StllmConfig:
    """Configure a model of four patches a picture and three tokens a frame.

    Args:
        words: Vocabulary.
        width: Of every part.
        image_size: Side of a picture, pixels.
        reads_question: Whether the Q-Former does.
        language: `llama` or `qwen3`.
        settings: Of the `StllmConfig`, in place of the defaults below; `context`: longest sequence.
    """
    tokenizer = word_tokenizer(words)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    sizes = {"hidden_size": width, "num_attention_heads": 2, "intermediate_size": 2 * width}
    qformer = InstructBlipQFormerConfig if reads_question else Blip2QFormerConfig
    text = {"llama": LlamaConfig, "qwen3": Qwen3Config}[language]
    heads = {"num_key_value_heads": 1, "head_dim": width // 2}
    context = {"max_position_embeddings": settings.pop("context", 512)}
    vision = {"image_size": image_size, "patch_size": image_size // 2, "num_hidden_layers": 1}
    defaults: dict[str, Any] = {
        "vision_config": InstructBlipVisionConfig(**sizes, **vision, initializer_range=0.02),
        "qformer_config": qformer(
            **sizes,
            num_hidden_layers=2,
            cross_attention_frequency=1,
            encoder_hidden_size=width,
            vocab_size=len(tokenizer),
        ),
        "text_config": text(
            **sizes, **heads, **context, **special, num_hidden_layers=2, vocab_size=len(tokenizer)
        ),
        "num_queries": 3,
        "num_frames": 4,
        "video_input": "all",
        "masked_video_decoder": False,
        "prompt_format": "plain",
    }
    return StllmConfig(**{**defaults, **special, **settings})


def micro_model(
    *, seed: int = 0, words: Sequence[str] = WORDS, reads_question: bool = False, **settings: Any
) -> tuple[StllmForConditionalGeneration, Tokenizers]:
    """Make such a model in evaluation mode, and its tokenizers."""
    config = micro_config(words=words, reads_question=reads_question, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = StllmForConditionalGeneration(config).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:  # wide enough for what was said to make a difference
                torch.nn.init.normal_(parameter, std=0.5)
        torch.nn.init.normal_(model.qformer.query_tokens, std=1.0)
    question = word_tokenizer(words) if reads_question else None
    return model, Tokenizers(word_tokenizer(words), question)


def micro_checkpoint(folder: Path, **settings: Any) -> Path:
    """Write such a model as `--model FOLDER` takes it."""
    model, tokenizers = micro_model(**settings)
    model.save_pretrained(folder)
    save_tokenizers(tokenizers, folder)
    return folder


FOR_COMMANDS: dict[str, Any] = {"words": vocabulary(), "width": 32, "image_size": 28, "context": 2048}


def write_micro_checkpoint(folder: Path, **settings: Any) -> Path:
    """Write one that knows the words of the world of shapes and sees a little more of its pictures."""
    return micro_checkpoint(folder, **{**FOR_COMMANDS, **settings})


def micro_frames(seed: int = 0, num_frames: int = 4) -> torch.Tensor:
    """[frames, 3, 16, 16]."""
    return torch.randn(num_frames, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
