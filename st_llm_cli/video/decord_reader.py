"""Reading frames with decord, as the released ST-LLM code does: for comparison with it, by name only.

On MPEG-TS, MPEG-PS, MPEG-4 in AVI, HEVC with open groups and files with edit lists it gives other frames than
those asked for, without a word.
"""

from __future__ import annotations

from itertools import pairwise

from st_llm_cli.errors import DamagedVideoError, UsageError, VideoError
from st_llm_cli.video.choose import Track, choose_frames
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.container import check_file
from st_llm_cli.video.native_error import plain_words
from st_llm_cli.video.pictures import Pictures
from st_llm_cli.video.request import Request


def read_with_decord(request: Request) -> Clip:
    """Read a video file with decord.

    Args:
        request: What is wanted, checked.

    Returns:
        The clip. The number of frames is the header's: decord knows no other.

    Raises:
        UsageError: If decord is not installed.
        VideoError: If the file cannot give the frames; see its family.
    """
    check_file(request.path)
    try:
        import decord
    except ImportError as error:
        raise UsageError("decord is not installed", where="reader", fix="pip install decord") from error
    decord.logging.set_level(decord.logging.QUIET)
    try:
        video = decord.VideoReader(str(request.path), num_threads=1)
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(
            f"cannot be opened by decord ({plain_words(error)})",
            where=str(request.path),
            fix="use the reader 'pyav'",
        ) from error
    try:
        starts = video.get_frame_timestamp(range(len(video)))[:, 0].tolist()
        track = _track(starts, float(video.get_avg_fps()))
        pictures = Pictures(request, choose_frames(track, request))
        for index in pictures.wanted():
            pictures.add(index, video.get_batch([index]).asnumpy()[0])
    except (RuntimeError, IndexError, decord.DECORDError) as error:
        raise DamagedVideoError(
            f"cannot be decoded by decord ({plain_words(error)})",
            where=str(request.path),
            fix="use the reader 'pyav'",
        ) from error
    return pictures.clip("decord", track, promised_frames=len(starts), delivered_frames=len(starts))


def _track(starts: list[float], fps: float) -> Track:
    if any(start >= following for start, following in pairwise(starts)):
        # Of an AVI file with B-frames, decord says that every frame is shown at 0.
        return Track([index / fps for index in range(len(starts))], fps)
    return Track([start - starts[0] for start in starts], fps)
