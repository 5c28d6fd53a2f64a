"""Pictures and numbers recorded from the released evaluation preprocessing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from st_llm_cli.video.transform import ResizeCenterCrop, normalize
from tests.parity.golden import recorded

FOLDER = recorded("preprocess")
FACTS: dict[str, Any] = json.loads((FOLDER / "preprocess.json").read_text(encoding="utf-8"))
TENSORS = load_file(Path(FOLDER / "preprocess.safetensors"))
NAMES = [name for name in FACTS["images"] if name != "group3"]
assert NAMES, f"no pictures in {FOLDER}"


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_within_one_grey_level(name: str) -> None:
    facts = FACTS["images"][name]
    transform = ResizeCenterCrop(facts["resolution"])
    assert list(transform.resized_size(facts["width"], facts["height"])) == facts["resized_size_wh"]
    picture = transform(TENSORS[f"{name}.input"])
    recorded = TENSORS[f"{name}.output_uint8"].transpose(1, 2, 0)
    assert picture.dtype == np.uint8
    assert picture.shape == recorded.shape
    assert np.abs(picture.astype(int) - recorded.astype(int)).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_normalised_values(name: str) -> None:
    facts = FACTS["images"][name]
    recorded_picture = TENSORS[f"{name}.output_uint8"].transpose(1, 2, 0)
    ours = normalize(recorded_picture[None], FACTS["mean"], FACTS["std"])[0]  # [3, height, width]
    assert ours.shape == tuple(facts["output_shape"])
    assert ours.dtype == torch.float32
    if f"{name}.output" in TENSORS:
        recorded = torch.from_numpy(TENSORS[f"{name}.output"])
    else:
        middle = (facts["resolution"] - 32) // 2
        ours = ours[:, middle : middle + 32, middle : middle + 32]
        recorded = torch.from_numpy(TENSORS[f"{name}.output_center32"])
    assert (ours - recorded).abs().max().item() <= 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_picture_to_numbers_matches_the_recorded_statistics(name: str) -> None:
    facts = FACTS["images"][name]
    picture = ResizeCenterCrop(facts["resolution"])(TENSORS[f"{name}.input"])
    ours = normalize(picture[None], FACTS["mean"], FACTS["std"]).double()
    assert ours.mean().item() == pytest.approx(facts["mean"], abs=1e-3)
    assert ours.abs().mean().item() == pytest.approx(facts["abs_mean"], abs=1e-3)


def test_frames_of_a_clip_keep_their_order() -> None:
    facts = FACTS["images"]["group3"]
    transform = ResizeCenterCrop(facts["resolution"])
    frames = np.stack([transform(frame) for frame in TENSORS["group3.input"]])
    ours = normalize(frames, FACTS["mean"], FACTS["std"])  # [frames, 3, height, width]
    recorded = torch.from_numpy(TENSORS["group3.output"])
    # One grey level apart is 0.015 after division by the smallest standard deviation.
    assert (ours.flatten(0, 1) - recorded).abs().max().item() <= 0.016
