import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import get_worker_info

from st_llm_cli.recipe.schema import Recipe, Train
from st_llm_cli.training import settings
from st_llm_cli.training.data.stream import ExampleStream
from tests.training.small import small_recipe
from tests.training.test_trainer import train


def shapes_recipe(**stage: object) -> Recipe:
    return small_recipe({"steps": 6, "optimizer": "muon", **stage})


def use_renderers(count: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settings, "_renderers", lambda stage: count)


@pytest.mark.parametrize("objective", ["answers", "tracks", "cells"])
def test_processes_that_draw_change_nothing(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shapes_recipe(objective=objective, seed=3)
    alone, _ = train(recipe, tmp_path / "alone")
    use_renderers(2, monkeypatch)
    beside, _ = train(recipe, tmp_path / "beside")
    assert all(torch.equal(alone[name], beside[name]) for name in alone)


def test_signals_that_all_processes_get_are_for_the_one_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ExampleStream.__getitems__

    def draw(stream: ExampleStream, indices: list[int]) -> object:
        assert get_worker_info() is not None, "drawn beside"
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        return shown(stream, indices)

    monkeypatch.setattr(ExampleStream, "__getitems__", draw)
    use_renderers(1, monkeypatch)
    _, seen = train(shapes_recipe(), tmp_path)
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("gpu", "data", "renderers"),
    [
        (False, [{"shapes": {}}], 0),
        (True, [{"shapes": {}}], 6),
        (True, [], 6),
        (True, [{"shapes": {}}, {"jsonl": {"annotations": "a.jsonl", "media": "."}}], 0),
    ],
)
def test_shapes_are_drawn_beside_a_gpu_only(
    gpu: bool, data: list[object], renderers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    stage = Train.model_validate({"steps": 1, "data": data, "objective": "answers"})
    assert settings._renderers(stage) == renderers
