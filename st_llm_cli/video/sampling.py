"""Which frames of a clip to look at: pure functions from counts to frame numbers.

A rule whose name starts with "released" does what the released ST-LLM code (commit ae45258) does, oddities
included; each has a sound counterpart beside it. The parity tests hold frame numbers of all these rules.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np


def uniform(total_frames: int, num_frames: int) -> list[int]:
    """Take the middle frame of each of `num_frames` equal parts of the clip.

    Integer arithmetic throughout: a clip with exactly as many frames as asked gives each frame once, a
    shorter one repeats its frames evenly.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.

    Returns:
        Frame numbers, ascending, [num_frames].

    Raises:
        ValueError: If either number is below 1.
    """
    _check(total_frames, num_frames)
    return [(2 * part + 1) * total_frames // (2 * num_frames) for part in range(num_frames)]


def random_in_parts(total_frames: int, num_frames: int, seed: int) -> list[int]:
    """Take one random frame from each of `num_frames` equal parts of the clip.

    Every frame of a part is equally likely, its last one included; a clip shorter than asked repeats frames.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.
        seed: The same seed gives the same frames.

    Returns:
        Frame numbers, ascending, [num_frames].

    Raises:
        ValueError: If either number is below 1.
    """
    _check(total_frames, num_frames)
    generator = random.Random(seed)
    bounds = [part * total_frames // num_frames for part in range(num_frames + 1)]
    # A part of a clip that is too short can be empty: it then takes the frame it stands on.
    return [generator.randrange(low, max(high, low + 1)) for low, high in pairwise(bounds)]


def at_rate(
    times_seconds: Sequence[float], duration_seconds: float, fps: float, max_frames: int | None = None
) -> list[int]:
    """Take the frame on screen in the middle of each period of 1/fps seconds, at least one.

    Goes by the frames' own times, so that a variable frame rate is sampled evenly in time.

    Args:
        times_seconds: When each frame appears, ascending, the first at or before 0.
        duration_seconds: When the last frame disappears.
        fps: Frames wanted per second, above 0.
        max_frames: Longest answer, taken from periods evenly spread; None for no limit.

    Returns:
        Frame numbers, ascending; the same one again where the clip has fewer frames than asked.

    Raises:
        ValueError: If there is no frame or the rate is not above 0.

    Example:
        >>> at_rate([0.0, 0.5, 1.0, 1.5], duration_seconds=2.0, fps=1.0)
        [1, 3]
    """
    if not times_seconds or fps <= 0:
        raise ValueError(f"{len(times_seconds)} frames at {fps} frames per second: neither may be 0 or less")
    # Times carry the rounding of the file's clock: 2.9999 s at 1 fps are three periods, not two.
    count = max(1, int(duration_seconds * fps + 1e-3))
    # Chosen before any is looked at: a rate can give more periods than memory holds.
    periods = range(count) if max_frames is None else uniform(count, min(count, max_frames))
    middles = [(period + 0.5) / fps for period in periods]
    return [max(0, bisect_right(times_seconds, middle + 1e-6) - 1) for middle in middles]


def frames_at_about_one_per_second(seconds: float) -> int:
    """Give the number of frames of the released MVBench script for a clip: one a second, from 4 to 16.

    Args:
        seconds: Length of the clip.

    Returns:
        Number of frames, 4 to 16.

    Source: released mvbench code, `get_index` with `num_segments` 0.
    """
    return min(16, max(4, int(seconds)))


def mvbench(
    max_frame: int,
    fps: float,
    bound: tuple[float, float] | None,
    num_frames: int | None,
    first_frame: int = 0,
) -> list[int]:
    """Take frames as `released_mvbench` does, but never outside the clip and never backwards.

    The two agree wherever the bounds of the question lie inside the clip; where they do not (a few rows of
    MVBench end after their media), these are the frames nearest to what was meant. That a part lies outside
    of the clip altogether is for the caller to refuse.

    Args:
        max_frame: Number of the last frame.
        fps: Frames per second.
        bound: Start and end in seconds; None for the whole clip.
        num_frames: Frames wanted; None for about one a second, 4 to 16.
        first_frame: Number of the first frame: 0 for a video, 1 for a folder of numbered frames.

    Returns:
        Frame numbers, ascending, from `first_frame` to `max_frame`.

    Raises:
        ValueError: If fewer than 1 frame is asked for.
    """
    if bound is None:
        return released_mvbench(max_frame, fps, bound, num_frames, first_frame)
    last_second = max_frame / fps
    start = min(max(bound[0], 0.0), last_second)
    end = max(bound[1], start)
    if num_frames is None:
        # The length as the row states it, which is what the released rule counts too.
        num_frames = frames_at_about_one_per_second(bound[1] - bound[0])
    picks = released_mvbench(max_frame, fps, (start, end), num_frames, first_frame)
    return sorted(min(max(pick, first_frame), max_frame) for pick in picks)


def released_mvbench(
    max_frame: int,
    fps: float,
    bound: tuple[float, float] | None,
    num_frames: int | None,
    first_frame: int = 0,
) -> list[int]:
    """Take frames as the released MVBench readers do.

    Quirk: a start after the clip's end gives frame numbers beyond the clip, in falling order.

    Args:
        max_frame: Number of the last frame: count - 1 for a video, count for a folder of frames.
        fps: Frames per second.
        bound: Start and end in seconds; None for the whole clip.
        num_frames: Frames wanted; None for about one a second, 4 to 16 (written 0 in the released script).
        first_frame: Number of the first frame: 0 for a video, 1 for a folder of numbered frames.

    Returns:
        Frame numbers, [num_frames].

    Raises:
        ValueError: If fewer than 1 frame is asked for.

    Source: released mvbench code, `get_index`; the same rule stands in Ask-Anything.
    """
    start, end = bound if bound is not None else (-100_000.0, 100_000.0)
    first = max(first_frame, round(start * fps))
    last = min(round(end * fps), max_frame)
    if num_frames is None:
        num_frames = frames_at_about_one_per_second(end - start if bound is not None else max_frame / fps)
    if num_frames < 1:
        raise ValueError(f"{num_frames} frames asked for, at least 1 is needed")
    part = float(last - first) / num_frames
    return [int(first + part / 2 + round(part * index)) for index in range(num_frames)]


def released_chat(total_frames: int, num_frames: int) -> list[int]:
    """Take frames as the released chat, demo and question-answering scripts do.

    Quirks: a clip shorter than asked gives fewer frames, not repeated ones; and the last frame of the clip is
        counted
    out, so that 16 of 16 frames are 0 … 8, 8 … 14.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.

    Returns:
        Frame numbers, ascending, at most `total_frames`.

    Raises:
        ValueError: If either number is below 1.

    Source: released conversation code, `load_video`.
    """
    _check(total_frames, num_frames)
    return middles_of_rounded_parts(total_frames, min(total_frames, num_frames))


def middles_of_rounded_parts(total_frames: int, num_frames: int) -> list[int]:
    """Take the middles of equal parts of `total_frames - 1`, each border rounded first, half to even.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.

    Returns:
        Frame numbers, ascending, [num_frames].

    Raises:
        ValueError: If either number is below 1.

    Source: released conversation code, `get_seq_frames`.
    """
    _check(total_frames, num_frames)
    part = float(total_frames - 1) / num_frames
    borders = [round(part * index) for index in range(num_frames + 1)]
    return [(low + high) // 2 for low, high in pairwise(borders)]


def released_middle(total_frames: int, num_frames: int) -> list[int]:
    """Take frames as the released training readers do when not drawing at random.

    Quirk: a clip shorter than asked gives each frame once and then only its last one again and again.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.

    Returns:
        Frame numbers, ascending, [num_frames].

    Raises:
        ValueError: If either number is below 1.

    Source: released training code, `get_frame_indices` with sample "middle".
    """
    parts = _released_parts(total_frames, num_frames)
    return _repeat_last([(low + high) // 2 for low, high in parts], num_frames)


def released_offset(total_frames: int, num_frames: int, offset: int) -> list[int]:
    """Take the frame `offset` frames into each equal part.

    Quirk: an offset longer than a part leaves the part, and can leave the clip.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.
        offset: Frames after the start of each part.

    Returns:
        Frame numbers, ascending, [num_frames].

    Raises:
        ValueError: If either number is below 1.

    Source: released training code, `get_frame_indices` with `fix_start`.
    """
    parts = _released_parts(total_frames, num_frames)
    return _repeat_last([low + offset for low, _ in parts], num_frames)


def released_random(total_frames: int, num_frames: int, seed: int) -> list[int]:
    """Take a random frame of each equal part, as the released training readers do.

    Quirks: the last frame of a part is never drawn; if any part has one frame only, all frames are a random
        subset
    of the clip instead; a clip shorter than asked gives each frame once and then its last one again and
    again.

    Args:
        total_frames: Frames to choose from, at least 1.
        num_frames: Frames wanted, at least 1.
        seed: The same seed gives the same frames: those of `random.seed(seed); np.random.seed(seed)`.

    Returns:
        Frame numbers, ascending, [num_frames].

    Raises:
        ValueError: If either number is below 1.

    Source: released training code, `get_frame_indices` with sample "rand".
    """
    parts = _released_parts(total_frames, num_frames)
    if any(low == high for low, high in parts):
        picks = sorted(np.random.RandomState(seed).permutation(total_frames)[: len(parts)].tolist())
    else:
        generator = random.Random(seed)
        picks = [generator.choice(range(low, high)) for low, high in parts]
    return _repeat_last(picks, num_frames)


def released_rate(
    total_frames: int, source_fps: float, fps: float, max_frames: int | None = None
) -> list[int]:
    """Take frames at a steady rate, as the released training readers do.

    Quirks: a clip shorter than half a period gives no frame at all; rounding half to even can give a frame
        twice and
    leave out its neighbour; more frames than `max_frames` are cut off at the end of the clip, not thinned
    out.

    Args:
        total_frames: Frames to choose from, at least 1.
        source_fps: Frames per second of the clip.
        fps: Frames wanted per second.
        max_frames: Longest answer; None for no limit.

    Returns:
        Frame numbers, ascending.

    Raises:
        ValueError: If there is no frame or a rate is not above 0.

    Source: released training code, `get_frame_indices` with sample "fpsX".
    """
    if total_frames < 1 or source_fps <= 0 or fps <= 0:
        raise ValueError(
            f"{total_frames} frames at {source_fps} per second, {fps} wanted: none may be 0 or less"
        )
    period = 1 / fps
    stop = float(total_frames) / source_fps + period / 2
    if max_frames is not None:  # where it stops does not change the steps before
        stop = min(stop, (max_frames + 1) * period)
    # numpy's own arange and rounding, not ours: where a step ends exactly on the border, their error decides.
    middles = np.arange(0 + period / 2, stop, period)
    picks = [int(pick) for pick in np.around(middles * source_fps).astype(int) if pick < total_frames]
    return picks[:max_frames]


def _released_parts(total_frames: int, num_frames: int) -> list[tuple[int, int]]:
    """Split a clip as the released code does: first and last frame of each part."""
    _check(total_frames, num_frames)
    # Not integer arithmetic: linspace can end a hair below a whole number, and the cut then falls one frame
    # lower.
    borders = np.linspace(0, total_frames, num=min(num_frames, total_frames) + 1).astype(int).tolist()
    return [(low, high - 1) for low, high in pairwise(borders)]


def _repeat_last(picks: list[int], num_frames: int) -> list[int]:
    return picks + picks[-1:] * (num_frames - len(picks))


def _check(total_frames: int, num_frames: int) -> None:
    if total_frames < 1 or num_frames < 1:
        raise ValueError(f"{num_frames} of {total_frames} frames asked for, both must be at least 1")


SAMPLERS: dict[str, Callable[[int, int], list[int]]] = {
    "uniform": uniform,
    "released_middle": released_middle,
    "released_chat": released_chat,
}
"""Rules that need only the two numbers of frames, there are and wanted."""

SEEDED_SAMPLERS: dict[str, Callable[[int, int, int], list[int]]] = {
    "random": random_in_parts,
    "released_random": released_random,
}
"""Rules that draw: frames there are, frames wanted, seed."""

BOUNDED_SAMPLERS: dict[
    str, Callable[[int, float, tuple[float, float] | None, int | None, int], list[int]]
] = {
    "mvbench": mvbench,
    "released_mvbench": released_mvbench,
}
"""Rules that read seconds: last frame, fps, (start, end) or None, frames wanted or None, first frame."""
