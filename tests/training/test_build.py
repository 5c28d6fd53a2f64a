import pytest
import torch

from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe.schema import Recipe
from st_llm_cli.training.build import grid_shape, new_config, new_model, place_codes
from st_llm_cli.training.data.shapes import shapes_vocabulary
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.training.small import small_recipe


def build(recipe: Recipe, seed: int = 0) -> StllmForConditionalGeneration:
    assert recipe.model.new is not None
    tokenizer = word_tokenizer(shapes_vocabulary())
    return new_model(new_config(recipe.model, recipe.model.new, tokenizer, recipe.video.num_frames), seed)


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (build(small_recipe({}), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["projection.weight"], other["projection.weight"])


def test_making_a_model_leaves_the_global_randomness_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build(small_recipe({}))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_recipe_decides_the_method() -> None:
    recipe = small_recipe({}, masking="paper", mvm="paper", video_input="residual", num_local_frames=2)
    config = build(recipe).config
    assert (config.video_input, config.num_local_frames, config.num_frames) == ("residual", 2, 3)
    assert (config.masked_video_loss, config.masked_video_decoder) == ("mse", False)
    assert (config.prompt_format, config.trained_on) == ("plain", "shapes")


def test_near_places_have_codes_more_alike() -> None:
    codes = torch.nn.functional.normalize(place_codes(6, 6, 64), dim=1)
    alike = codes @ codes[0]  # to the top left cell
    assert alike[0] == pytest.approx(1)
    assert alike[0] > alike[1] > alike[3]
    assert alike[6] > alike[18]


@pytest.mark.parametrize(
    ("cells", "shape"), [(9, (3, 3)), (8, (2, 4)), (12, (3, 4)), (7, (1, 7)), (1, (1, 1))]
)
def test_queries_stand_on_the_squarest_grid(cells: int, shape: tuple[int, int]) -> None:
    assert grid_shape(cells) == shape


def test_each_query_first_looks_at_its_own_part_of_the_frame() -> None:
    part = {"hidden_dim": 64, "num_layers": 1, "num_heads": 2}
    new = {
        "vision": {"image_size": 48, "patch_size": 8, **part},
        "qformer": {"num_queries": 9, **part},
        "language": part,
    }
    model = build(small_recipe({}, new=new))
    qformer = model.qformer.model
    attention = qformer.encoder.layer[0].crossattention.attention
    patches = model.vision_model.embeddings.position_embedding[0, 1:]
    scores = attention.query(qformer.layernorm(model.qformer.query_tokens[0])) @ attention.key(patches).T
    best = scores.argmax(dim=1)
    rows, columns = best // 6 // 2, best % 6 // 2  # of the 3x3 grid
    assert (rows * 3 + columns).tolist() == list(range(9))


def test_frames_and_patches_change_what_a_new_model_says() -> None:
    model = build(small_recipe({}))
    frames = torch.rand(1, 3, 3, 16, 16)
    with torch.no_grad():
        one, other = (model.encode_video(frames=pixels)[0][0] for pixels in (frames, frames.flip(-1)))
    assert (one - other).abs().mean() > 0.01
