"""Long videos made quickly: a few groups of pictures are encoded, and their packets written many times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FRAMES_ENCODED = 2000
"""Frame i of a long video carries the number i modulo this, if that many were encoded."""


def numbered_frame(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A moving gradient with the number in the top stripe, as in the collection of videos."""
    ramp = (np.arange(width)[None, :] + np.arange(height)[:, None] + 3 * number) % 256
    frame = np.stack([ramp, np.roll(ramp, number % width, axis=1), 255 - ramp], axis=2).astype(np.uint8)
    stripe = height // 10
    for column in range(16):
        is_white = column >= 2 and number >> (column - 2) & 1
        frame[:stripe, column * width // 16 : (column + 1) * width // 16] = 255 if is_white else 0
    return frame


def write_long_video(
    path: Path,
    total_frames: int,
    width: int,
    height: int,
    group: int,
    fps: int,
    encoded: int = FRAMES_ENCODED,
) -> None:
    """Write an H.264 video; `total_frames` is a multiple of `encoded`, and that one of `group`."""
    assert total_frames % encoded == 0
    assert encoded % group == 0
    short = path.with_name(f"short_{path.name}")
    _encode(short, encoded, width, height, group, fps)
    with av.open(str(short)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [(packet, packet.pts, packet.dts) for packet in source.demux(stream) if packet.size]
        assert stream.time_base is not None
        length = round(Fraction(encoded, fps) / stream.time_base)
        for repeat in range(total_frames // encoded):
            for packet, pts, dts in packets:
                assert pts is not None
                assert dts is not None
                packet.stream = copy
                packet.time_base = stream.time_base
                packet.pts, packet.dts = pts + repeat * length, dts + repeat * length
                target.mux(packet)


def _encode(path: Path, frames: int, width: int, height: int, group: int, fps: int) -> None:
    options = {
        "preset": "ultrafast",
        "crf": "30",
        "x264-params": f"keyint={group}:min-keyint={group}:scenecut=0",
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, width, height), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
