"""Scenes to real video files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
from av.video.stream import VideoStream

from st_llm_cli.errors import UsageError
from st_llm_cli.shapes.render import Frames, frame_count, render_frames
from st_llm_cli.shapes.scene import Scene

MOST_FRAMES = 720
"""Frames of a file of the rich world, where a rate allows it."""
MOST_PIXELS = 80_000_000
"""Pixels of all frames of a file of the rich world together, where a size allows it."""


@dataclass(frozen=True)
class Encoding:
    """How a scene is written to a file."""

    width: int = 320
    """Width in pixels, even."""
    height: int = 240
    """Height in pixels, even."""
    fps: int = 25
    """Frames per second."""
    codec: str = "h264"
    """A key of `CODECS`."""
    suffix: str = ".mp4"
    """A key of `CONTAINERS`."""
    antialias: bool = True
    """Whether outlines are drawn smooth."""


def draw_encoding(rng: Random) -> Encoding:
    """Draw a size, a frame rate, a codec and a container that go together."""
    width, height = rng.choice(SIZES)
    codec, suffix = rng.choice(FORMATS)
    return Encoding(width, height, rng.choice(FRAME_RATES), codec, suffix)


def draw_rich_encoding(rng: Random, duration_seconds: float, most_pixels: float = MOST_PIXELS) -> Encoding:
    """Draw how a clip of the rich world is written: more sizes and rates, outlines smooth or not.

    Long clips get sizes and rates that keep them quick to write.

    Args:
        rng: Source of randomness.
        duration_seconds: Length of the clip, at most `longest_seconds(most_pixels)`.
        most_pixels: Pixels of all frames of the file together.
    """
    codec, suffix = rng.choice(FORMATS)
    most_frames = min(MOST_FRAMES, most_pixels / _pixels(RICH_SIZES[0]))
    rates = [rate for rate in RICH_FRAME_RATES if rate * duration_seconds <= most_frames]
    fps = rng.choice(rates or RICH_FRAME_RATES[:1])
    most = most_pixels / (fps * duration_seconds)
    sizes = [size for size in RICH_SIZES if _pixels(size) <= most]
    width, height = rng.choice(sizes or RICH_SIZES[:1])
    return Encoding(width, height, fps, codec, suffix, antialias=rng.random() < 0.5)


def longest_seconds(most_pixels: float) -> float:
    """Length of a clip of the rich world that has so many pixels at its smallest size and lowest rate."""
    return most_pixels / (RICH_FRAME_RATES[0] * _pixels(RICH_SIZES[0]))


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def write_video(scene: Scene, path: Path, encoding: Encoding | None = None) -> None:
    """Write a scene to a video file; nothing stands under the final name before it is complete.

    The same scene and encoding give the same bytes, as long as the libraries that encode stay the same.

    Args:
        scene: What to draw; frame i shows the moment i / fps.
        path: The file to write; replaced where it exists.
        encoding: How to write it; `Encoding()` if None, with the suffix of the path.

    Raises:
        UsageError: If the codec, the container or the size cannot be written.
    """
    encoding = encoding or Encoding(suffix=path.suffix)
    _check(encoding, path)
    part = path.with_name(f"{path.name}.part")
    try:
        _encode(scene, part, encoding)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check(encoding: Encoding, path: Path) -> None:
    if encoding.codec not in CODECS:
        raise UsageError(
            f"unknown codec {encoding.codec!r}", where=str(path), fix=f"choose one of {', '.join(CODECS)}"
        )
    if encoding.suffix not in CONTAINERS:
        raise UsageError(
            f"unknown container {encoding.suffix!r}",
            where=str(path),
            fix=f"choose one of {', '.join(CONTAINERS)}",
        )
    if path.suffix != encoding.suffix:
        raise UsageError(
            f"the name does not end in {encoding.suffix}",
            where=str(path),
            fix=f"write to {path.with_suffix(encoding.suffix).name}",
        )
    if min(encoding.width, encoding.height) < 16 or encoding.width % 2 or encoding.height % 2:
        raise UsageError(
            f"cannot write pictures of {encoding.width}x{encoding.height} pixels",
            where=str(path),
            fix="choose even sides of 16 pixels or more",
        )
    if encoding.fps < 1:
        raise UsageError(f"a frame rate of {encoding.fps}", where=str(path), fix="choose 1 or more")


def _encode(scene: Scene, path: Path, encoding: Encoding) -> None:
    # bitexact: without it Matroska and WebM files carry random identifiers.
    options = {"fflags": "+bitexact"}
    encoder, encoder_options = CODECS[encoding.codec]
    with av.open(str(path), "w", format=CONTAINERS[encoding.suffix], container_options=options) as container:
        stream = container.add_stream(encoder, rate=encoding.fps, options=encoder_options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = encoding.width, encoding.height, "yuv420p"
        # One thread: files are small, and several are often written side by side.
        stream.codec_context.thread_count = 1
        for picture in _pictures(scene, encoding):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _pictures(scene: Scene, encoding: Encoding) -> Iterator[Frames]:
    """Draw all frames of a file, each [height, width, 3], a few at a time."""
    width, height, fps = encoding.width, encoding.height, encoding.fps
    count, batch = frame_count(scene.duration_seconds, fps), max(1, PIXELS_AT_A_TIME // (width * height))
    for first in range(0, count, batch):
        times = [index / fps for index in range(first, min(first + batch, count))]
        yield from render_frames(scene, times, width, height, antialias=encoding.antialias)


CODECS: dict[str, tuple[str, dict[str, str]]] = {
    # With its macroblock tree the same frames come out otherwise from one time to the next.
    "h264": (
        "libx264",
        {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0", "flags": "+bitexact"},
    ),
    "mpeg4": ("mpeg4", {"flags": "+qscale+bitexact", "global_quality": str(4 * 118)}),
    "vp9": (
        "libvpx-vp9",
        {"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "8", "flags": "+bitexact"},
    ),
}
"""Codec names, the encoders of FFmpeg and their settings (118 is FFmpeg's unit of quantiser scale)."""
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi", ".webm": "webm"}
"""File suffixes and the muxers of FFmpeg."""
FORMATS = (("h264", ".mp4"), ("h264", ".mkv"), ("mpeg4", ".avi"), ("mpeg4", ".mp4"), ("vp9", ".webm"))
"""Codecs and containers that draw_encoding puts together."""
SIZES = ((160, 120), (192, 192), (240, 180), (320, 180), (320, 240), (240, 320), (480, 360), (640, 480))
"""Widths and heights that draw_encoding chooses from, in pixels."""
RICH_SIZES = (
    (320, 240),
    (240, 320),
    (320, 180),
    (480, 360),
    (480, 480),
    (640, 360),
    (640, 480),
    (960, 540),
    (1280, 720),
)
"""Widths and heights that draw_rich_encoding chooses from."""
RICH_FRAME_RATES = (12, 15, 24, 25, 30, 50, 60)
"""Frames per second that it chooses from."""
FRAME_RATES = (8, 10, 12, 15, 24, 25, 30)
"""Frames per second that draw_encoding chooses from."""
PIXELS_AT_A_TIME = 300_000
"""Frames drawn together: more do not fit a processor's cache, fewer pay for each call of numpy."""
