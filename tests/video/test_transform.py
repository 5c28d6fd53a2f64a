from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import RandomResizedCrop, ResizeCenterCrop, Transform, normalize
from tests.video.stripe import small_copy

SIZE = st.integers(min_value=1, max_value=4000)


@pytest.mark.parametrize("size", [(10, 10), (7, 30), (30, 7), (1, 1), (224, 225)])
@pytest.mark.parametrize("transform", [ResizeCenterCrop(28), RandomResizedCrop(28, seed=3)])
def test_pictures_of_any_size_become_the_square(transform: Transform, size: tuple[int, int]) -> None:
    picture = transform(np.full((*size, 3), 77, dtype=np.uint8))
    assert picture.shape == (28, 28, 3)
    assert picture.dtype == np.uint8
    assert (picture == 77).all()


def test_center_crop_takes_the_middle() -> None:
    picture = np.zeros((10, 30, 3), dtype=np.uint8)
    picture[:, 10:20] = 255
    assert (ResizeCenterCrop(10)(picture) == 255).all()


@given(width=SIZE, height=SIZE, seed=st.integers(0, 1000))
def test_random_crop_lies_inside_the_picture(width: int, height: int, seed: int) -> None:
    left, top, right, bottom = RandomResizedCrop(224, seed).crop_box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(seed=st.integers(0, 1000))
def test_random_crop_keeps_at_least_half_and_an_allowed_ratio(seed: int) -> None:
    left, top, right, bottom = RandomResizedCrop(224, seed).crop_box(640, 480)
    assert (right - left) * (bottom - top) >= 0.495 * 640 * 480
    assert 0.74 <= (right - left) / (bottom - top) <= 1.35


def test_random_crop_follows_its_seed() -> None:
    boxes = {RandomResizedCrop(224, seed).crop_box(640, 480) for seed in range(20)}
    assert len(boxes) == 20
    assert RandomResizedCrop(224, 7).crop_box(640, 480) == RandomResizedCrop(224, 7).crop_box(640, 480)


def test_a_clip_has_one_crop() -> None:
    whole = read_clip(small_copy("gray.mp4"), num_frames=6)
    transform = RandomResizedCrop(64, seed=4)
    cropped = read_clip(small_copy("gray.mp4"), num_frames=6, transform=transform)
    for frame, expected in zip(cropped.frames, whole.frames, strict=True):
        np.testing.assert_array_equal(frame, transform(expected))


@pytest.mark.parametrize("transform", [ResizeCenterCrop(28), RandomResizedCrop(28, seed=3)])
def test_transforms_travel_between_processes(transform: Transform) -> None:
    assert pickle.loads(pickle.dumps(transform)) == transform


def test_normalize_by_hand() -> None:
    frames = np.zeros((2, 1, 1, 3), dtype=np.uint8)
    frames[1] = [255, 51, 102]
    ours = normalize(frames, mean=(0.5, 0.0, 0.1), std=(0.5, 1.0, 2.0))
    assert tuple(ours.shape) == (2, 3, 1, 1)
    assert ours[1].flatten().tolist() == pytest.approx([1.0, 0.2, 0.15])


def test_normalize_leaves_the_frames_alone() -> None:
    frames = np.full((1, 2, 2, 3), 9, dtype=np.uint8)
    frames.flags.writeable = False
    normalize(frames, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (frames == 9).all()


def test_size_in_a_clip_is_the_one_before_the_transform(tmp_path: Path) -> None:
    clip = read_clip(small_copy("gray.mp4"), num_frames=2, transform=ResizeCenterCrop(32))
    assert clip.frames.shape == (2, 32, 32, 3)
    assert (clip.source.width, clip.source.height) == (320, 240)
