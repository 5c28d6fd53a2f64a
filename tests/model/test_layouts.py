from pathlib import Path

import pytest

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.layouts import Layout, is_released, language_layout, recognise

SOMEWHERE = Path("weights.pth")
BLOCK = ("cls_token", "patch_embed.proj.weight", "blocks.0.mlp.fc1.bias", "blocks.1.mlp.fc1.bias")


def layout(*keys: str, reads_question: bool = True) -> Layout:
    return recognise(keys, SOMEWHERE, reads_question=reads_question)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("released", ("model.embed_tokens.weight", "model.stllm_model.query_tokens")),
        ("lavis", ("query_tokens", "Qformer.bert.encoder.layer.0.output_query.dense.bias")),
        ("lavis", ("llama_proj.weight", "llama_proj.bias")),
        ("eva", BLOCK),
        ("transformers", ("query_tokens", "language_projection.bias", "vision_model.x")),
        ("ours", ("qformer.query_tokens", "vision_model.x", "language_model.x")),
    ],
)
def test_files_are_told_apart_by_their_keys(name: str, keys: tuple[str, ...]) -> None:
    assert layout(*keys).name == name
    assert is_released(keys) == (name == "released")


def test_other_files_are_refused() -> None:
    with pytest.raises(CheckpointError) as raised:
        layout("b", "a", "d", "c")
    assert raised.value.what == "weights of no known kind: 4 tensors, such as a, b, c"
    assert raised.value.where == "weights.pth"


@pytest.mark.parametrize(
    ("key", "reads_question", "reason"),
    [
        ("t5_proj.weight", True, "projection to another language model"),
        ("opt_proj.bias", True, "projection to another language model"),
        ("llm_model.model.norm.weight", True, "the language model comes from `language_model`"),
        ("itm_head.weight", True, "pre-training head, not part of ST-LLM"),
        ("temp", True, "pre-training head, not part of ST-LLM"),
        ("Qformer.cls.predictions.bias", True, "pre-training head, not part of ST-LLM"),
        ("Qformer.bert.embeddings.position_ids", True, "computed anew"),
        ("Qformer.bert.encoder.layer.3.output.dense.bias", True, None),
        (
            "Qformer.bert.encoder.layer.3.output.dense.bias",
            False,
            "the Q-Former's text half, which a question-free one does without",
        ),
        ("Qformer.bert.encoder.layer.3.output_query.dense.bias", False, None),
        ("Qformer.bert.encoder.layer.3.attention.output.dense.bias", False, None),
        ("ln_vision.weight", False, None),
    ],
)
def test_what_is_left_out_of_lavis_files(key: str, reads_question: bool, reason: str | None) -> None:
    assert layout("query_tokens", reads_question=reads_question).why_ignored(key) == reason


def test_names_in_eva_files() -> None:
    eva = layout(*BLOCK)
    assert eva.our_name("cls_token") == "vision_model.embeddings.class_embedding"
    assert eva.our_name("blocks.0.attn.q_bias") == "vision_model.encoder.layers.0.self_attn.qkv.bias:q"
    assert eva.why_ignored("blocks.0.mlp.fc1.bias") is None
    assert eva.why_ignored("blocks.1.mlp.fc1.bias") == "last block, which the released model leaves out"
    for head in ("norm.weight", "fc_norm.bias", "head.weight", "mask_token"):
        assert eva.why_ignored(head) == "pre-training head, not part of ST-LLM"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("query_tokens", "qformer.query_tokens"),
        ("qformer.layernorm.bias", "qformer.model.layernorm.bias"),
        ("language_projection.weight", "projection.weight"),
        ("vision_model.post_layernorm.bias", "vision_model.post_layernorm.bias"),
        ("language_model.lm_head.weight", "language_model.lm_head.weight"),
        ("text_projection.weight", None),
    ],
)
def test_names_in_transformers_checkpoints(theirs: str, ours: str | None) -> None:
    assert layout("query_tokens", "language_projection.bias").our_name(theirs) == ours


def test_names_in_language_models() -> None:
    assert language_layout().our_name("model.norm.weight") == "language_model.model.norm.weight"
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    assert language_layout().why_ignored(buffer) == "computed anew"
    assert language_layout().why_ignored("model.norm.weight") is None
