"""From what a user names (files, folders, patterns, lists) to the videos meant."""

from __future__ import annotations

import csv
import difflib
import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from st_llm_cli.errors import DataError, VideoNotFoundError
from st_llm_cli.json_text import parse_json

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    }
)
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MANIFEST_SUFFIXES = frozenset({".txt", ".jsonl", ".json", ".csv"})
VIDEO_KEYS = ("video", "path", "file")
"""Keys of a manifest that name the video, the first that is there."""


def find_videos(sources: Sequence[str | Path]) -> list[Path]:
    """Resolve what the user named into videos, in that order, each once.

    Args:
        sources: Each a video file; a folder of numbered pictures, which is one video; any other
            folder, searched through all levels; a pattern such as `clips/*.mp4` or `clips/**/*.mkv`;
            or a manifest: `.txt` (one path a line), `.jsonl` or `.json` (paths, or objects with a `video`),
            or `.csv` (with a column `video`).
            Paths in a manifest are relative to it, and are taken as `videos_of_list` takes them; `~` is the
            user's home there and here.

    Raises:
        VideoNotFoundError: If something named does not exist, or names no video at all.
        DataError: If a manifest cannot be read.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_resolve(str(source))))
    return list(found)


def videos_of_list(names: Iterable[str], folder: Path) -> Iterator[Path]:
    """Resolve the names of a list: videos, and folders that stand for the videos in them.

    What is missing comes by its name all the same: it fails when it is read, and does not end the whole list.

    Args:
        names: As they stand in the list.
        folder: What they are relative to.
    """
    for name in names:
        path = folder / _from_home(Path(name))
        yield from (_videos_in(path) if os.path.isdir(path) else []) or [path]


def names_of_lines(lines: Iterable[str], folder: Path) -> Iterator[str]:
    """Take the names of a list, one a line; a comment begins with `#`, unless a file there is called so."""
    for name in filter(None, map(str.strip, lines)):
        if not name.startswith("#") or os.path.exists(folder / name):
            yield name


def _resolve(source: str) -> list[Path]:
    if not source.strip():
        what = "an empty name"
        raise VideoNotFoundError(what, fix="give a video; '.' is the folder you are in")
    if "://" in source and not os.path.exists(source):
        what = "an address, and addresses are not read"
        raise VideoNotFoundError(what, where=source, fix="download the video, and give the file")
    path = _from_home(Path(source))
    source = str(path)
    if os.path.isdir(path):
        videos = _videos_in(path)
        if not videos:
            what = "no video in this folder or below"
            known = ", ".join(sorted(VIDEO_SUFFIXES))
            raise VideoNotFoundError(what, where=source, fix=f"videos are known by their endings: {known}")
        return videos
    if path.suffix.lower() in MANIFEST_SUFFIXES and os.path.exists(path):
        return list(_in_manifest(path))
    if os.path.exists(path):
        return [path]
    if glob.has_magic(source):
        matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]
        videos = [
            match for match in matches if match.suffix.lower() in VIDEO_SUFFIXES or _is_one_video(match)
        ]
        if not videos:
            what = "no video matches this pattern"
            raise VideoNotFoundError(
                what, where=source, fix="quote it as 'clips/**/*.mp4' to search below clips"
            )
        return videos
    if os.path.islink(path):
        raise VideoNotFoundError("a link that leads nowhere", where=source, fix="mend or remove the link")
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise VideoNotFoundError("no such file or folder", where=source, fix=_near(path)) from None
    except OSError as error:
        raise VideoNotFoundError.of_system(error, path) from error
    return [path]  # has just come to be


def _videos_in(folder: Path) -> list[Path]:
    """The folder itself if it is a clip taken apart, else the videos in it and below."""
    if _is_one_video(folder):
        return [folder]
    return [path for path in sorted(folder.rglob("*")) if _is_video(path)]


def _is_video(path: Path) -> bool:
    return (path.suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(path)) or _is_one_video(path)


def _is_one_video(path: Path) -> bool:
    """Whether a folder is a clip taken apart: numbered pictures and no video.

    One that may not be looked into passes for a clip: it fails when it is read, and is not left out silently.
    """
    if not os.path.isdir(path):
        return False
    try:
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    except PermissionError:
        return True
    if any(file.suffix.lower() in VIDEO_SUFFIXES for file in files):
        return False
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    return sum(picture.stem[-1:].isdigit() for picture in pictures) > 1


def _in_manifest(manifest: Path) -> Iterator[Path]:
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read as a list of videos: {getattr(error, 'strerror', None) or error}"
        raise DataError(what, where=str(manifest), fix="save it as text in UTF-8") from error
    names = list(READERS[manifest.suffix.lower()](manifest, text))
    if not names:
        raise DataError("lists no videos", where=str(manifest), fix="name one video a line")
    return videos_of_list(names, manifest.parent)


def _from_home(path: Path) -> Path:
    """Read `~` as the user's home, unless there is something of that very name."""
    try:
        return path if os.path.exists(path) else path.expanduser()
    except RuntimeError:  # no such user
        return path


def _lines(manifest: Path, text: str) -> Iterator[str]:
    return names_of_lines(text.splitlines(), manifest.parent)


def _json_lines(manifest: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{manifest}, line {number}"
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            fix = 'write {"video": "clip.mp4"} on each line'
            raise DataError(f"is not JSON: {error.msg}", where=where, fix=fix) from error
        yield _video_of(row, where)


def _json_list(manifest: Path, text: str) -> Iterator[str]:
    fix = 'write a list: ["a.mp4", "b.mp4"]'
    try:
        rows = parse_json(text)
    except json.JSONDecodeError as error:
        where = f"{manifest}, line {error.lineno}"
        raise DataError(f"is not JSON: {error.msg}", where=where, fix=fix) from error
    if not isinstance(rows, list):
        raise DataError("is JSON, but no list of videos", where=str(manifest), fix=fix)
    for number, row in enumerate(rows, start=1):
        yield _video_of(row, f"{manifest}, entry {number}")


def _table(manifest: Path, text: str) -> Iterator[str]:
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        yield _video_of(row, f"{manifest}, line {number}")


def _video_of(row: Any, where: str) -> str:
    """The path that an entry is, or that it names."""
    named = [row.get(key) for key in VIDEO_KEYS] if isinstance(row, dict) else [row]
    for name in named:
        if isinstance(name, str) and name.strip():
            return name.strip()
    raise DataError("names no video", where=where, fix=f"give it a '{VIDEO_KEYS[0]}'")


def _near(path: Path) -> str:
    parent = path.parent
    if not os.path.isdir(parent):
        return f"check the path; there is no folder '{parent}' either"
    if not os.access(parent, os.R_OK):
        return "check the path"
    names = [other.name for other in parent.iterdir() if other.suffix.lower() in VIDEO_SUFFIXES]
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{parent / near[0]}'?"
    count = {0: "no video is", 1: "1 video is"}.get(len(names), f"{len(names)} videos are")
    return f"check the path; {count} in '{parent}'"


READERS = {".txt": _lines, ".jsonl": _json_lines, ".json": _json_list, ".csv": _table}
