"""Pictures of a run's clips: which, how many, kept where."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from st_llm_cli.bench.record import strip_key
from st_llm_cli.bench.sample import Media, Prediction
from st_llm_cli.errors import DataError
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.stages.strips import NAME, in_turn, read_strips, strips_of
from tests.bench.records import sample

SETTINGS = {"sampler": "uniform", "num_frames": 4}


def said(number: int, task: str, right: bool) -> Prediction:
    return Prediction(sample(number, task), "B" if right else "A")


def test_tasks_take_turns_and_wrong_answers_come_first() -> None:
    predictions = [said(0, "a", True), said(1, "a", True), said(2, "a", False), said(3, "b", True)]
    assert [media.name for media in in_turn(predictions, "strict")] == ["2.mp4", "3.mp4", "0.mp4", "1.mp4"]


def test_clips_that_could_not_be_read_are_left_out() -> None:
    lost = replace(said(0, "a", False), reply=None, error="DamagedVideoError: broken")
    assert list(in_turn([lost], "strict")) == []


def test_parts_of_a_clip_have_names_of_their_own() -> None:
    media = Media("a.mp4", None)
    assert strip_key(media) == "a.mp4"
    assert strip_key(replace(media, start_seconds=1.5, end_seconds=4.0)) == "a.mp4, 1.5 s to 4 s"
    assert strip_key(replace(media, start_seconds=1.5)) == "a.mp4, 1.5 s to the end"


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> list[Prediction]:
    folder = tmp_path_factory.mktemp("strips")
    write_video(make_scene(1), folder / "0.mp4", Encoding(96, 48, 10))
    found = []
    for number, path in enumerate((folder / "0.mp4", folder / "gone.mp4", folder / "0.mp4")):
        own = sample(number)
        found.append(Prediction(replace(own, clips=(Media(f"{number}.mp4", path),)), "A"))
    return found


def test_pictures_show_the_frames_the_model_was_given(predictions: list[Prediction], tmp_path: Path) -> None:
    steps: list[str] = []
    found = strips_of(predictions, SETTINGS, tmp_path, step=steps.append)
    assert list(found) == ["0.mp4", "2.mp4"] and steps == ["0.mp4", "1.mp4", "2.mp4"]
    assert len(found["0.mp4"].times_seconds) == 4
    picture = Image.open(io.BytesIO(found["0.mp4"].jpeg))
    assert picture.size == (4 * 160, 80)
    assert np.asarray(picture).std() > 1


def test_kept_pictures_need_no_clips(predictions: list[Prediction], tmp_path: Path) -> None:
    first = strips_of(predictions, SETTINGS, tmp_path)
    moved = [
        replace(each, sample=replace(each.sample, clips=(replace(each.sample.clips[0], path=None),)))
        for each in predictions
    ]
    assert strips_of(moved, SETTINGS, tmp_path) == read_strips(tmp_path / NAME) == first
    assert strips_of(moved, SETTINGS, tmp_path / "elsewhere") == {}


def test_number_and_size_are_limited(predictions: list[Prediction], tmp_path: Path) -> None:
    whole = strips_of(predictions, SETTINGS, tmp_path)
    size = len(whole["0.mp4"].jpeg)
    assert list(strips_of(predictions, SETTINGS, tmp_path, most_clips=1)) == ["0.mp4"]
    assert list(strips_of(predictions, SETTINGS, tmp_path, most_bytes=size)) == ["0.mp4"]
    assert strips_of(predictions, SETTINGS, tmp_path, most_clips=0) == {}
    assert read_strips(tmp_path / NAME) == whole, "a smaller report forgets nothing"


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"clip": "a"}\n')
    with pytest.raises(DataError, match="line 1 is damaged"):
        read_strips(tmp_path / NAME)
