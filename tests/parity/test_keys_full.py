"""Every tensor of a full-size released checkpoint has its place, seen on the meta device."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from st_llm_cli.model.checkpoint import expected_shapes
from st_llm_cli.model.conversion import Conversion, joint_shapes, make_offer, settle
from st_llm_cli.model.official import released_config
from st_llm_cli.model.released_names import PREFIX, our_name, their_name, why_ignored
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.model.variants import VARIANTS
from st_llm_cli.model.weight_files import Header
from tests.parity.golden import recorded

KEYS = [path for path in sorted(recorded("keys_full").glob("*.json")) if ".meta" not in path.name]
NO_TOKENIZERS = Tokenizers(None, None)
MEAN = "instructblip_vicuna0_btadapter_mean"


def test_recordings_are_found() -> None:
    assert KEYS


def read_keys(path: Path) -> dict[str, Header]:
    listed = json.loads(path.read_text(encoding="utf-8"))
    return {key: Header(tuple(shape), getattr(torch, dtype)) for key, (shape, dtype) in listed.items()}


def read_meta(path: Path) -> dict[str, object]:
    meta: dict[str, object] = json.loads(path.with_suffix(".meta.json").read_text(encoding="utf-8"))
    return meta


def vicuna(vocabulary: int) -> dict[str, object]:
    """The released `config.json`: LlamaConfig's own defaults are the 7B model's sizes."""
    return {"model_type": "st_llm_hf", "vocab_size": vocabulary, "pad_token_id": 0}


def convert(headers: dict[str, Header], variant: str) -> Conversion:
    settings = VARIANTS[variant]
    offer = make_offer(Path("released"), headers, reads_question=settings.reads_question)
    language = vicuna(headers["model.embed_tokens.weight"].shape[0])
    config = released_config(joint_shapes([offer]), settings, language)
    return settle([offer], config, NO_TOKENIZERS)


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_every_key_is_accounted_for(path: Path) -> None:
    headers = read_keys(path)
    assert len(headers) == read_meta(path)["n_keys"]

    conversion = convert(headers, path.stem)

    report = conversion.report
    assert report.problems == []
    assert report.new == {}
    assert report.loaded + len(report.ignored) == len(headers)
    reasons = Counter(report.ignored.values())
    assert reasons.pop("same tensor as model.embed_tokens.weight") == 1
    assert reasons.pop("computed anew") == 32 + 1  # inv_freq of each layer, position_ids
    assert reasons == ({"computed for each clip": 1} if conversion.config.video_input == "residual" else {})


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_parameters_are_as_many_as_the_released_models(path: Path) -> None:
    headers, meta = read_keys(path), read_meta(path)
    config = convert(headers, path.stem).config
    shapes, _ = expected_shapes(config)

    # Ours has a bias of keys, which is zero, where theirs has none.
    blocks = config.vision_config.num_hidden_layers + 2 * config.bt_adapter_depth
    keys_bias = blocks * config.vision_config.hidden_size
    theirs = sum(math.prod(shape) for shape in shapes.values()) - keys_bias
    assert theirs == meta["total_params"]
    frozen = sum(
        math.prod(shape) for name, shape in shapes.items() if name.startswith(("vision_model.", "qformer."))
    )
    frozen -= config.vision_config.num_hidden_layers * config.vision_config.hidden_size
    assert theirs - frozen == meta["trainable_params"]


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_sizes_are_those_the_released_code_has_built_in(path: Path) -> None:
    config = convert(read_keys(path), path.stem).config
    vision, qformer, text = config.vision_config, config.qformer_config, config.text_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.intermediate_size) == (1408, 39, 6144)
    assert (vision.num_attention_heads, vision.patch_size, vision.image_size) == (16, 14, 224)
    assert (qformer.hidden_size, qformer.num_hidden_layers, qformer.num_attention_heads) == (768, 12, 12)
    assert (qformer.cross_attention_frequency, qformer.encoder_hidden_size) == (2, 1408)
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size) == (
        4096,
        32,
        32001 if config.reads_question else 32000,
    )
    assert (config.num_queries, config.adapter_dim, config.bt_adapter_positions) == (32, 1024, 64)
    assert config.bt_adapter_depth == (3 if "btadapter" in path.stem else 0)
    if config.reads_question:
        assert qformer.vocab_size == 30523


def test_the_mean_variant_is_the_btadapter_one_without_its_decoder() -> None:
    path = next(path for path in KEYS if path.stem == "instructblip_vicuna0_btadapter")
    headers = {key: header for key, header in read_keys(path).items() if "mvm_decoder" not in key}
    meta = json.loads((path.parent / "avp_instructblip_vicuna0_btadapter_mean.meta.json").read_text())
    assert len(headers) == meta["n_keys"]
    assert convert(headers, MEAN).report.problems == []


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_a_key_that_is_not_there_is_named(path: Path) -> None:
    headers = read_keys(path)
    q_bias = f"{PREFIX}visual_encoder.blocks.7.attn.q_bias"
    for key in (q_bias, f"{PREFIX}ln_vision.weight", "model.layers.3.mlp.up_proj.weight"):
        del headers[key]
    headers["model.layers.32.mlp.up_proj.weight"] = headers["model.layers.0.mlp.up_proj.weight"]
    headers[f"{PREFIX}llama_proj.bias"] = Header((4095,), torch.float32)

    report = convert(headers, path.stem).report

    assert report.missing == {
        "language_model.model.layers.3.mlp.up_proj.weight": "model.layers.3.mlp.up_proj.weight",
        "vision_model.encoder.layers.7.self_attn.qkv.bias": q_bias,
        "vision_model.post_layernorm.weight": f"{PREFIX}ln_vision.weight",
    }
    assert report.unexpected == ["model.layers.32.mlp.up_proj.weight"]
    assert report.mis_shaped == [f"{PREFIX}llama_proj.bias: found [4095], expected [4096]"]


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_our_names_lead_back_to_theirs(path: Path) -> None:
    headers = read_keys(path)
    reads = VARIANTS[path.stem].reads_question
    for key in headers:
        name = our_name(key, reads_question=reads)
        if key.startswith(PREFIX) and not why_ignored(key):
            assert name is not None
            assert their_name(name, reads_question=reads) == key.removeprefix(PREFIX)


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_a_variant_that_it_is_not_does_not_fit(path: Path) -> None:
    headers = read_keys(path)
    for name, variant in VARIANTS.items():
        same_text = variant.reads_question == VARIANTS[path.stem].reads_question
        if name != path.stem and same_text:
            assert convert(headers, name).report.problems, name
