"""Reading a folder of numbered pictures as a video, or one picture as a video of one frame."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from st_llm_cli.errors import DamagedVideoError, NotAVideoError, VideoError
from st_llm_cli.video.choose import Track, choose_frames
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.pictures import Pictures
from st_llm_cli.video.request import Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


def read_folder(request: Request) -> Clip:
    """Read a folder of pictures, in the order of the numbers in their names, or a single picture.

    Args:
        request: What is wanted, checked; its path is a folder or a picture. Only the pictures chosen are
            opened.

    Returns:
        The clip. Pictures of another size than the first one chosen are scaled to it.

    Raises:
        NotAVideoError: If the folder holds no pictures or two of one name or number, or one is animated.
        DamagedVideoError: If a picture cannot be read.
        VideoError: If there is nothing in the part asked for.
    """
    files = numbered_pictures(request.path) if os.path.isdir(request.path) else [request.path]
    track = Track([place / request.folder_fps for place in range(len(files))], request.folder_fps, "folder")
    pictures = Pictures(request, choose_frames(track, request))
    for index in pictures.wanted():
        pictures.add(index, _open_picture(files[index], pictures))
    return pictures.clip("folder", track, promised_frames=None, delivered_frames=len(files))


def numbered_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder so that 9.jpg comes before 10.jpg; other files are passed over.

    Raises:
        NotAVideoError: If there are none, or two have the same name or number.
        VideoError: If the folder may not be read.
    """
    try:
        found = list(folder.iterdir())
    except OSError as error:
        raise VideoError.of_system(error, folder) from error
    files = [
        path for path in found if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    ]
    if not files:
        raise NotAVideoError(
            "is a folder without pictures",
            where=str(folder),
            fix="give a video file, or a folder of numbered jpg or png files",
        )
    numbered = sorted((_by_number(path), path) for path in files)
    for (number, path), (next_number, next_path) in pairwise(numbered):
        if number == next_number:
            raise NotAVideoError(
                f"holds two pictures of one name or number, {path.name} and {next_path.name}",
                where=str(folder),
                fix="keep one of each in it: two series side by side are no video",
            )
    return [path for _, path in numbered]


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Give a sort key in which runs of digits count as numbers."""
    parts = re.findall(r"\d+|\D+", path.stem.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _open_picture(path: Path, pictures: Pictures) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as stored:
            count = getattr(stored, "n_frames", 1)
            if count > 1:
                what = f"is an animated picture of {count} frames, and only gifs are read as videos"
                raise NotAVideoError(what, where=str(path), fix="convert it to mp4 or gif")
            picture = _in_eight_bits(ImageOps.exif_transpose(stored)).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DamagedVideoError(
            f"cannot be read as a picture ({str(error).splitlines()[0]})",
            where=str(path),
            fix="extract it again",
        ) from error
    if pictures.width and picture.size != (pictures.width, pictures.height):
        picture = picture.resize((pictures.width, pictures.height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale grey levels of 16 bits, which Pillow would cut off at 255."""
    if not picture.mode.startswith("I;16"):
        return picture
    return Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
