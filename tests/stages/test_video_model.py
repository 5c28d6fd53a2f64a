from pathlib import Path

import numpy as np
import pytest

from st_llm_cli.errors import UsageError
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.video.clip import Clip, Source
from tests.micro import write_micro_checkpoint

QUESTION = "What does the red circle do first?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module")
def model(folder: Path) -> VideoModel:
    return load_model(str(folder), seed=0)


def clip_of(frames: np.ndarray) -> Clip:
    height, width = frames.shape[1:3]
    source = Source("clip.mp4", "pyav", width, height, 10.0, 1.0, 10, 10, 0)
    numbers = range(len(frames))
    return Clip(frames, tuple(numbers), tuple(number / 10 for number in numbers), source)


def noise(num_frames: int = 4, height: int = 28, width: int = 28) -> Clip:
    random = np.random.default_rng(0)
    return clip_of(random.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8))


def test_answer_is_the_same_every_time(model: VideoModel) -> None:
    first = model.answer(noise(), QUESTION, max_new_tokens=8)
    assert first
    assert model.answer(noise(), QUESTION, max_new_tokens=8) == first


def test_streamed_pieces_joined_are_the_answer(model: VideoModel) -> None:
    pieces = list(model.stream(noise(), QUESTION, max_new_tokens=12))
    assert len(pieces) > 1
    assert "".join(pieces) == model.answer(noise(), QUESTION, max_new_tokens=12)


def test_released_answers_are_the_same_streamed_or_not(folder: Path) -> None:
    released = load_model(str(folder), compat="released")
    streamed = "".join(released.stream(noise(), QUESTION, max_new_tokens=12))
    assert streamed == released.answer(noise(), QUESTION, max_new_tokens=12)


def test_unknown_compatibility_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no compatibility 'relesed'"):
        load_model(str(folder), compat="relesed")


def test_stream_with_beams_gives_the_beam_answer(model: VideoModel) -> None:
    options = {"max_new_tokens": 6, "num_beams": 2}
    assert "".join(model.stream(noise(), QUESTION, **options)) == model.answer(noise(), QUESTION, **options)


def test_leaving_a_stream_early_stops_it(model: VideoModel) -> None:
    pieces = model.stream(noise(), QUESTION, max_new_tokens=60)
    next(pieces)
    pieces.close()
    assert model.answer(noise(), QUESTION, max_new_tokens=4)


def test_sampling_follows_the_seed(folder: Path) -> None:
    def sampled(seed: int) -> str:
        options = {"max_new_tokens": 12, "temperature": 2.0}
        return load_model(str(folder), seed=seed).answer(noise(), QUESTION, **options)

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_temperature_zero_is_greedy(model: VideoModel) -> None:
    greedy = model.answer(noise(), QUESTION, max_new_tokens=8)
    assert model.answer(noise(), QUESTION, max_new_tokens=8, temperature=0.0) == greedy


def test_drawing_options_where_nothing_is_drawn_are_refused(model: VideoModel) -> None:
    with pytest.raises(UsageError, match=r"top_p: needs `temperature` above 0"):
        model.answer(noise(), QUESTION, top_p=0.5)


def test_pictures_of_another_size_are_resized(model: VideoModel) -> None:
    large = noise(height=60, width=90)
    small = clip_of(np.stack([model.transform(frame) for frame in large.frames]))
    assert model.answer(large, QUESTION, max_new_tokens=8) == model.answer(small, QUESTION, max_new_tokens=8)


def test_choice_is_the_most_likely_letter(model: VideoModel) -> None:
    question = "Question: What color is the circle?\nOptions:\n(A) red\n(B) blue\n(C) green"
    chosen = model.choose(noise(), question, "ABC")
    assert chosen in (0, 1, 2)
    assert model.choose(noise(), question, "ABC") == chosen


def test_more_tokens_than_the_language_model_reads_are_refused(folder: Path) -> None:
    model = load_model(str(folder))
    model.model.config.text_config.max_position_embeddings = 40
    with pytest.raises(UsageError, match=r"12 video \+ \d+ text \+ 30 new tokens are more than the 40"):
        model.answer(noise(), QUESTION, max_new_tokens=30)


def test_what_is_no_clip_is_refused(model: VideoModel) -> None:
    for what, name in ((Path("a.mp4"), "PosixPath"), (noise().frames, "ndarray")):
        with pytest.raises(UsageError, match=f"a clip is needed, and this is a {name}"):
            model.answer(what, QUESTION)  # type: ignore[arg-type]


def test_a_cache_may_be_named_by_its_folder(folder: Path, tmp_path: Path) -> None:
    tokens = load_model(str(folder), cache=tmp_path / "kept").tokens
    assert tokens is not None
    assert tokens.cache.root == tmp_path / "kept"


def test_more_frames_than_the_bt_adapter_knows_are_refused(tmp_path: Path) -> None:
    folder = write_micro_checkpoint(tmp_path / "m", bt_adapter_depth=1, bt_adapter_positions=3)
    with pytest.raises(UsageError, match="4 frames, and this model tells 3 apart"):
        load_model(str(folder)).answer(noise(), QUESTION)


def test_only_the_bundled_model_doubts_real_footage(tmp_path: Path, model: VideoModel) -> None:
    shapes = load_model(str(write_micro_checkpoint(tmp_path / "m", trained_on="shapes")))
    assert "moving shapes only" in (shapes.caveat(noise()) or "")
    assert model.caveat(noise()) is None
