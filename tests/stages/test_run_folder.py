import resource
from pathlib import Path

import pytest

from st_llm_cli.errors import DataError, TrainingError
from st_llm_cli.recipe import load_recipe
from st_llm_cli.stages.run_folder import claim, write_run_file
from tests.training.small import small_recipe


@pytest.mark.parametrize(
    "changed",
    [
        {"save_every": 7, "log_every": 3, "report_to": ["tensorboard"], "max_failures": 0.5},
        {"batch_size": 2, "accumulate": 2, "gradient_checkpointing": True},
    ],
)
def test_how_a_run_goes_may_be_changed_on_the_way(
    changed: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claim(tmp_path / "run", small_recipe({}))
    claim(tmp_path / "run", small_recipe(changed))
    assert "goes on with other settings, which leave what is learnt as it is" in caplog.text
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == small_recipe(changed)


@pytest.mark.parametrize("changed", [{"batch_size": 2}, {"lr": 0.5}, {"steps": 3}, {"deepspeed": "zero2"}])
def test_what_a_run_learns_may_not(changed: dict[str, object], tmp_path: Path) -> None:
    claim(tmp_path / "run", small_recipe({}))
    with pytest.raises(TrainingError, match="holds a run of another recipe, or of other settings"):
        claim(tmp_path / "run", small_recipe(changed))
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == small_recipe({})


def test_a_recipe_that_this_version_cannot_read_is_another(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("from: the future\n")
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        claim(tmp_path, small_recipe({}))


def test_a_file_that_finds_no_room_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(DataError, match=r"recipe\.yaml: cannot be written: File too large \(make"):
            claim(tmp_path / "run", small_recipe({}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "run").iterdir())
    claim(tmp_path / "run", small_recipe({}))  # so the same command works once there is room


def test_a_file_that_cannot_be_written_anew_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_run_file(path, "{}")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(DataError):
            write_run_file(path, "{'more': 'than four'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "{}"
