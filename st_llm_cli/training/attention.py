"""Which attention kernel trains fastest where."""

from __future__ import annotations

from st_llm_cli.model.st_llm import StllmForConditionalGeneration


def choose_attention(model: StllmForConditionalGeneration, precision: str, *, cpu: bool) -> None:
    """Leave `sdpa` everywhere, except before the language model on a CPU in bfloat16.

    There its backward pass takes up to three times as long as `eager` over the short sequences of a frame.
    Over those of a video it is the faster one, and does without [heads, length, length] scores in float32.

    Args:
        model: The model that is going to be trained.
        precision: Of the stage.
        cpu: Whether it trains on a CPU.
    """
    if cpu and precision == "bfloat16":
        model.set_attn_implementation("eager")
        model.language_model.set_attn_implementation("sdpa")
