"""Every recipe, with `--tiny`: two steps end to end on real video files, as its stages and DeepSpeed say."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from st_llm_cli.errors import DataError
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.published import published_config
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe import list_recipes, load_recipe
from st_llm_cli.stages.in_small import in_small, small_config
from st_llm_cli.stages.video_model import load_model
from tests.training.data.files import clip_entry, write_json, write_media

IMPORTS = [
    "deepspeed",
    "peft",
    "st_llm_cli.stages.train",
    "st_llm_cli.stages.run",
    "st_llm_cli.training.trainer",
]
DEADLINE_SECONDS = 240


@pytest.fixture(scope="module")
def processes() -> BaseContext:
    """Processes of their own, forked from one that has imported all that takes long."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTS)
    return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the data that recipes name: two real clips of each source."""
    root = tmp_path_factory.mktemp("world")
    clips = write_media(root / "clips", 2)
    for name in list_recipes():
        for source in (source for stage in load_recipe(name).training for source in stage.data):
            if source.files is None:
                continue
            _, place = source.files
            annotations, media = root / place.annotations, root / place.media
            annotations.parent.mkdir(parents=True, exist_ok=True)
            write_json(annotations, [clip_entry(0), clip_entry(1)])
            shutil.copytree(clips, media, dirs_exist_ok=True)
    return root


def stllm_in(folder: Path, arguments: list[str], said: Path) -> None:
    """Be `stllm ARGUMENTS` in a folder."""
    from st_llm_cli.cli.main import main

    os.chdir(folder)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.stdout = sys.stderr = said.open("w", buffering=1)  # until the process ends
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    main(arguments)


def run(processes: BaseContext, folder: Path, *arguments: str) -> str:
    """Run `stllm` to its end; what it said."""
    said = folder / "said.txt"
    process = processes.Process(target=stllm_in, args=(folder, list(arguments), said))  # type: ignore[attr-defined]
    process.start()
    process.join(DEADLINE_SECONDS)
    assert process.exitcode == 0, f"{process.exitcode}: {said.read_text()}"
    return said.read_text()


def settings_here(name: str) -> list[str]:
    """What must be changed of a recipe that asks for what is not installed."""
    if name.endswith("_qlora") and importlib.util.find_spec("bitsandbytes") is None:
        return ["--set", "model.lora.quantize=null"]
    return []


@pytest.mark.slow
@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_trains_two_steps_on_real_files(processes: BaseContext, world: Path, name: str) -> None:
    folder = world / "runs" / name.replace("/", "-")
    run(processes, world, "train", name, "--tiny", "--output", str(folder), *settings_here(name))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    recipe = load_recipe(name)
    assert [(line["stage"], line["step"]) for line in lines] == [
        (stage.name, step) for stage in recipe.training for step in (1, 2)
    ]
    assert all(line["loss"] > 0 and line["gradient_norm"] > 0 for line in lines)
    if recipe.model.masking is not None:
        assert any(line["mask_ratio"] for line in lines)
    if recipe.model.mvm is not None and recipe.training[-1].mask:
        assert any(line["masked_video_loss"] for line in lines)
    assert load_model(str(folder), device="cpu").num_frames == min(4, recipe.video.num_frames)


@pytest.mark.slow
def test_a_recipe_runs_in_small_from_cache_to_score(processes: BaseContext, world: Path) -> None:
    folder, shapes = world / "runs" / "whole", world / "shapes"
    bench = ["--set", "stages.2.eval.bench=shapes", "--set", f"stages.2.eval.data={shapes}"]
    bench += ["--set", "stages.2.eval.world=plain"]  # quicker to draw
    command = ["run", "instructblip_qa_cached", "--tiny", "--output", str(folder), *bench, "--json"]
    command += ["--set", "stages.1.train.deepspeed=null", "--cache", str(world / "cache")]
    said = run(processes, world, *command)
    assert json.loads(said.splitlines()[-1])["done"] == [
        "extract_features clips of the stages after it",
        "train answers",
        "eval shapes",
    ]
    assert (folder / "eval" / "2-shapes" / "scores.json").exists()
    again = run(processes, world, *command)
    assert json.loads(again.splitlines()[-1])["done"] == []


def test_data_that_are_missing_are_looked_for_at_the_top_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"runs/claims/long/train\.json: no such file or folder") as caught:
        in_small("claims/long", [], tmp_path / "run")
    recipe = str(caught.value.fix).partition("more at the top of ")[2]
    assert "`python tests/performance/claims.py --only long` writes the clips" in Path(recipe).read_text()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variant", ["instructblip_vicuna0_btadapter", "minigpt4_vicuna0_btadapter_mean"])
def test_a_small_model_has_the_parts_of_the_large_one(variant: str) -> None:
    large = published_config(variant)
    small = small_config(large, words=300, question_words=200)
    kept = ("reads_question", "mixes_frames", "video_input", "masked_video_decoder", "prompt_format")
    assert all(getattr(small, name) == getattr(large, name) for name in kept)
    assert StllmForConditionalGeneration(StllmConfig.from_dict(small.to_dict())).num_parameters() < 200_000
