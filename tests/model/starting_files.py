"""Small files in the layouts that training starts from: recorded tensors under their original names."""

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from st_llm_cli.model import weight_files
from st_llm_cli.model.released_names import PREFIX
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.parity.golden import golden_folder

INSTRUCTBLIP = golden_folder() / "tiny_instructblip_vicuna0"
MINIGPT4 = golden_folder() / "tiny_minigpt4_vicuna0_btadapter"
BERT = INSTRUCTBLIP / "bert_tokenizer"
WORDS = ["what", "moves", "left", "right", "up", "down", "the", "red", "blue", "circle", "square", "?"]
Weights = dict[str, Tensor]


def released(source: Path) -> Weights:
    """All recorded tensors by their released names."""
    return {
        name: tensor.clone()
        for path in weight_files.paths(source)
        for name, tensor in weight_files.tensors(path)
    }


def stems(source: Path, *wanted: str) -> Weights:
    """The tensors whose names, without the released prefix, begin with one of `wanted`."""
    short = {name.removeprefix(PREFIX): tensor for name, tensor in released(source).items()}
    return {name: tensor for name, tensor in short.items() if name.startswith(wanted)}


def instructblip_pth(folder: Path) -> Path:
    """LAVIS' InstructBLIP: all but the frozen vision encoder and language model."""
    weights = stems(INSTRUCTBLIP, "Qformer.", "query_tokens", "ln_vision.")
    projection = stems(INSTRUCTBLIP, "llama_proj.")
    weights |= {name.replace("llama_proj", "llm_proj"): tensor for name, tensor in projection.items()}
    weights["Qformer.cls.predictions.bias"] = torch.ones(3)
    return _save(folder, "instruct_blip_vicuna7b.pth", weights, INSTRUCTBLIP)


def blip2_pth(folder: Path) -> Path:
    """LAVIS' BLIP-2: a Q-Former with a text half, and a projection to another language model."""
    weights = stems(MINIGPT4, "Qformer.", "query_tokens", "ln_vision.")
    for name in ("intermediate.dense.weight", "output.LayerNorm.bias"):
        weights[f"Qformer.bert.encoder.layer.0.{name}"] = torch.ones(3)
    weights["Qformer.bert.embeddings.word_embeddings.weight"] = torch.ones(3, 3)
    weights["t5_proj.weight"] = torch.ones(2, 2)
    return _save(folder, "blip2_pretrained_flant5xxl.pth", weights, MINIGPT4)


def minigpt4_pth(folder: Path) -> Path:
    """MiniGPT-4: nothing but the projection to Vicuna."""
    return _save(folder, "prerained_minigpt4_7b.pth", stems(MINIGPT4, "llama_proj."), MINIGPT4)


def eva_pth(folder: Path, source: Path = INSTRUCTBLIP) -> Path:
    """The vision encoder in a file of its own, with one block more than is used."""
    vision = {
        name: tensor for name, tensor in stems(source, "visual_encoder.").items() if "BTAdapter" not in name
    }
    weights = {name.removeprefix("visual_encoder."): tensor for name, tensor in vision.items()}
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    weights |= {
        name.replace("blocks.0.", f"blocks.{depth}."): tensor + 1
        for name, tensor in list(weights.items())
        if name.startswith("blocks.0.")
    }
    weights["norm.weight"] = torch.ones(24)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / "eva_vit_g.pth")
    return folder / "eva_vit_g.pth"


def vicuna(folder: Path, source: Path = INSTRUCTBLIP) -> Path:
    """The recorded language model before `[PAD]` was added, as one `.bin`."""
    weights = {
        name: tensor
        for name, tensor in released(source).items()
        if name.startswith(("model.", "lm_head.")) and not name.startswith(PREFIX)
    }
    words = 412
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights[name][:words].clone()
    folder.mkdir(parents=True)
    torch.save(weights, folder / "pytorch_model.bin")
    config = json.loads((source / "config.json").read_text())
    config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": words}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(source / name, folder / name)
    return folder


def qwen3(folder: Path, *, hidden_size: int = 16, pad: bool = True) -> Path:
    """A small language model of another family, with tied embeddings."""
    tokenizer = word_tokenizer(WORDS)
    config = Qwen3Config(
        hidden_size=hidden_size,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    if not pad:
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>")
    tokenizer.save_pretrained(folder)
    return folder


def transformers_instructblip(folder: Path) -> Path:
    """A checkpoint of transformers' own InstructBLIP, with its language model and both tokenizers."""
    tokenizer = word_tokenizer(WORDS)
    torch.manual_seed(0)
    config = InstructBlipConfig(
        vision_config=_vision(),
        qformer_config={**_qformer(), "vocab_size": 301, "max_position_embeddings": 64},
        text_config=_llama(len(tokenizer)).to_dict(),
        num_query_tokens=4,
    )
    InstructBlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copytree(BERT, folder / "qformer_tokenizer")
    return folder


def transformers_blip2(folder: Path) -> Path:
    """A checkpoint of transformers' own BLIP-2."""
    tokenizer = word_tokenizer(WORDS)
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=_vision(),
        qformer_config=_qformer(),
        text_config=_llama(len(tokenizer)).to_dict(),
        num_query_tokens=4,
    )
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _save(folder: Path, name: str, weights: Weights, source: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": weights, "epoch": 1}, folder / name)
    # Numbers of heads stand in no tensor; the real files have the numbers that are built in.
    if not (folder / "arch.json").exists():
        shutil.copyfile(source / "arch.json", folder / "arch.json")
    return folder / name


def _vision() -> dict[str, object]:
    sizes = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
    return {**sizes, "image_size": 28, "patch_size": 14, "initializer_range": 0.02}


def _qformer() -> dict[str, object]:
    sizes = {"hidden_size": 30, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    return {**sizes, "encoder_hidden_size": 24}


def _llama(words: int) -> LlamaConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return LlamaConfig(vocab_size=words, **sizes)
