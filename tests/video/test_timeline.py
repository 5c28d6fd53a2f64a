from __future__ import annotations

import pytest

from st_llm_cli.video.container import open_video
from st_llm_cli.video.timeline import scan_packets, track_of
from tests.video.stripe import small_copy


@pytest.mark.parametrize(
    "name", ["bframes_neg.mp4", "alpha.webm", "one_frame.mp4", "rot90.mp4", "trunc60.mkv"]
)
def test_the_index_of_sound_files_is_trusted(name: str) -> None:
    with open_video(small_copy(name)) as (container, stream):
        timeline = scan_packets(container, stream)
    assert timeline.doubt is None
    assert list(timeline.shown_at) == sorted(set(timeline.shown_at))
    assert timeline.key_before(timeline.shown_at[0]) == 0


@pytest.mark.parametrize(
    ("name", "doubt"),
    [
        ("midgop.ts", "mpegts has no index"),
        ("editlist.mp4", "an edit list hides frames"),
        ("trunc30_faststart.mp4", "packets are damaged"),
    ],
)
def test_what_makes_an_index_doubtful(name: str, doubt: str) -> None:
    with open_video(small_copy(name)) as (container, stream):
        timeline = scan_packets(container, stream)
    assert doubt in (timeline.doubt or "")


def test_times_start_at_the_first_frame_and_end_after_the_last() -> None:
    with open_video(small_copy("editlist.mp4")) as (container, stream):
        track = track_of([12_800, 13_312, 13_824], container, stream)
    assert track.times_seconds == pytest.approx([0.0, 0.04, 0.08])
    assert track.fps == 25.0
    assert track.duration_seconds == pytest.approx(0.12)


@pytest.mark.parametrize("stamps", [[7, 7, 7], [5, 3, 1], [-(2**63), -(2**63)]])
def test_frames_without_usable_times_are_evenly_spaced(stamps: list[int]) -> None:
    with open_video(small_copy("gray.mp4")) as (container, stream):
        track = track_of(stamps, container, stream)
    assert track.times_seconds == pytest.approx([index / 25 for index in range(len(stamps))])


def test_a_rate_far_from_the_stated_one_is_measured() -> None:
    with open_video(small_copy("gray.mp4")) as (container, stream):
        assert stream.time_base is not None
        second = round(1 / stream.time_base)
        track = track_of([0, second, 2 * second], container, stream)
    assert track.fps == 1.0
