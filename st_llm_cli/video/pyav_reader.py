"""Reading frames with PyAV: by key frame where the index can be trusted, from the start where it cannot."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from st_llm_cli.errors import DamagedVideoError
from st_llm_cli.video.choose import choose_frames
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.container import open_video
from st_llm_cli.video.pictures import Pictures
from st_llm_cli.video.request import Request
from st_llm_cli.video.sequential import SoundFrames, find_sound_frames, frames_at
from st_llm_cli.video.timeline import Timeline, promised_frames, scan_packets, track_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

# Frame threads keep the order of frames and failures. Slice threads, PyAV's default, swallow failures of VP9.
# They are worth their memory for large pictures only; small ones gain nothing (measured).
FRAME_THREADS = 4
LARGE_PICTURE = 1280 * 720


class IndexNotSoundError(Exception):
    """The decoder did not give what the index said. Never leaves this file."""


def read_with_pyav(request: Request) -> Clip:
    """Read a video file with PyAV.

    Frames that cannot be trusted are as if they were not in the file: a packet that does not decode costs its
    own frame and those that build on it, and the sampler chooses among the rest.

    Args:
        request: What is wanted, checked.

    Returns:
        The clip.

    Raises:
        VideoError: If the file cannot give the frames; see its family.
    """
    with open_video(request.path) as (container, stream):
        timeline = scan_packets(container, stream)
        doubt = timeline.doubt
        if doubt is None:
            try:
                return _read_by_index(container, stream, timeline, request)
            except IndexNotSoundError as error:
                doubt = str(error)
    log.debug("%s: decoding from the start, because %s", request.path, doubt)
    return _read_from_start(request)


def _read_by_index(
    container: InputContainer, stream: VideoStream, timeline: Timeline, request: Request
) -> Clip:
    """Read by seeking to the key frame before each wanted frame.

    Raises:
        IndexNotSoundError: If a wanted frame does not come where the index says, or not whole.
    """
    track = track_of(timeline.shown_at, container, stream)
    pictures = Pictures(request, choose_frames(track, request))
    stream.thread_type = "FRAME"
    stream.codec_context.thread_count = FRAME_THREADS if stream.width * stream.height > LARGE_PICTURE else 1
    by_key = groupby(pictures.wanted(), key=lambda index: timeline.key_before(timeline.shown_at[index]))
    for key, group in by_key:
        targets = list(group)
        stamps = [timeline.shown_at[index] for index in targets]
        frames = _frames_after_key(container, stream, timeline, key, stamps)
        for index, frame in zip(targets, frames, strict=True):
            pictures.add(index, upright(frame, pictures))
            rotation = frame.rotation
    promised = promised_frames(container, stream, track)
    return pictures.clip("pyav", track, promised, len(timeline.shown_at), rotation)


def _frames_after_key(
    container: InputContainer, stream: VideoStream, timeline: Timeline, key: int, stamps: Sequence[int]
) -> Iterator[VideoFrame]:
    """Decode from a key frame on and give the frames with these time stamps, ascending."""
    container.seek(timeline.key_shown_at[key], stream=stream, backward=True)
    wanted = iter(stamps)
    target = next(wanted)
    is_first = True
    try:
        for packet in container.demux(stream):
            if is_first and (packet.pts is None or packet.pts > timeline.key_shown_at[key]):
                raise IndexNotSoundError("seeking lands behind the key frame")
            is_first = False
            for frame in packet.decode():
                if frame.is_corrupt or frame.pts is None:
                    raise IndexNotSoundError("the decoder marks a frame as corrupt")
                if frame.pts < target:
                    continue
                if frame.pts > target:
                    raise IndexNotSoundError("a frame is missing")
                yield frame
                following = next(wanted, None)
                if following is None:
                    return
                target = following
    except av.error.FFmpegError as error:
        raise IndexNotSoundError(f"a packet does not decode ({error.strerror})") from error
    raise IndexNotSoundError("the file ends before a frame it lists")


def _read_from_start(request: Request) -> Clip:
    """Decode the whole file to learn which frames are sound, then again up to the last frame wanted."""
    sound = _sound_frames(request)
    if not sound.ordinals:
        raise DamagedVideoError(
            f"none of its frames can be decoded ({sound.damaged_packets} damaged packets)",
            where=str(request.path),
            fix="download or record it again",
        )
    with open_video(request.path) as (container, stream):
        track = track_of(sound.all_shown_at, container, stream)
        promised = promised_frames(container, stream, track, sound.hidden_packets)
    pictures = Pictures(request, choose_frames(track, request, sound.numbers))
    wanted = pictures.wanted()
    ordinals = [sound.ordinals[bisect_left(sound.numbers, number)] for number in wanted]
    with open_video(request.path) as (container, stream):
        for number, frame in zip(
            wanted, frames_at(container, stream, ordinals, sound.is_strict), strict=True
        ):
            pictures.add(number, upright(frame, pictures))
            rotation = frame.rotation
    delivered = len(sound.numbers)
    return pictures.clip("pyav", track, promised, delivered, rotation, sound.damaged_packets)


def _sound_frames(request: Request) -> SoundFrames:
    with open_video(request.path) as (container, stream):
        sound = find_sound_frames(container, stream, is_strict=False)
    if not sound.damaged_packets:
        return sound
    with open_video(request.path) as (container, stream):
        strictly = find_sound_frames(container, stream, is_strict=True)
    return strictly if strictly.ordinals else sound


def upright(frame: VideoFrame, pictures: Pictures) -> NDArray[np.uint8]:
    """Give a frame as it is meant to be seen, [height, width, 3], in the size of the clip's first one."""
    quarter_turns = round(frame.rotation / 90)
    width, height = pictures.width, pictures.height
    if quarter_turns % 2:
        width, height = height, width
    if pictures.width and (frame.width, frame.height) != (width, height):
        # A stream may change its size on the way.
        frame = frame.reformat(width=width, height=height, format="rgb24")
    return np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
