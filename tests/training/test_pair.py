"""A published vision encoder and language model joined: small ones with random weights, as folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, Qwen3Config, SiglipConfig

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.parts import PREPROCESSOR, language_config, vision_part
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages.export import export
from st_llm_cli.stages.models import make_new
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.training.pair import config_of_pair, start_pair
from st_llm_cli.training.tokenizer import byte_tokenizer, chat_tokenizer
from tests.training.small import small_recipe

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LOOKS = '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}'


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vision`, both towers of SigLIP2 as published, and `language`, Qwen3 with its chat template."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    towers = SiglipConfig(
        vision_config={**SIZES, "image_size": 32, "patch_size": 16}, text_config={**SIZES, "vocab_size": 99}
    )
    AutoModel.from_config(towers).save_pretrained(folder / "vision")
    (folder / "vision" / PREPROCESSOR).write_text(LOOKS)
    tokenizer = chat_tokenizer()
    text = Qwen3Config(
        **SIZES,
        num_key_value_heads=1,
        head_dim=12,
        vocab_size=len(tokenizer) + 5,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(text).save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")
    return folder


def recipe_of(parts: Path, **model: object) -> Recipe:
    qformer = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2, "num_queries": 3}
    auto = {"vision": str(parts / "vision"), "language": str(parts / "language"), "qformer": qformer}
    return small_recipe({}, new=None, auto=auto, mvm="released", masking="released", **model)


def test_both_parts_keep_their_weights(parts: Path) -> None:
    model, tokenizers = start_pair(recipe_of(parts), seed=1)
    towers = AutoModel.from_pretrained(parts / "vision")
    assert type(model.vision_model).__name__ == "SiglipVisionModel" and not model.vision_model.use_head
    frames = torch.rand(2, 3, 32, 32)
    theirs = towers.vision_model(frames).last_hidden_state
    torch.testing.assert_close(model.encode_vision(frames[None])[0], theirs)
    ids = torch.tensor([tokenizers.language("What moves?")["input_ids"]])
    language = AutoModelForCausalLM.from_pretrained(parts / "language")
    torch.testing.assert_close(model.language_model(ids).logits, language(ids).logits)
    assert model.config.image_std == [0.25, 0.25, 0.25]
    assert tokenizers.question is None


def test_new_parts_follow_the_seed(parts: Path) -> None:
    one, same, other = (start_pair(recipe_of(parts), seed)[0].qformer.query_tokens for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.std() > 0.01


def test_a_pair_is_kept_loaded_asked_and_exported(parts: Path, tmp_path: Path) -> None:
    make_new(recipe_of(parts), tmp_path / "start")
    exported = export(str(tmp_path / "start"), tmp_path / "plain")
    frames = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    answers = []
    for folder in (tmp_path / "start", exported.folder):
        loaded = load_model(str(folder), device="cpu")
        assert loaded.model.config.chat_marks["first"] == "<|im_start|>user\n"
        prompt = loaded.chat_prompt("What moves?")
        video, _ = loaded.model.encode_video(torch.as_tensor(frames).permute(0, 3, 1, 2)[None] / 255.0)
        ids = torch.tensor([prompt.ids(loaded.tokenizers.language, loaded.model.config)])
        answers.append(loaded.model.generate(ids, video, max_new_tokens=4, do_sample=False).tolist())
    assert answers[0] == answers[1]
    assert "| vision encoder | siglip_vision_model |" in (exported.folder / "README.md").read_text()


def test_sizes_are_known_before_anything_is_downloaded(parts: Path) -> None:
    recipe = recipe_of(parts)
    assert recipe.model.auto is not None
    published = {"vision": "google/siglip2-base-patch16-256", "language": "Qwen/Qwen3-1.7B"}
    auto = recipe.model.auto.model_copy(update=published)
    config = config_of_pair(
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"auto": auto})})
    )
    assert (config.vision_config.hidden_size, config.text_config.hidden_size) == (768, 2048)
    assert config.text_config.head_dim == 128


def test_a_language_model_without_a_template_is_refused(parts: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(parts / "language").save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    recipe = recipe_of(parts)
    assert recipe.model.auto is not None
    auto = recipe.model.auto.model_copy(update={"language": str(tmp_path / "base")})
    changed = recipe.model_copy(update={"model": recipe.model.model_copy(update={"auto": auto})})
    with pytest.raises(CheckpointError, match="no chat template"):
        start_pair(changed, 0)


def test_what_is_no_such_part_is_named(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no configuration that transformers knows"):
        language_config(str(tmp_path))
    (parts / "language" / PREPROCESSOR).write_text(LOOKS)
    with pytest.raises(CheckpointError, match="not a vision encoder"):
        vision_part(str(parts / "language"))
