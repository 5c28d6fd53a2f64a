from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st_llm_cli.errors import NotAVideoError, StllmError, UsageError, VideoError
from st_llm_cli.model.generation import Generation
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.stages.describe import (
    Description,
    Part,
    Wish,
    check,
    describe_all,
    look,
    parts_of,
)
from st_llm_cli.stages.question import SAID_NOTHING
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request


class FramesTeller:
    """Answers with what it was shown, so that a test can tell which frames those were."""

    num_frames = 3
    transform = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.options: list[dict[str, Any]] = []

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Clip | StllmError]]:
        return read_clips(requests)

    def answer(self, clip: Clip, question: str, **generation: Any) -> str:
        self.asked.append(question)
        self.options.append(generation)
        return " ".join(f"{time:.2f}" for time in clip.times_seconds)

    def stream(self, clip: Clip, question: str, **generation: Any) -> Iterator[str]:
        yield self.answer(clip, question, **generation)

    def caveat(self, clip: Clip) -> str | None:
        return "too bright" if np.median(clip.frames) > 250 else None


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    write_video(make_scene(1), path, Encoding(64, 48, 10))
    return path


def seconds(clip: Path) -> float:
    return look(FramesTeller(), Part(clip, 0.0, None), Wish("?")).source.duration_seconds


def describe_one(video: Path, **wish: Any) -> list[Description]:
    (outcome,) = describe_all(FramesTeller(), [video], Wish("?", **wish))
    assert not outcome.errors
    return outcome.descriptions


def times(description: Description) -> list[float]:
    return [float(time) for time in description.text.split()]


def test_whole_video_is_one_part_with_the_models_number_of_frames(clip: Path) -> None:
    (description,) = describe_one(clip)
    assert (description.start_seconds, description.num_frames) == (0.0, 3)
    assert description.end_seconds == pytest.approx(seconds(clip))


def test_number_of_frames_can_be_chosen(clip: Path) -> None:
    assert describe_one(clip, num_frames=5)[0].num_frames == 5


def test_rate_can_be_chosen(clip: Path) -> None:
    assert describe_one(clip, fps=2.0)[0].num_frames == pytest.approx(seconds(clip) * 2, abs=1)


def test_only_the_stretch_asked_for_is_seen(clip: Path) -> None:
    (description,) = describe_one(clip, start=0.5, end=1.0)
    assert (description.start_seconds, description.end_seconds) == (0.5, 1.0)
    assert all(0.5 <= time <= 1.0 for time in times(description))


def test_parts_follow_each_other_without_gap_to_the_end(clip: Path) -> None:
    parts = parts_of(clip, Wish("?", every=0.3))
    assert parts[0].start_seconds == 0
    assert [part.end_seconds for part in parts[:-1]] == [part.start_seconds for part in parts[1:]]
    assert parts[-1].end_seconds == pytest.approx(seconds(clip))
    assert len(parts) > 3


def test_rest_too_short_to_tell_of_is_joined_to_the_last_part(clip: Path) -> None:
    parts = parts_of(clip, Wish("?", every=seconds(clip) - 0.05))
    assert [(part.start_seconds, part.end_seconds) for part in parts] == [(0.0, seconds(clip))]


def test_each_part_sees_its_own_frames(clip: Path) -> None:
    for description in describe_one(clip, every=0.5):
        low, high = description.start_seconds - 1e-6, description.end_seconds + 1e-6
        assert all(low <= time <= high for time in times(description))


def test_start_behind_the_end_is_refused_with_both_times(clip: Path) -> None:
    with pytest.raises(VideoError, match=r"ends after \d\.\d s, the part to look at was to start at 99\.0 s"):
        parts_of(clip, Wish("?", start=99.0, every=1.0))


def test_question_and_options_reach_the_model(clip: Path) -> None:
    model = FramesTeller()
    generation = Generation(num_beams=3)
    list(describe_all(model, [clip], Wish("What moves?", generation=generation)))
    assert (model.asked, model.options) == (["What moves?"], [asdict(generation)])


