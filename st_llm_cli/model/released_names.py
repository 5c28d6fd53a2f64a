"""Names of tensors in the released code's files → names in ours.

Source: the released checkpoints' key lists; `visual_encoder`, `Qformer`, `llama_proj` … are the LAVIS names
that InstructBLIP, MiniGPT-4 and BLIP-2 files use too, there without the `model.stllm_model.` in front.
"""

from __future__ import annotations

import re

PREFIX = "model.stllm_model."

_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_TEMPORAL = {
    "norm1": "norm",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.projection",
    "temporal_fc": "output",
}
_LAYER_PART = r"\.(\d+)\.(.+?)\.(weight|bias)"

_SINGLE = {
    "visual_encoder.cls_token": "vision_model.embeddings.class_embedding",
    "visual_encoder.pos_embed": "vision_model.embeddings.position_embedding",
    "visual_encoder.patch_embed.proj.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual_encoder.patch_embed.proj.bias": "vision_model.embeddings.patch_embedding.bias",
    "visual_encoder.BTAdapter_cls": "bt_adapter.cls_token",
    "visual_encoder.BTAdapter_position.weight": "bt_adapter.time_embedding.weight",
    "query_tokens": "qformer.query_tokens",
}
_RENAMED = {
    r"ln_vision\.(weight|bias)": r"vision_model.post_layernorm.\1",
    r"(?:llama|llm)_proj\.(weight|bias)": r"projection.\1",
    r"down_proj\.(weight|bias)": r"global_local.down.\1",
    r"up_proj\.(weight|bias)": r"global_local.up.\1",
    r"mvm_decoder\.(head|norm)\.(weight|bias)": r"masked_video_decoder.\1.\2",
    r"Qformer\.bert\.(embeddings\.(?:word|position)_embeddings\.weight)": r"qformer.model.\1",
    r"Qformer\.bert\.(encoder\.layer\.\d+\.\w*attention)\.self\.(.+)": r"qformer.model.\1.attention.\2",
    r"Qformer\.bert\.(encoder\.layer\.\d+\.(?!.*\.self\.).+)": r"qformer.model.\1",
}
IGNORED = {
    r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq": "computed anew",
    r"(?:model\.stllm_model\.)?Qformer\.bert\.embeddings\.position_ids": "computed anew",
    r"model\.stllm_model\.residual_index": "computed for each clip",
    r"model\.stllm_model\.embed_tokens\.weight": "same tensor as model.embed_tokens.weight",
    r"Qformer\.cls\..*": "pre-training head, not part of ST-LLM",
}
"""Keys that are read past, and why."""


def why_ignored(key: str) -> str | None:
    """Say why a key of a released file is not taken over; None if it should be."""
    return next((reason for pattern, reason in IGNORED.items() if re.fullmatch(pattern, key)), None)


def our_name(key: str, *, reads_question: bool) -> str | None:
    """Translate one key.

    Args:
        key: Name in a released or LAVIS file. The two attention biases `q_bias` and `v_bias` become one
            tensor here; they come back as `….qkv.bias:q` and `….qkv.bias:v`.
        reads_question: Whether the Q-Former reads the question: its first norm has another name then.

    Returns:
        Our name, or None if the key is unknown.
    """
    if key.startswith(PREFIX):
        return _vision_language_name(key.removeprefix(PREFIX), reads_question)
    if key.startswith(("model.", "lm_head.")):
        return f"language_model.{key}"
    return _vision_language_name(key, reads_question)


def _vision_language_name(key: str, reads_question: bool) -> str | None:
    if key in _SINGLE:
        return _SINGLE[key]
    if found := re.fullmatch(r"Qformer\.bert\.embeddings\.LayerNorm\.(weight|bias)", key):
        room = "embeddings." if reads_question else ""
        return f"qformer.model.{room}layernorm.{found[1]}"
    for stem, ours, table in (
        ("visual_encoder.blocks", "vision_model.encoder.layers", _BLOCK),
        ("visual_encoder.BTAdapter_S", "bt_adapter.spatial", _BLOCK),
        ("visual_encoder.BTAdapter_T", "bt_adapter.temporal", _TEMPORAL),
    ):
        if found := re.fullmatch(re.escape(stem) + r"\.(\d+)\.attn\.([qv])_bias", key):
            return f"{ours}.{found[1]}.{table['attn.qkv']}.bias:{found[2]}"
        found = re.fullmatch(re.escape(stem) + _LAYER_PART, key)
        if found and found[2] in table:
            return f"{ours}.{found[1]}.{table[found[2]]}.{found[3]}"
    for pattern, replacement in _RENAMED.items():
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    return None
