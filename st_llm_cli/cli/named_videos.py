"""The videos that a command is given: as arguments, or on standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from st_llm_cli.errors import DataError


def videos_in(sources: Sequence[str]) -> list[Path]:
    """Resolve sources into videos; `-` stands for a list on standard input, a name a line.

    Names there are relative to where one stands, and one that is missing does not end the list.

    Raises:
        DataError: If standard input names none, or a list cannot be read.
        VideoNotFoundError: If something named as an argument does not exist, or names no video at all.
    """
    from st_llm_cli.stages.find_videos import find_videos, videos_of_list

    found: dict[Path, None] = {}
    for source in dict.fromkeys(sources):
        videos = videos_of_list(_on_standard_input(), Path()) if source == "-" else find_videos([source])
        found.update(dict.fromkeys(videos))
    return list(found)


def _on_standard_input() -> list[str]:
    from st_llm_cli.stages.find_videos import names_of_lines

    # By its bytes: names of files need not be text.
    names = [] if sys.stdin is None else list(names_of_lines(map(os.fsdecode, sys.stdin.buffer), Path()))
    if not names:
        raise DataError("lists no videos", where="standard input", fix="name one video a line")
    return names
