"""Controls: what a model is shown when the order of time is taken away."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from st_llm_cli.bench.gain import gain_of
from st_llm_cli.shapes.encode import write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.stages.clip_tokens import SeenClip
from st_llm_cli.stages.controls import CONTROLS, Controlled, run_control
from st_llm_cli.stages.eval import run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from tests.bench.golden import mini_folder
from tests.micro import write_micro_checkpoint

MINI = mini_folder()
SHOWN = {
    "single-frame": [2],
    "freeze": [2, 2, 2, 2],
    "reverse": [3, 2, 1, 0],
}


def clip(num_frames: int = 4, path: str = "a.mp4") -> Clip:
    frames = np.arange(num_frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8) + 1
    source = Source(path, "pyav", 2, 2, 2.0, num_frames / 2, num_frames, num_frames, 0)
    times = tuple(number / 2 for number in range(num_frames))
    return Clip(frames.astype(np.uint8), tuple(range(num_frames)), times, source)


class Watcher:
    """Chooses by whether the first frame it is shown is brighter than the last; takes its time from order."""

    num_frames = 4
    transform = None
    sees_frames_alone = False

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        return read_clips(requests)

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        for question in questions:
            frames, indices = question.clip.frames, question.clip.indices
            first, last = (float(frame[:, :32].mean()) for frame in (frames[0], frames[-1]))
            yield int(first > last) if question.letters else " ".join(map(str, indices))


@pytest.mark.parametrize("control", SHOWN)
def test_frames_shown(control: str) -> None:
    changed = Controlled(Watcher(), control, 0).changed(clip())
    assert list(changed.indices) == SHOWN[control]
    assert [int(frame[0, 0, 0]) - 1 for frame in changed.frames] == SHOWN[control]
    assert len(changed.times_seconds) == len(SHOWN[control])


def test_blind_shows_as_many_black_frames() -> None:
    changed = Controlled(Watcher(), "blind", 0).changed(clip())
    assert changed.frames.shape == clip().frames.shape and not changed.frames.any()


def test_shuffle_is_seeded_and_never_the_true_order() -> None:
    orders = [tuple(CONTROLS["shuffle"](clip(3), seed) or ()) for seed in range(30)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert (0, 1, 2) not in orders and len(set(orders)) > 2
    assert CONTROLS["shuffle"](clip(), 7) == CONTROLS["shuffle"](clip(path="elsewhere/a.mp4"), 7)


@pytest.mark.parametrize("control", CONTROLS)
def test_clip_of_one_frame_can_be_controlled(control: str) -> None:
    assert len(Controlled(Watcher(), control, 0).changed(clip(1)).frames) == 1


def test_every_way_of_answering_sees_the_changed_clip() -> None:
    shown = clip()
    asked = [Question(shown, "q"), Question(shown, "q", style="released"), Question(shown, "q", "AB")]
    written, styled, chosen = Controlled(Watcher(), "reverse", 0).answer_all(asked)
    assert written == styled == "3 2 1 0"
    assert [chosen] == [1 - option for option in Watcher().answer_all(asked[2:])]


def test_reversal_of_reversed_clips_swaps_a_models_answers(tmp_path: Path) -> None:
    """In the miniature every clip is there both ways: a model that sees order answers the other way."""
    plan = Plan("tvbench", MINI / "tvbench")
    full = run(Watcher(), plan, tmp_path)
    turned = run_control(Watcher(), plan, tmp_path, "reverse")
    assert turned.folder == tmp_path / "control-reverse"
    told = [
        (a.option, b.option)
        for a, b in zip(full.predictions, turned.predictions, strict=True)
        if a.option != b.option
    ]
    assert told
    gain = gain_of(full.predictions, {"reverse": turned.predictions, "same": full.predictions})
    assert gain.scores["same"] == full.report.scorers["strict"].micro.value
    assert gain.best == max(gain.scores, key=lambda name: gain.scores[name])


def test_control_goes_on_where_it_stopped(tmp_path: Path) -> None:
    plan = Plan("tvbench", MINI / "tvbench", limit=4)
    steps: list[str] = []
    first = run_control(Watcher(), plan, tmp_path, "blind", step=steps.append)
    again = run_control(Watcher(), plan, tmp_path, "blind")
    assert len(steps) == 4 and again.predictions == first.predictions


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    return load_model(device="cpu", cache=TokenCache(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def request_of_shapes(tiny: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Request:
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    write_video(make_scene(3), path)
    return Request(path, num_frames=tiny.num_frames, transform=tiny.transform)


@pytest.mark.parametrize("control", CONTROLS)
def test_kept_tokens_give_what_changed_pictures_give(
    control: str, tiny: VideoModel, request_of_shapes: Request
) -> None:
    assert tiny.sees_frames_alone
    ((_, pictures),) = read_clips([request_of_shapes])
    controlled = Controlled(tiny, control, 0)
    for _ in range(2):  # looked at, then taken from the cache
        ((_, kept),) = controlled.read_clips([request_of_shapes])
        assert isinstance(pictures, Clip) and isinstance(kept, SeenClip)
        by_pictures, by_tokens = controlled.changed(pictures), controlled.changed(kept)
        assert by_pictures.indices == by_tokens.indices
        assert by_pictures.times_seconds == by_tokens.times_seconds
        (seen,) = tiny.looked(by_pictures).values()
        (tokens,) = tiny.looked(by_tokens).values()
        assert torch.allclose(seen, tokens, atol=1e-4)
    unchanged = tiny.looked(pictures)["queries"]
    assert control in ("single-frame",) or not torch.allclose(unchanged, tokens, atol=1e-2)


def test_controls_of_kept_clips_open_no_video(
    tiny: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan("tvbench", MINI / "tvbench", limit=6)
    run(tiny, plan, tmp_path / "full")
    by_pictures = run_control(PicturesOnly(tiny), plan, tmp_path / "pictures", "reverse")
    opened: list[Request] = []
    monkeypatch.setattr("st_llm_cli.stages.controls.read_clips", opened.append)
    by_tokens = run_control(tiny, plan, tmp_path / "tokens", "reverse")
    assert opened == []
    assert by_tokens.predictions == by_pictures.predictions


class PicturesOnly:
    """A model that takes no tokens under controls."""

    sees_frames_alone = False

    def __init__(self, model: VideoModel) -> None:
        self.num_frames, self.transform = model.num_frames, model.transform
        self.read_clips, self.answer_all, self.see = model.read_clips, model.answer_all, model.see


def test_encoder_that_mixes_time_is_shown_changed_pictures(
    request_of_shapes: Request, tmp_path: Path
) -> None:
    """Its tokens of a frame know the other frames: reordered, they are not those of the reordered clip."""
    folder = write_micro_checkpoint(tmp_path / "m", bt_adapter_depth=1, bt_adapter_positions=8)
    model = load_model(str(folder), device="cpu", cache=TokenCache(tmp_path / "cache"))
    controlled = Controlled(model, "reverse", 0)
    asked = replace(request_of_shapes, transform=model.transform, num_frames=4)
    ((_, shown),) = controlled.read_clips([asked])
    assert isinstance(shown, Clip) and not model.sees_frames_alone
    ((_, kept),) = model.read_clips([asked])
    assert isinstance(kept, SeenClip)
    (of_pictures,) = model.looked(controlled.changed(shown)).values()
    (of_tokens,) = model.looked(controlled.changed(kept)).values()
    assert (
        float((of_pictures - of_tokens).abs().max()) > 1e-4
    )  # random weights mix a little, rounding far less
