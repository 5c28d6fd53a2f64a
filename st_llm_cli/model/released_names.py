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
_LAYERED = (
    ("visual_encoder.blocks", "vision_model.encoder.layers", _BLOCK),
    ("visual_encoder.BTAdapter_S", "bt_adapter.spatial", _BLOCK),
    ("visual_encoder.BTAdapter_T", "bt_adapter.temporal", _TEMPORAL),
)
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
_RENAMED_BACK = {
    r"vision_model\.post_layernorm\.(.+)": r"ln_vision.\1",
    r"projection\.(.+)": r"llama_proj.\1",
    r"global_local\.(down|up)\.(.+)": r"\1_proj.\2",
    r"masked_video_decoder\.(.+)": r"mvm_decoder.\1",
    r"qformer\.model\.(encoder\.layer\.\d+\.\w*attention)\.attention\.(.+)": r"Qformer.bert.\1.self.\2",
    r"qformer\.model\.(.+)": r"Qformer.bert.\1",
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


def their_name(name: str, *, reads_question: bool) -> str | None:
    """Translate one of our names back, to what LAVIS' files call it; released ones put `PREFIX` in front.

    Args:
        name: Name of one of our tensors, or of half a bias, outside of the language model.
        reads_question: As for `our_name`.

    Returns:
        Their name, two where they keep a tensor in halves, or None if they have none.
    """
    name, _, half = name.partition(":")
    for theirs, ours in _SINGLE.items():
        if name == ours:
            return theirs
    for stem, ours, table in _LAYERED:
        found = re.fullmatch(re.escape(ours) + _LAYER_PART, name)
        for part, our_part in table.items():
            if found and (found[2], found[3]) == (our_part, "bias") and part == "attn.qkv":
                return " and ".join(f"{stem}.{found[1]}.attn.{each}_bias" for each in half or "qv")
            if found and found[2] == our_part:
                return f"{stem}.{found[1]}.{part}.{found[3]}"
    room = "embeddings." if reads_question else ""
    if found := re.fullmatch(rf"qformer\.model\.{re.escape(room)}layernorm\.(weight|bias)", name):
        return f"Qformer.bert.embeddings.LayerNorm.{found[1]}"
    for pattern, replacement in _RENAMED_BACK.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    return None


def _vision_language_name(key: str, reads_question: bool) -> str | None:
    if key in _SINGLE:
        return _SINGLE[key]
    if found := re.fullmatch(r"Qformer\.bert\.embeddings\.LayerNorm\.(weight|bias)", key):
        room = "embeddings." if reads_question else ""
        return f"qformer.model.{room}layernorm.{found[1]}"
    for stem, ours, table in _LAYERED:
        if found := re.fullmatch(re.escape(stem) + r"\.(\d+)\.attn\.([qv])_bias", key):
            return f"{ours}.{found[1]}.{table['attn.qkv']}.bias:{found[2]}"
        found = re.fullmatch(re.escape(stem) + _LAYER_PART, key)
        if found and found[2] in table:
            return f"{ours}.{found[1]}.{table[found[2]]}.{found[3]}"
    for pattern, replacement in _RENAMED.items():
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    return None
