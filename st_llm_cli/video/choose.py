"""From when a video's frames are shown to the numbers of those to look at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from st_llm_cli.errors import DamagedVideoError, PartOutsideError, VideoError
from st_llm_cli.video.request import DEFAULT_NUM_FRAMES, MOST_FRAMES, Request
from st_llm_cli.video.sampling import (
    BOUNDED_SAMPLERS,
    SAMPLERS,
    SEEDED_SAMPLERS,
    at_rate,
    released_rate,
)

# Matroska keeps times in whole milliseconds: "from 1.0 s" must find a frame written down as 1.001 s.
CLOCK_TOLERANCE_SECONDS = 0.002
RELEASED_GIF_FPS = 25.0


@dataclass(frozen=True)
class Track:
    """When the frames of a video are shown."""

    times_seconds: Sequence[float]
    """Time of each frame, ascending, the first at 0."""
    fps: float
    """Average frames per second."""
    kind: Literal["video", "gif", "folder"] = "video"
    """MVBench's rules count the frames of folders from 1, and the released one takes all gifs to run at 25
    fps."""

    @property
    def duration_seconds(self) -> float:
        """When the last frame disappears."""
        return self.times_seconds[-1] + 1 / self.fps


def choose_frames(track: Track, request: Request, sound: Sequence[int] | None = None) -> tuple[int, ...]:
    """Choose frames of a video by the request's sampler.

    Args:
        track: When the frames are shown; at least one frame.
        request: What was asked for.
        sound: Numbers of the frames of a damaged video that can be had, ascending; None if all can. The
            sampler chooses among these as if there were no others; MVBench's rules take the nearest of them.

    Returns:
        Frame numbers, from 0 to the number of frames - 1.

    Raises:
        PartOutsideError: If the video ends before the part asked for begins.
        VideoError: If the sampler finds no frame in it.
        DamagedVideoError: If there are no sound frames in the part asked for.
    """
    if request.sampler in BOUNDED_SAMPLERS:
        picks = _choose_by_seconds(track, request)
    else:
        candidates = _candidates(track, request, sound)
        picks = [candidates[position] for position in _positions(track, candidates, request)]
    outside = [pick for pick in picks if not 0 <= pick < len(track.times_seconds)]
    if outside or not picks:
        found = f"frame {outside[0]} of {len(track.times_seconds)}" if outside else "no frame at all"
        instead = "mvbench" if request.sampler in BOUNDED_SAMPLERS else "uniform"
        raise VideoError(
            f"the sampler '{request.sampler}' asks for {found}",
            where=str(request.path),
            fix=f"use the sampler '{instead}'",
        )
    return tuple(picks if sound is None else [_nearest(sound, pick) for pick in picks])


def frames_between(track: Track, request: Request) -> range:
    """Give the frames on screen from `request.start` to `request.end`.

    Raises:
        PartOutsideError: If the video ends before the start.
    """
    if request.start is None and request.end is None:
        return range(len(track.times_seconds))
    start = request.start or 0.0
    if start >= track.duration_seconds - CLOCK_TOLERANCE_SECONDS:
        raise _outside(track, request)
    first = max(0, bisect_right(track.times_seconds, start + CLOCK_TOLERANCE_SECONDS) - 1)
    if request.end is None:
        return range(first, len(track.times_seconds))
    stop = bisect_left(track.times_seconds, request.end - CLOCK_TOLERANCE_SECONDS)
    return range(first, max(stop, first + 1))


def _outside(track: Track, request: Request) -> PartOutsideError:
    what = f"ends after {track.duration_seconds:.1f} s, the clip was to start at {request.start or 0.0:.1f} s"
    return PartOutsideError(what, where=str(request.path), fix="lower `start`")


def _candidates(track: Track, request: Request, sound: Sequence[int] | None) -> Sequence[int]:
    """Give the numbers of the frames a sampler may choose from."""
    window = frames_between(track, request)
    if sound is None:
        return window
    among = sound[bisect_left(sound, window.start) : bisect_left(sound, window.stop)]
    if not among:
        raise DamagedVideoError(
            f"is damaged: none of its frames from {track.times_seconds[window.start]:.1f} to "
            f"{track.times_seconds[window.stop - 1]:.1f} s can be decoded",
            where=str(request.path),
            fix="choose another part of the video, or download or record it again",
        )
    return among


def _positions(track: Track, candidates: Sequence[int], request: Request) -> list[int]:
    """Choose by the two numbers of frames, or by a rate: positions within the candidates."""
    num_frames = request.num_frames or DEFAULT_NUM_FRAMES
    if request.fps is not None:
        return _positions_at_rate(track, candidates, request, request.fps)
    if request.sampler in SEEDED_SAMPLERS:
        return SEEDED_SAMPLERS[request.sampler](len(candidates), num_frames, request.seed)
    return SAMPLERS[request.sampler](len(candidates), num_frames)


def _positions_at_rate(track: Track, candidates: Sequence[int], request: Request, fps: float) -> list[int]:
    start = request.start or 0.0
    end = track.duration_seconds if request.end is None else min(request.end, track.duration_seconds)
    if request.max_frames is None and (end - start) * fps > MOST_FRAMES:
        what = f"{fps:g} frames a second of {end - start:.1f} s are more than {MOST_FRAMES} frames"
        raise VideoError(what, where=str(request.path), fix="lower `fps`, or limit it with `max_frames`")
    if request.sampler == "released_rate":
        return released_rate(len(candidates), track.fps, fps, request.max_frames)
    times = [track.times_seconds[index] - start for index in candidates]
    return at_rate(times, end - start, fps, request.max_frames)


def _choose_by_seconds(track: Track, request: Request) -> list[int]:
    """Choose by MVBench's rules, which read the seconds of the question themselves."""
    bound = None
    if request.start is not None or request.end is not None:
        end = track.duration_seconds if request.end is None else request.end
        bound = (request.start or 0.0, end)
    first = 1 if track.kind == "folder" else 0
    assumes_rate = track.kind == "gif" and request.sampler == "released_mvbench"
    fps = RELEASED_GIF_FPS if assumes_rate else track.fps
    last = len(track.times_seconds) - 1 + first
    # A part that begins one frame too late still has the last one: so do the released scripts read it.
    if (request.start or 0.0) * track.fps > last + 1.5:
        raise _outside(track, request)
    sampler = BOUNDED_SAMPLERS[request.sampler]
    return [pick - first for pick in sampler(last, fps, bound, request.num_frames, first)]


def _nearest(sound: Sequence[int], number: int) -> int:
    place = bisect_left(sound, number)
    return min(sound[max(place - 1, 0) : place + 1], key=lambda candidate: abs(candidate - number))
