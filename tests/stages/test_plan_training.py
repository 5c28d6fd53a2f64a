import pytest

from st_llm_cli.errors import CheckpointError, RecipeError
from st_llm_cli.model.published import published_config
from st_llm_cli.model.variants import VARIANTS
from st_llm_cli.recipe import list_recipes, load_recipe
from st_llm_cli.recipe.schema import Recipe, Variant
from st_llm_cli.stages.plan_training import cached_level, plan, planned_config, refuse_what_cannot_fit
from st_llm_cli.training.devices import named_device
from st_llm_cli.training.method import apply_method
from st_llm_cli.training.rehearsal import without_contents
from tests.micro import micro_config
from tests.training.small import small_recipe


def test_the_variants_of_recipes_are_those_of_checkpoints() -> None:
    assert set(Variant.__args__) == set(VARIANTS)  # type: ignore[attr-defined]


def test_a_plan_counts_parameters_by_part_and_says_whether_they_learn() -> None:
    recipe = small_recipe({"freeze": ["vision", "qformer"]}, masking="released")
    planned = plan(recipe, device="cpu")
    (stage,) = planned.stages
    assert planned.fits and stage.fits and stage.batch is not None and stage.batch > 4
    learns = {part.name: part.trained > 0 for part in stage.parts}
    assert learns == {"vision encoder": False, "Q-Former": False, "projection": True, "language model": True}
    assert stage.shape.video_tokens == 12 and stage.shape.kept_tokens == 6
    assert stage.samples == 8 and stage.hours > 0


def test_a_cpu_loses_memory_to_holes_between_activations() -> None:
    cpu = named_device("cpu", "float32")
    memory = plan(small_recipe({}), device="cpu").stages[0].memory
    assert cpu.holes > 0 and named_device("h200", "float32").holes == 0
    assert memory.buffers == pytest.approx(cpu.overhead + cpu.holes * memory.activations)


def test_layers_that_a_stage_adds_are_counted_from_then_on() -> None:
    recipe = small_recipe({}, {"add_layers": 2}, {})
    planned = plan(recipe, device="cpu")
    first, second, third = (
        next(part.trained for part in stage.parts if part.name == "language model")
        for stage in planned.stages
    )
    assert first < second == third


def test_what_is_asked_beside_an_objective_is_counted() -> None:
    silent, asked = plan(small_recipe({"objective": "tracks", "data": []}, {"objective": "tracks"})).stages
    assert silent.shape.text.length == 1
    assert asked.shape.text.length > 2 and asked.flops.total > silent.flops.total


def test_questions_that_share_a_clip_are_counted_where_data_are_on_disk() -> None:
    def text(number: int) -> int:
        place = {"annotations": "a.json", "media": ".", "questions_per_clip": number}
        return plan(small_recipe({"data": [{"videochat2": place}]})).stages[0].shape.text.length

    assert text(6) == 6 * text(1)


def test_questions_about_moving_shapes_are_counted_beside_data_on_disk() -> None:
    def text(*sources: dict[str, object]) -> int:
        return plan(small_recipe({"data": list(sources)})).stages[0].shape.text.length

    on_disk = {"videochat2": {"annotations": "a.json", "media": "."}}
    assert text(on_disk, {"shapes": {"questions_per_clip": 6}}) == 6 * text(on_disk)


def test_a_checkpoint_that_is_not_there_is_planned_by_its_variant() -> None:
    recipe = load_recipe("instructblip_qa")
    config, where = planned_config(recipe)
    assert "as published" in where and config.text_config.hidden_size == 4096
    unknown = recipe.model_copy(update={"model": recipe.model.model_copy(update={"variant": None})})
    with pytest.raises(CheckpointError, match="no such folder here"):
        planned_config(unknown)


def test_a_checkpoint_of_another_kind_is_refused() -> None:
    recipe = load_recipe("instructblip_qa")
    with pytest.raises(RecipeError, match="BT-Adapter is False there, not True"):
        apply_method(published_config("instructblip_vicuna0_all"), recipe)


def test_a_word_table_that_is_the_head_too_is_counted_once() -> None:
    config = micro_config()
    words = config.text_config.vocab_size * config.text_config.hidden_size

    def language(tied: bool) -> int:
        config.text_config.tie_word_embeddings = config.tie_word_embeddings = tied
        model = without_contents(config, lambda model: None)
        return sum(weight.numel() for weight in model.language_model.parameters())

    assert language(tied=False) - language(tied=True) == words


def test_tokens_come_from_the_cache_where_they_stay_the_same() -> None:
    def level(name: str) -> str | None:
        recipe = load_recipe(name)
        return cached_level(recipe, recipe.training[0], planned_config(recipe)[0])

    assert level("instructblip_qa_cached") == "frames"
    assert level("instructblip_qa") is None  # random crops, and a BT-Adapter that learns


def bundled() -> list[str]:
    return [name for name in list_recipes()]


@pytest.mark.parametrize("name", bundled())
def test_every_recipe_loads(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description.endswith(".") and recipe.training


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled())
def test_every_recipe_plans(name: str) -> None:
    recipe: Recipe = load_recipe(name)
    planned = plan(recipe, device="h200", processes=8 if recipe.training[0].deepspeed else 1)
    refuse_what_cannot_fit(planned)
    assert planned.hours > 0 and all(stage.memory.peak > 0 for stage in planned.stages)
