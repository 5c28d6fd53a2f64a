from typing import Any

from st_llm_cli.recipe.differences import differences
from tests.training.small import small_recipe

TWO_SOURCES = [{"shapes": {}}, {"shapes": {"kind": "images"}}]


def said(before: dict[str, Any], now: dict[str, Any], **model: Any) -> list[str]:
    return [str(each) for each in differences(small_recipe(before), small_recipe(now, **model))]


def test_equal_recipes_differ_in_nothing() -> None:
    assert said({}, {}) == []


def test_a_setting_is_named_as_set_takes_it() -> None:
    assert said({"lr": 1e-3, "freeze": ["vision"]}, {"lr": 2e-3}) == [
        "stages.0.train.lr was 0.001, is 0.002",
        'stages.0.train.freeze was ["vision"], is []',
    ]


def test_entries_of_lists_of_one_length_are_compared_one_by_one() -> None:
    other = [TWO_SOURCES[0], {"shapes": {"kind": "videos"}}]
    (line,) = said({"data": TWO_SOURCES}, {"data": other})
    assert line == 'stages.0.train.data.1.shapes.kind was "images", is "videos"'


def test_long_values_are_shortened() -> None:
    (line,) = said({"data": TWO_SOURCES}, {"data": 3 * [TWO_SOURCES[0]]})
    assert line == "stages.0.train.data was a list of 2, is a list of 3"


def test_a_block_that_is_absent_is_one_difference() -> None:
    (line,) = said({}, {}, masking="paper")
    assert line == 'model.masking was null, is {"mean": 0.5, "std": 0.1, "low": 0.3, "high": 0.7}'


def test_another_number_of_stages_is_one_difference() -> None:
    (found,) = differences(small_recipe({}), small_recipe({}, {}))
    assert found.place == ("stages",)
