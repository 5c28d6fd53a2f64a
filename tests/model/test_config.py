from pathlib import Path

import pytest
from transformers import AutoConfig, CLIPVisionConfig, LlamaConfig

from st_llm_cli.model.config import StllmConfig
from tests.micro import micro_config


@pytest.mark.parametrize("language", ["llama", "qwen3"])
@pytest.mark.parametrize("reads_question", [False, True])
def test_nothing_is_lost_on_disk(tmp_path: Path, language: str, reads_question: bool) -> None:
    config = micro_config(
        language=language,
        reads_question=reads_question,
        video_input="residual",
        num_local_frames=7,
        positions="original",
        masked_video_loss="mse",
        trained_on="shapes",
        eos_token_id=[1, 2],
        image_mean=[0.5, 0.25, 0.125],
    )
    config.save_pretrained(tmp_path)
    for read in (StllmConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert isinstance(read, StllmConfig)
        assert read.to_dict() | {"_name_or_path": ""} == config.to_dict()
        assert read.text_config.model_type == language
        assert read.reads_question == reads_question
        assert read.num_local_frames == 7


def test_parts_may_be_given_as_dictionaries() -> None:
    config = StllmConfig(text_config={"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4})
    assert isinstance(config.text_config, LlamaConfig)
    assert config.text_config.hidden_size == 64
    assert config.vision_config.model_type == "instructblip_vision_model"
    assert config.reads_question


def test_qformer_takes_the_width_of_the_vision_tower() -> None:
    config = StllmConfig(vision_config=CLIPVisionConfig(hidden_size=24, num_attention_heads=2))
    assert config.qformer_config.encoder_hidden_size == 24


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"video_input": "some"}, "video_input is 'some'; it can be 'all', 'mean', 'residual'"),
        ({"positions": "dense"}, "positions is 'dense'; it can be 'compact', 'original'"),
        ({"masked_video_loss": "l1"}, "masked_video_loss is 'l1'; it can be 'cosine', 'mse'"),
        ({"compat": "old"}, "compat is 'old'; it can be None, 'released'"),
    ],
)
def test_unknown_choice(setting: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("'", ".")):
        micro_config(**setting)


@pytest.mark.parametrize(
    ("video_input", "num_frames", "tokens"),
    [("all", 5, 15), ("mean", 5, 3), ("residual", 5, 6), ("residual", 1, 3), ("all", 1, 3)],
)
def test_tokens_per_clip(video_input: str, num_frames: int, tokens: int) -> None:
    config = micro_config(video_input=video_input, num_local_frames=2)
    assert config.tokens_per_clip(num_frames) == tokens


def test_only_a_bt_adapter_mixes_frames() -> None:
    assert not micro_config().mixes_frames
    assert micro_config(bt_adapter_depth=1).mixes_frames


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_are_tied_as_the_language_model_ties_them(tied: bool) -> None:
    text = LlamaConfig(hidden_size=16, num_attention_heads=2, tie_word_embeddings=tied)
    assert StllmConfig(text_config=text).tie_word_embeddings == tied
