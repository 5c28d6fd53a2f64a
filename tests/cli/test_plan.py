import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Stllm
from tests.training.small import small_recipe


@pytest.mark.slow
def test_what_does_not_fit_is_refused_with_what_helps_most(stllm: Stllm, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    recipe = small_recipe({"batch_size": 256}).model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump(recipe))
    ran = stllm("train", path, "--dry-run", "--device", "1.502GB,1TF", "--json")
    assert ran.code == 1
    (stage,) = json.loads(ran.out)["stages"]
    assert not stage["fits"] and stage["knobs"]
    best = min(stage["knobs"], key=lambda knob: knob["peak"])
    assert best["setting"] in ran.err and "does not fit" not in ran.out
    assert "needs 1.6 GB on each device" in ran.err
    assert not (tmp_path / "runs").exists()


def test_a_recipe_that_trains_nothing_is_not_planned(stllm: Stllm, tmp_path: Path) -> None:
    settings = small_recipe({}).model_dump(mode="json", exclude_none=True)
    stages = [{"eval": {"bench": "shapes", "data": "shapes"}}]
    (tmp_path / "eval.yaml").write_text(
        yaml.safe_dump({**settings, "model": {"checkpoint": "tiny"}, "stages": stages})
    )
    ran = stllm("train", tmp_path / "eval.yaml", "--dry-run")
    assert ran.code == 1 and "stages: has no training stage (add an entry '- train: …')" in ran.err


@pytest.mark.slow
def test_hours_of_a_small_model_on_a_gpu_come_with_a_word_of_warning(stllm: Stllm) -> None:
    planned = stllm("train", "tiny/rich", "--dry-run", "--device", "rtx4090")
    assert "all stages: " in planned.out and planned.out.endswith("Expect some ten times as long.\n")
    assert "ten times" not in stllm("train", "minigpt4_qa", "--dry-run", "--device", "a100-80g").out
