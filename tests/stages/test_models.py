"""Checkpoints made from nothing."""

from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import CheckpointError, RecipeError
from st_llm_cli.recipe import load_recipe
from st_llm_cli.recipe.schema import Recipe
from st_llm_cli.stages.models import make_new
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.video.reader import read_clip
from tests.training.small import small_recipe

VIDEO = Path(__file__).parents[1] / "data" / "videos" / "one_frame.mp4"


def small_new(**settings: object) -> Recipe:
    return small_recipe({}, **settings)


def test_a_new_checkpoint_answers(tmp_path: Path) -> None:
    make_new(small_new(), tmp_path / "new")
    model = load_model(str(tmp_path / "new"))
    clip = read_clip(VIDEO, num_frames=3, transform=model.transform)
    assert isinstance(model.answer(clip, "What does the circle do?"), str)


def test_a_seed_names_the_weights(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        make_new(small_new(), tmp_path / name, seed)
    one, again, other = (
        load_model(str(tmp_path / name)).model.projection.weight for name in ("one", "again", "other")
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_q_former_that_reads_the_question_has_its_words(tmp_path: Path) -> None:
    recipe = load_recipe("wide", ["model.new.qformer.reads_question=true", *SMALL])
    make_new(recipe, tmp_path / "new")
    assert load_model(str(tmp_path / "new")).tokenizers.question is not None


def test_a_recipe_that_starts_from_a_checkpoint_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="starts from 'tiny'"):
        make_new(small_new(new=None, checkpoint="tiny"), tmp_path / "new")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is not empty"):
        make_new(small_new(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_wide_recipe_has_the_proportions_of_the_7b_model() -> None:
    new = load_recipe("wide").model.new
    assert new is not None
    patches = (new.vision.image_size // new.vision.patch_size) ** 2 + 1
    vision = flops(new.vision.hidden_dim, new.vision.num_layers, patches, mlp=2) * 16
    tokens = 16 * new.qformer.num_queries + 128
    language = flops(new.language.hidden_dim, new.language.num_layers, tokens, mlp=3, causal=True)
    assert vision / language == pytest.approx(8.3 / 8.4, rel=0.1)  # TFLOP of the 7B model
    assert 50e9 < vision < 100e9  # one to two seconds at 50 GFLOP/s


def flops(dim: int, layers: int, length: int, *, mlp: int, causal: bool = False) -> float:
    """Of a transformer whose hidden layers are three times as wide, with `mlp` matrices each."""
    attention = 4 * length**2 * dim / (2 if causal else 1)
    return layers * (2 * length * (4 + 3 * mlp) * dim**2 + attention)


SMALL = [f"model.new.{part}.hidden_dim=32" for part in ("vision", "qformer", "language")]
