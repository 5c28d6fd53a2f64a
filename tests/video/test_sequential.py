from __future__ import annotations

import random
from array import array
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from st_llm_cli.errors import StllmError, VideoError
from st_llm_cli.video.container import open_video
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.sequential import NO_STAMP, SoundFrames, find_sound_frames, frames_at, stamps_spoilt
from tests.video.stripe import number_in, numbers_in, small_copy


def sound_frames(path: Path) -> SoundFrames:
    with open_video(path) as (container, stream):
        return find_sound_frames(container, stream, is_strict=False)


@pytest.mark.parametrize(
    ("stamps", "keys", "failed", "expected"),
    [
        # Nothing failed, nothing is lost.
        ([0, 1, 2, 3], [1, 0, 1, 0], set(), set()),
        # A failed packet spoils what follows up to the next key frame.
        ([0, 1, 2, 3, 4, 5], [1, 0, 0, 0, 1, 0], {1}, {1, 2, 3}),
        # A failed key frame spoils its group.
        ([0, 1, 2, 3], [1, 0, 1, 0], {2}, {2, 3}),
        # Every frame of an intra-coded video is a key frame: only the failed one is lost.
        ([0, 1, 2, 3], [1, 1, 1, 1], {1}, {1}),
        # Frames shown before a key frame but stored after it build on the group before, too.
        ([0, 1, 5, 3, 4, 6], [1, 0, 1, 0, 0, 0], {1}, {1, 3, 4}),
        # Out of the order of storage, what was shown before the failure is sound.
        ([0, 3, 1, 2, 4], [1, 0, 0, 0, 0], {3}, {2, 4}),
    ],
)
def test_what_a_failed_packet_spoils(
    stamps: list[int], keys: list[int], failed: set[int], expected: set[int]
) -> None:
    assert stamps_spoilt(array("q", stamps), bytearray(keys), failed) == expected


def test_frames_of_a_sound_file_are_counted_as_they_come() -> None:
    sound = sound_frames(small_copy("midgop.ts"))
    assert list(sound.ordinals) == list(sound.numbers) == list(range(100))
    assert NO_STAMP not in sound.all_shown_at
    assert (sound.damaged_packets, sound.hidden_packets) == (0, 0)


def test_frames_hidden_by_an_edit_list_are_counted_apart() -> None:
    sound = sound_frames(small_copy("editlist.mp4"))
    assert len(sound.numbers) == 127
    assert (sound.damaged_packets, sound.hidden_packets) == (0, 25)


def test_damaged_frames_keep_their_numbers() -> None:
    sound = sound_frames(small_copy("corrupt_middle.mp4"))
    assert len(sound.all_shown_at) == 300
    lost = sorted(set(range(300)) - set(sound.numbers))
    assert (lost[0], lost[-1]) == (144, 199)
    with open_video(small_copy("corrupt_middle.mp4")) as (container, stream):
        frames = frames_at(container, stream, sound.ordinals, is_strict=False)
        painted = [
            number_in(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)) for frame in frames
        ]
    assert painted == list(sound.numbers)


@pytest.mark.parametrize("name", ["bframes_neg.mp4", "gray.mp4", "trunc60.mkv", "midgop.ts", "alpha.webm"])
@pytest.mark.parametrize("seed", range(6))
def test_any_damage_ends_in_frames_or_one_error(tmp_path: Path, name: str, seed: int) -> None:
    generator = random.Random(f"{name} {seed}")
    content = bytearray(small_copy(name).read_bytes())
    for _ in range(4):
        place, length = generator.randrange(len(content)), generator.choice([1, 40, 1000])
        content[place : place + length] = generator.randbytes(length)
    if seed % 2:
        del content[generator.randrange(len(content)) :]
    path = tmp_path / name
    path.write_bytes(content)
    try:
        clip = read_clip(path, num_frames=8, deadline=30)
    except StllmError as error:
        assert isinstance(error, VideoError)
        assert type(error) is not VideoError, "a crash of the decoding process"
        assert error.where == str(path)
        return
    assert len(clip.frames) == 8
    assert list(clip.times_seconds) == sorted(clip.times_seconds)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.8])
def test_h264_frames_around_damage_are_the_right_ones(tmp_path: Path, place: float) -> None:
    content = bytearray(small_copy("corrupt_middle.mp4").read_bytes())
    start = int(place * len(content))
    content[start : start + 3000] = random.Random(start).randbytes(3000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    clip = read_clip(path, num_frames=60)
    assert clip.source.is_damaged
    assert numbers_in(clip.frames) == list(clip.indices)


def write_ts(path: Path, codec: str, num_frames: int, group: int) -> None:
    """Pictures full of detail, so that a frame takes several packets of MPEG-TS."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w", format="mpegts") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 192, 144, "yuv420p", 1_500_000
        stream.codec_context.gop_size = group
        if codec == "libx265":
            stream.codec_context.options = {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}
        for number in range(num_frames):
            picture = np.ascontiguousarray(noise[number : number + 144, 2 * number : 2 * number + 192])
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def without_one_packet(path: Path, frame: int) -> bytes:
    """A file less one of the MPEG-TS packets that a frame lies in, frames counted as they are stored."""
    content = path.read_bytes()
    cells = [content[place : place + 188] for place in range(0, len(content), 188)]
    video = [place for place, cell in enumerate(cells) if (cell[1] & 0x1F) << 8 | cell[2] == 256]
    starts = [place for place in video if cells[place][1] & 0x40]
    inside = [place for place in video if starts[frame] < place < starts[frame + 1]]
    assert inside, "a frame that fits into one packet"
    return b"".join(cells[: inside[-1]] + cells[inside[-1] + 1 :])


@pytest.mark.parametrize("codec", ["libx265", "libx264", "mpeg2video"])
@pytest.mark.parametrize("where", ["key frame", "last of a group"])
def test_a_lost_packet_of_mpeg_ts_costs_the_frame_it_was_of(tmp_path: Path, codec: str, where: str) -> None:
    # FFmpeg marks the frame before: taken at its word, a damaged key frame would pass for sound.
    whole, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
    write_ts(whole, codec, num_frames=36, group=12)
    with open_video(whole) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size]
    key = [place for place, packet in enumerate(packets) if packet.is_keyframe][1]
    damaged = key if where == "key frame" else key - 1
    cut.write_bytes(without_one_packet(whole, damaged))
    expected, left = (read_clip(path, num_frames=36, deadline=None) for path in (whole, cut))
    assert left.source.is_damaged
    pictures = dict(zip(expected.times_seconds, expected.frames, strict=True))
    for seconds, frame in zip(left.times_seconds, left.frames, strict=True):
        np.testing.assert_array_equal(frame, pictures[seconds], err_msg=f"at {seconds} s")
    assert len(set(left.indices)) > 36 - 2 * 12 - 4
