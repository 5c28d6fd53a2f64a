from pathlib import Path

import numpy as np
import pytest

from st_llm_cli.errors import UsageError
from st_llm_cli.shapes.encode import draw_encoding, write_video
from st_llm_cli.shapes.world import EVAL_SEEDS, make_scene
from st_llm_cli.stages.video_model import VideoModel, load_model, looks_like_shapes
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.micro import write_micro_checkpoint
from tests.video.stripe import videos_folder

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


def test_more_frames_than_the_bt_adapter_knows_are_refused(tmp_path: Path) -> None:
    folder = write_micro_checkpoint(tmp_path / "m", bt_adapter_depth=1, bt_adapter_positions=3)
    with pytest.raises(UsageError, match="4 frames, and this model tells 3 apart"):
        load_model(str(folder)).answer(noise(), QUESTION)


def test_only_the_bundled_model_doubts_real_footage(tmp_path: Path, model: VideoModel) -> None:
    shapes = load_model(str(write_micro_checkpoint(tmp_path / "m", trained_on="shapes")))
    assert "moving shapes only" in (shapes.caveat(noise()) or "")
    assert model.caveat(noise()) is None


def test_rendered_shapes_look_like_shapes(tmp_path: Path) -> None:
    import random

    for seed in range(EVAL_SEEDS.start, EVAL_SEEDS.start + 8):
        encoding = draw_encoding(random.Random(seed))
        path = tmp_path / f"{seed}{encoding.suffix}"
        write_video(make_scene(seed), path, encoding)
        clip = read_clip(path, num_frames=8, transform=ResizeCenterCrop(64))
        assert looks_like_shapes(clip.frames), seed


def plain(*color: int) -> np.ndarray:
    return np.full((8, 48, 48, 3), color, np.uint8)


def written(background: int, ink: int) -> np.ndarray:
    frames = plain(*[background] * 3)
    frames[:, 10:14, 5:40] = ink
    return frames


ODD_FRAMES = {
    "reddish pictures": np.concatenate([plain(180 + number, 60, 50)[:1] for number in range(12)]),
    "nothing on dark grey": plain(32, 32, 32),
    "dark writing on white": written(245, 20),
    "grey writing on black": written(12, 150),
    "green screen": np.where(written(0, 255) == 0, plain(0, 200, 30), plain(240, 240, 240)),
}


@pytest.mark.parametrize("case", ODD_FRAMES)
def test_other_plain_pictures_do_not_look_like_shapes(case: str) -> None:
    assert not looks_like_shapes(ODD_FRAMES[case])


def test_real_footage_does_not_look_like_shapes() -> None:
    folder = videos_folder()
    videos = [
        *folder.glob("real/*.mp4"),
        folder / "bframes_neg.mp4",
        folder / "gray.mp4",
        folder / "rot90.mp4",
    ]
    for path in videos:
        clip = read_clip(path, num_frames=8, transform=ResizeCenterCrop(64))
        assert not looks_like_shapes(clip.frames), path.name
