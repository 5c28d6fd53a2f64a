"""A checkpoint small enough to make in a test: random weights, the words of the world of shapes."""

from pathlib import Path

import torch

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.shapes.words import vocabulary
from st_llm_cli.training.tokenizer import word_tokenizer


def write_micro_checkpoint(folder: Path, *, seed: int = 0, **settings: object) -> Path:
    """Write a question-free checkpoint of about 0.1 M parameters, as `save_pretrained` leaves it.

    Args:
        folder: Where to.
        seed: Of the weights.
        settings: Of the `StllmConfig`, in place of the defaults below.
    """
    tokenizer = word_tokenizer(vocabulary())
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    width = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"model_type": "instructblip_vision_model", "image_size": 28, "patch_size": 14}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    defaults: dict[str, object] = {
        "vision_config": {**vision, **width, "initializer_range": 0.5},
        "qformer_config": {"model_type": "blip_2_qformer", **width, **no_dropout},
        "text_config": {
            "model_type": "llama",
            **width,
            "vocab_size": len(tokenizer),
            "initializer_range": 0.3,
        },
        "num_queries": 3,
        "num_frames": 4,
        "video_input": "all",
        "prompt_format": "plain",
        "initializer_range": 0.5,
    }
    config = StllmConfig(**{**defaults, **special, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = StllmForConditionalGeneration(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
