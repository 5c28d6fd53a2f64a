from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import DataError, RecipeError, TrainingError
from st_llm_cli.recipe import Recipe
from st_llm_cli.training import requirements
from st_llm_cli.training.requirements import check_requirements
from tests.training.data.files import source
from tests.training.small import small_recipe

LORA = {"new": None, "checkpoint": "gone", "lora": {"quantize": "4bit"}}


def check(recipe: Recipe) -> None:
    check_requirements(recipe, recipe.training)


def test_missing_compiler_is_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.shutil, "which", lambda tool, path=None: None if tool == "g++" else tool)
    monkeypatch.setattr(requirements, "has_gpu", lambda: False)
    with pytest.raises(TrainingError, match=r"there is no g\+\+ \(apt install g\+\+"):
        check(small_recipe({"deepspeed": "zero2"}))


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("accelerate", "train"), ("deepspeed", "train"), ("peft", "train"), ("bitsandbytes", "quant")],
)
def test_a_package_that_only_training_needs_is_named_with_the_extra(
    missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: None if name == missing else 1)
    said = rf"{missing} is not installed \(pip install 'stllm\[{extra}\]'\)"
    with pytest.raises(TrainingError, match=said):
        check(small_recipe({}, {"deepspeed": "zero3"}, **LORA))


def test_nothing_is_asked_for_stages_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: None)
    check_requirements(small_recipe({"deepspeed": "zero3"}), [])


def test_half_precision_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="float16 needs a GPU"):
        check(small_recipe({}, {"precision": "float16"}))


def test_an_unknown_logger_of_a_later_stage_is_refused() -> None:
    with pytest.raises(RecipeError, match="stage 'stage1', report_to: no logger 'tensorbored'"):
        check(small_recipe({"report_to": ["tensorboard"]}, {"report_to": ["tensorbored"]}))


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    data = {"data": [source(tmp_path / "none.json", tmp_path)]}
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file or directory"):
        check(small_recipe({}, data, new=None, checkpoint="gone"))
