"""The videos that a command is given: as arguments, or on standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from st_llm_cli.errors import DataError


def videos_in(sources: Sequence[str]) -> list[Path]:
    """Resolve sources into videos; `-` stands for those named on standard input, a line each.

    Raises:
        DataError: If standard input names none, or a list cannot be read.
        VideoNotFoundError: If something named does not exist, or names no video at all.
    """
    from st_llm_cli.stages.find_videos import find_videos

    named: list[str] = []
    for source in dict.fromkeys(sources):
        named += _on_standard_input() if source == "-" else [source]
    return find_videos(named)


def _on_standard_input() -> list[str]:
    # By its bytes: names of files need not be text.
    lines = [] if sys.stdin is None else [os.fsdecode(line).strip() for line in sys.stdin.buffer]
    names = [line for line in lines if line]
    if not names:
        raise DataError("lists no videos", where="standard input", fix="name one video a line")
    return names
