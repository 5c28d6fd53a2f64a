"""Reading frames with torchcodec, where it is installed."""

from __future__ import annotations

from st_llm_cli.errors import DamagedVideoError, UsageError, VideoError
from st_llm_cli.video.choose import Track, choose_frames
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.container import check_file
from st_llm_cli.video.native_error import plain_words
from st_llm_cli.video.pictures import Pictures
from st_llm_cli.video.request import Request


def read_with_torchcodec(request: Request) -> Clip:
    """Read a video file with torchcodec, which applies rotation itself.

    Args:
        request: What is wanted, checked.

    Returns:
        The clip. Parts are found, and rates kept, as if all frames were evenly spaced; `times_seconds` are
        true.

    Raises:
        UsageError: If torchcodec is not installed, or finds no FFmpeg.
        VideoError: If the file cannot give the frames; see its family.
    """
    check_file(request.path)
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        raise UsageError(
            f"torchcodec cannot be used ({plain_words(error)})",
            where="reader",
            fix="pip install 'stllm[torchcodec]', and install FFmpeg's libraries",
        ) from error
    try:
        video = VideoDecoder(str(request.path), dimension_order="NHWC", seek_mode="exact")
    except (ValueError, RuntimeError) as error:
        raise VideoError(
            f"cannot be opened by torchcodec ({plain_words(error)})",
            where=str(request.path),
            fix="use the reader 'pyav'",
        ) from error
    fps = float(video.metadata.average_fps)
    times = [index / fps for index in range(len(video))]
    track = Track(times, fps)
    pictures = Pictures(request, choose_frames(track, request))
    first_second = float(video.metadata.begin_stream_seconds or 0.0)
    try:
        for index in pictures.wanted():
            frame = video.get_frame_at(index)
            pictures.add(index, frame.data.numpy())
            times[index] = float(frame.pts_seconds) - first_second
    except (RuntimeError, IndexError) as error:
        raise DamagedVideoError(
            f"cannot be decoded by torchcodec ({plain_words(error)})",
            where=str(request.path),
            fix="use the reader 'pyav'",
        ) from error
    promised = video.metadata.num_frames_from_header
    return pictures.clip("torchcodec", track, promised_frames=promised, delivered_frames=len(video))
