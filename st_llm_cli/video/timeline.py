"""Which frames a file holds and when they are shown, learnt from its packets without decoding them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from st_llm_cli.video.choose import Track

DEFAULT_FPS = 25
# A few frames dropped or cut off do not make another rate.
RATE_TOLERANCE = 0.05
# Measured on 57 files: in these, seeking lands where the index says; in MPEG-TS and MPEG-PS it does not.
SEEKABLE_FORMATS = frozenset({"mov", "matroska", "webm", "avi", "gif"})


@dataclass(frozen=True)
class Timeline:
    """The frames of a file, in the order they are shown."""

    shown_at: array[int]
    """Time stamp of each frame, ascending, in units of the stream's time base."""
    key_shown_at: array[int]
    """Time stamps of the key frames, ascending."""
    doubt: str | None
    """Why these numbers cannot be trusted to find a frame; None where they can."""

    def key_before(self, stamp: int) -> int:
        """Give the position of the last key frame shown at or before a time stamp."""
        return bisect_right(self.key_shown_at, stamp) - 1


def scan_packets(container: InputContainer, stream: VideoStream) -> Timeline:
    """Read through a file without decoding it.

    Args:
        container: Open file, at its start. It is left at its end.
        stream: Video stream of the file.

    Returns:
        The frames it holds. `doubt` says if the file must be decoded from its start to be sure of them.
    """
    # 8 bytes a frame: the timeline of a 10-hour video is 8 MB.
    shown_at, keys, doubt = array("q"), array("q"), None
    if not SEEKABLE_FORMATS & set(container.format.name.split(",")):
        return Timeline(shown_at, keys, f"{container.format.name} has no index")
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.pts is None or packet.is_discard or packet.is_corrupt:
                doubt = doubt or "an edit list hides frames, or packets are damaged"
                continue
            if packet.is_keyframe:
                keys.append(packet.pts)
            elif not keys:
                doubt = doubt or "it does not begin with a key frame"
            shown_at.append(packet.pts)
    except av.error.FFmpegError as error:
        doubt = doubt or f"its packets cannot be read to the end ({error.strerror})"
    ordered = array("q", sorted(shown_at))
    keys = array("q", sorted(keys))
    return Timeline(ordered, keys, doubt or _doubt(ordered, keys, stream.frames))


def track_of(shown_at: Sequence[int], container: InputContainer, stream: VideoStream) -> Track:
    """Turn time stamps into seconds from the first frame, and find the average rate.

    Args:
        shown_at: Time stamps in units of the stream's time base, in the order of the frames; at least one.
        container: The open file.
        stream: Video stream of the file.

    Returns:
        When each frame is shown. Where the stamps are missing or go backwards, the frames are taken to be
        evenly spaced.
    """
    kind: Literal["video", "gif"] = "gif" if container.format.name == "gif" else "video"
    stated = stream.average_rate
    if any(stamp >= following for stamp, following in pairwise(shown_at)):
        fps = float(stated or DEFAULT_FPS)
        return Track([index / fps for index in range(len(shown_at))], fps, kind)
    # Whole numbers first: exact, and faster than fractions.
    ticks, clock = (stream.time_base or Fraction(1, 1000)).as_integer_ratio()
    times = [(stamp - shown_at[0]) * ticks / clock for stamp in shown_at]
    return Track(times, _average_fps(times, stated), kind)


def promised_frames(
    container: InputContainer, stream: VideoStream, track: Track, hidden: int = 0
) -> int | None:
    """Give the number of frames the file's header speaks of.

    Matroska states no number of frames but a duration. If the last frame ends more than a second before it,
    and no other stream can account for that, the missing seconds are counted in frames.

    Returns:
        The number; None where the header says nothing.
    """
    if stream.frames:
        return stream.frames - hidden
    if "matroska" not in container.format.name or container.duration is None or len(container.streams) > 1:
        return None
    missing_seconds = container.duration / av.time_base - track.duration_seconds
    missing = round(missing_seconds * track.fps) if missing_seconds > 1 else 0
    return len(track.times_seconds) + missing


def _average_fps(times_seconds: Sequence[float], stated: Fraction | None) -> float:
    """Give the average rate of the frames.

    The header's rate where the times agree with it, since they may be rounded to milliseconds; else the rate
    by the times, since the header of a variable-rate file may state any one of its rates.
    """
    if len(times_seconds) < 2:
        return float(stated or DEFAULT_FPS)
    measured = (len(times_seconds) - 1) / times_seconds[-1]
    return float(stated) if stated and abs(measured - stated) <= RATE_TOLERANCE * stated else measured


def _doubt(shown_at: array[int], keys: array[int], header_frames: int) -> str | None:
    if not shown_at:
        return "it holds no packets"
    if shown_at[0] < keys[0]:
        return "frames are shown before the first key frame"
    if any(stamp == following for stamp, following in pairwise(shown_at)):
        return "two frames have the same time stamp"
    if header_frames and header_frames != len(shown_at):
        return f"its header speaks of {header_frames} frames, it holds {len(shown_at)}"
    return None
