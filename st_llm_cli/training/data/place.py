"""Where a source on disk lies, seen without a look at what is in it."""

from __future__ import annotations

from pathlib import Path

from st_llm_cli.errors import DataError
from st_llm_cli.recipe.sources import Annotations


def find_annotations(source: Annotations) -> tuple[Path, Path]:
    """Find the annotation file of a source, and the folder its paths start from.

    Raises:
        DataError: If either is not there.
    """
    file, media = Path(source.annotations).expanduser(), Path(source.media).expanduser()
    if not media.is_dir():
        what = "is not a folder" if media.exists() else "no such folder"
        raise DataError(what, where=str(media), fix=f"it is the 'media' of {file}")
    if not file.exists():
        raise DataError("cannot be read: No such file or directory", where=str(file), fix="check the path")
    return file, media
