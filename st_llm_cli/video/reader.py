"""read_clip: from a path and a wish to a Clip."""

from __future__ import annotations

from pathlib import Path

from st_llm_cli.video.clip import Clip
from st_llm_cli.video.pyav_reader import read_with_pyav
from st_llm_cli.video.request import Request, check_request
from st_llm_cli.video.transform import Transform

DEFAULT_DEADLINE_SECONDS = 120.0


def read_clip(
    path: str | Path,
    *,
    sampler: str = "uniform",
    num_frames: int | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    seed: int = 0,
    transform: Transform | None = None,
    reader: str = "pyav",
    deadline: float = DEFAULT_DEADLINE_SECONDS,
    folder_fps: float = 3.0,
) -> Clip:
    """Read frames of a video file, or of a folder of numbered pictures.

    Args:
        path: Video file, gif, or folder of numbered jpg or png files.
        sampler: Rule that chooses the frames, a name of `sampling.py`.
        num_frames: Frames wanted; 16 if neither this nor `fps` is given. A shorter clip repeats frames by the
            sampler's rule.
        fps: Frames wanted per second, instead of a number.
        max_frames: With `fps`: at most so many, spread evenly.
        start: Begin of the part to look at, in seconds from the first frame.
        end: End of the part to look at, in seconds from the first frame.
        seed: For samplers that draw.
        transform: Applied to each picture where it is decoded; must be picklable.
        reader: "pyav", "torchcodec" or "decord".
        deadline: Seconds after which a reader that has not finished is stopped.
        folder_fps: Pictures per second of a folder.

    Returns:
        The clip.

    Raises:
        UsageError: If the wishes cannot be fulfilled by any video.
        VideoError: If this video cannot give the frames; see its family.
    """
    request = Request(
        Path(path), sampler, num_frames, fps, max_frames, start, end, seed, transform, reader, folder_fps
    )
    check_request(request)
    return read_with_pyav(request)
