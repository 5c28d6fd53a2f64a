import pytest

from st_llm_cli.training.attention import choose_attention
from tests.training.test_costs import small_model


@pytest.mark.parametrize(
    ("precision", "cpu", "encoder"),
    [("bfloat16", True, "eager"), ("bfloat16", False, "sdpa"), ("float32", True, "sdpa")],
)
def test_only_short_sequences_in_bfloat16_on_a_cpu_go_without_sdpa(
    precision: str, cpu: bool, encoder: str
) -> None:
    model = small_model(video_input="all")
    choose_attention(model, precision, cpu=cpu)
    assert model.vision_model.config._attn_implementation == encoder
    assert model.language_model.config._attn_implementation == "sdpa"
