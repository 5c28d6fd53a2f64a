"""From when a video's frames are shown to the numbers of those to look at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from st_llm_cli.errors import VideoError
from st_llm_cli.video.request import DEFAULT_NUM_FRAMES, Request
from st_llm_cli.video.sampling import (
    BOUNDED_SAMPLERS,
    SAMPLERS,
    SEEDED_SAMPLERS,
    at_rate,
    released_rate,
    uniform,
)

# Matroska keeps times in whole milliseconds: "from 1.0 s" must find a frame written down as 1.001 s.
CLOCK_TOLERANCE_SECONDS = 0.002


@dataclass(frozen=True)
class Track:
    """When the frames of a video are shown."""

    times_seconds: Sequence[float]
    """Time of each frame, ascending, the first at 0."""
    fps: float
    """Average frames per second."""
    kind: Literal["video", "gif", "folder"] = "video"
    """MVBench's rules count frames of folders from 1 and take gifs to run at 25 frames per second."""

    @property
    def duration_seconds(self) -> float:
        """When the last frame disappears."""
        return self.times_seconds[-1] + 1 / self.fps


def choose_frames(track: Track, request: Request) -> tuple[int, ...]:
    """Choose frames of a video by the request's sampler.

    Args:
        track: When the frames are shown; at least one frame.
        request: What was asked for.

    Returns:
        Frame numbers, from 0 to the number of frames - 1.

    Raises:
        VideoError: If the clip ends before the part asked for begins, or the sampler finds no frame in it.
    """
    if request.sampler in BOUNDED_SAMPLERS:
        picks = _choose_by_seconds(track, request)
    else:
        window = frames_between(track, request)
        picks = [window[position] for position in _positions(track, window, request)]
    outside = [pick for pick in picks if not 0 <= pick < len(track.times_seconds)]
    if outside or not picks:
        found = f"frame {outside[0]} of {len(track.times_seconds)}" if outside else "no frame at all"
        raise VideoError(
            f"the sampler '{request.sampler}' asks for {found}",
            where=str(request.path),
            fix=f"use the sampler '{'mvbench' if request.sampler in BOUNDED_SAMPLERS else 'uniform'}'",
        )
    return tuple(picks)


def frames_between(track: Track, request: Request) -> range:
    """Give the frames on screen from `request.start` to `request.end`.

    Raises:
        VideoError: If the video ends before the start.
    """
    if request.start is None and request.end is None:
        return range(len(track.times_seconds))
    start = request.start or 0.0
    if start >= track.duration_seconds - CLOCK_TOLERANCE_SECONDS:
        raise VideoError(
            f"ends after {track.duration_seconds:.1f} s, the clip was to start at {start:.1f} s",
            where=str(request.path),
            fix="lower start",
        )
    first = max(0, bisect_right(track.times_seconds, start + CLOCK_TOLERANCE_SECONDS) - 1)
    if request.end is None:
        return range(first, len(track.times_seconds))
    stop = bisect_left(track.times_seconds, request.end - CLOCK_TOLERANCE_SECONDS)
    return range(first, max(stop, first + 1))


def _positions(track: Track, window: range, request: Request) -> list[int]:
    """Choose by the two numbers of frames, or by a rate: positions within the window."""
    num_frames = request.num_frames or DEFAULT_NUM_FRAMES
    if request.fps is not None:
        return _positions_at_rate(track, window, request, request.fps)
    if request.sampler in SEEDED_SAMPLERS:
        return SEEDED_SAMPLERS[request.sampler](len(window), num_frames, request.seed)
    return SAMPLERS[request.sampler](len(window), num_frames)


def _positions_at_rate(track: Track, window: range, request: Request, fps: float) -> list[int]:
    if request.sampler == "released_rate":
        return released_rate(len(window), track.fps, fps, request.max_frames)
    start = request.start or 0.0
    end = track.duration_seconds if request.end is None else min(request.end, track.duration_seconds)
    times = [track.times_seconds[index] - start for index in window]
    picks = at_rate(times, end - start, fps)
    if request.max_frames is not None and len(picks) > request.max_frames:
        picks = [picks[kept] for kept in uniform(len(picks), request.max_frames)]
    return picks


def _choose_by_seconds(track: Track, request: Request) -> list[int]:
    """Choose by MVBench's rules, which read the seconds of the question themselves."""
    bound = None
    if request.start is not None or request.end is not None:
        end = track.duration_seconds if request.end is None else request.end
        bound = (request.start or 0.0, end)
    first = 1 if track.kind == "folder" else 0
    fps = 25.0 if track.kind == "gif" else track.fps
    last = len(track.times_seconds) - 1 + first
    sampler = BOUNDED_SAMPLERS[request.sampler]
    return [pick - first for pick in sampler(last, fps, bound, request.num_frames, first)]
