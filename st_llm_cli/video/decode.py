"""Decoding in this very process, by the reader that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable

from st_llm_cli.video.clip import Clip
from st_llm_cli.video.decord_reader import read_with_decord
from st_llm_cli.video.folder_reader import PICTURE_SUFFIXES, read_folder
from st_llm_cli.video.pyav_reader import read_with_pyav
from st_llm_cli.video.request import Request
from st_llm_cli.video.torchcodec_reader import read_with_torchcodec


def decode(request: Request) -> Clip:
    """Read the frames asked for, with nothing to stop a reader that hangs or crashes.

    Args:
        request: What is wanted, checked.

    Returns:
        The clip.

    Raises:
        VideoError: If the video cannot give the frames; see its family.
    """
    if os.path.isdir(request.path) or request.path.suffix.lower() in PICTURE_SUFFIXES:
        return read_folder(request)
    return READERS[request.reader](request)


READERS: dict[str, Callable[[Request], Clip]] = {
    "pyav": read_with_pyav,
    "torchcodec": read_with_torchcodec,
    "decord": read_with_decord,
}
"""Readers of files, by the names of `request.READER_NAMES`."""
