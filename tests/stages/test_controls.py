"""Controls: what a model is shown when the order of time is taken away."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st_llm_cli.bench.gain import gain_of
from st_llm_cli.stages.controls import CONTROLS, Controlled, run_control
from st_llm_cli.stages.eval import run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from tests.bench.golden import mini_folder

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

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        return read_clips(requests)

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        for question in questions:
            frames, indices = question.clip.frames, question.clip.indices
            first, last = (float(frame[:, :32].mean()) for frame in (frames[0], frames[-1]))
            yield int(first > last) if question.letters else " ".join(map(str, indices))


@pytest.mark.parametrize("control", SHOWN)
def test_frames_shown(control: str) -> None:
    changed = CONTROLS[control](clip(), 0)
    assert list(changed.indices) == SHOWN[control]
    assert [int(frame[0, 0, 0]) - 1 for frame in changed.frames] == SHOWN[control]
    assert len(changed.times_seconds) == len(SHOWN[control])


def test_blind_shows_as_many_black_frames() -> None:
    changed = CONTROLS["blind"](clip(), 0)
    assert changed.frames.shape == clip().frames.shape and not changed.frames.any()


def test_shuffle_is_seeded_and_never_the_true_order() -> None:
    orders = [CONTROLS["shuffle"](clip(3), seed).indices for seed in range(30)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert (0, 1, 2) not in orders and len(set(orders)) > 2
    assert (
        CONTROLS["shuffle"](clip(), 7).indices == CONTROLS["shuffle"](clip(path="elsewhere/a.mp4"), 7).indices
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_clip_of_one_frame_can_be_controlled(control: str) -> None:
    assert len(CONTROLS[control](clip(1), 0).frames) == 1


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