def test_doubts_of_the_model_come_with_the_description(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "white.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255, np.uint8))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert describe_one(tmp_path / "white.mp4")[0].caveat == "too bright"


@pytest.mark.parametrize("every", [None, 1.0])
def test_bad_video_does_not_stop_the_rest(clip: Path, tmp_path: Path, every: float | None) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    outcomes = {
        done.video: done for done in describe_all(FramesTeller(), [clip, bad, other], Wish("?", every=every))
    }
    assert [type(error) for error in outcomes[bad].errors] == [NotAVideoError]
    assert outcomes[clip].descriptions and outcomes[other].descriptions
    assert not outcomes[clip].errors and not outcomes[other].errors


class Watched:
    """What a progress is told."""

    def __init__(self) -> None:
        self.expected = 0
        self.through: list[str] = []

    def expect(self, more: int) -> None:
        self.expected += more

    def step(self, name: str) -> None:
        self.through.append(name)


@pytest.mark.parametrize("every", [None, 0.5])
def test_every_part_is_a_step_and_so_is_a_video_without_any(
    clip: Path, tmp_path: Path, every: float | None
) -> None:
    bad, watched = tmp_path / "bad.mp4", Watched()
    bad.write_text("not a video")
    wish = Wish("?", every=every)
    outcomes = list(describe_all(FramesTeller(), [clip, bad], wish, progress=watched))
    parts = sum(len(outcome.descriptions) for outcome in outcomes)
    assert parts == 1 if every is None else parts > 2
    assert sorted(watched.through) == sorted([str(bad), *[str(clip)] * parts])
    assert 2 + watched.expected == len(watched.through)


def test_an_empty_answer_is_said(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FramesTeller, "answer", lambda *told, **options: " ")
    (said,) = describe_one(clip)
    assert (said.text, said.caveat) == ("", SAID_NOTHING)


def test_done_parts_are_not_described_again(clip: Path) -> None:
    model, kept = FramesTeller(), list[Description]()
    wish = Wish("?", every=0.5)
    parts = parts_of(clip, wish)
    done = {parts[0].start_seconds, parts[2].start_seconds}
    outcomes = describe_all(model, [clip], wish, lambda part: part.start_seconds in done, kept.append)
    (outcome,) = outcomes
    assert {said.start_seconds for said in kept} == {part.start_seconds for part in parts} - done
    assert outcome.descriptions == kept


def test_video_whose_parts_are_all_done_still_counts(clip: Path) -> None:
    (outcome,) = describe_all(FramesTeller(), [clip], Wish("?"), is_done=lambda part: True)
    assert (outcome.video, outcome.descriptions, outcome.errors) == (clip, [], [])


def test_descriptions_are_kept_as_they_come(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    kept = list[Description]()
    outcomes = describe_all(FramesTeller(), [clip, other], Wish("?"), keep=kept.append)
    next(outcomes)
    assert [said.video for said in kept] == [clip]


WRONG_WISHES: dict[str, tuple[dict[str, Any], str]] = {
    "end before start": (
        {"start": 5.0, "end": 2.0},
        "end: the end, 2 s, is not after the start, 5 s (raise `end` or lower `start`)",
    ),
    "before the video": ({"start": -1.0}, "start: -1 s lies before the video (count from 0)"),
    "frames and rate": (
        {"num_frames": 3, "fps": 2.0},
        "num_frames, fps: `num_frames` and `fps` contradict each other",
    ),
    "no frames": ({"num_frames": 0}, "num_frames: 0 is not above 0 (give a positive number)"),
    "no rate": ({"fps": float("nan")}, "fps: nan is not above 0"),
    "no length": ({"every": 0.0}, "every: 0 is not above 0"),
    "unknown reader": ({"reader": "pyva"}, "unknown reader 'pyva' (did you mean 'pyav'?)"),
}


@pytest.mark.parametrize("case", WRONG_WISHES)
def test_wish_that_no_video_fulfils_is_refused_at_once(case: str) -> None:
    wish, expected = WRONG_WISHES[case]
    with pytest.raises(UsageError) as caught:
        check(Wish("?", **wish))
    assert expected in str(caught.value)
