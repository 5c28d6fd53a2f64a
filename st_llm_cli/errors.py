"""Every error a user can meet.

    StllmError
    ├── UsageError          the command or call was put together wrongly (exit code 2)
    ├── VideoError          a video could not give the frames asked of it
    │   ├── VideoNotFoundError     no such file or folder
    │   ├── NotAVideoError         the file is empty, or not a video at all
    │   ├── NoVideoStreamError     a media file without pictures (audio only, cover art only)
    │   ├── DamagedVideoError      a video, but nothing of what was asked can be decoded
    │   ├── PartOutsideError       the video ends before the part asked for begins
    │   └── DecodeTimeoutError     the reader did not finish before the deadline
    ├── CheckpointError     weights or their configuration are missing, damaged or do not fit
    ├── RecipeError         a recipe that cannot be read or cannot work
    ├── DataError           training or benchmark data that cannot be used
    ├── CacheError          the token cache cannot be read or written
    ├── TrainingError       training cannot go on
    │   └── LostProcess            another of the processes that train together has ended (exit code 3)
    └── Interrupted         the program was told to stop, and what it did is saved (exit code 130)

Each says what was found, where, and what to do next; `except StllmError` catches them all.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from os import PathLike, fsdecode
from typing import Self

SYSTEM_FIXES = {
    errno.EACCES: "check its permissions, and its folder's",
    errno.EPERM: "check its permissions, and its folder's",
    errno.EROFS: "choose another folder",
    errno.ENAMETOOLONG: "check the name",
    errno.ELOOP: "mend the links",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EIO: "check the disk",
}
"""What to do about what no program can foresee: it is up to who looks after the machine."""


class StllmError(Exception):
    """What was found, where, and what to do next.

    Args:
        what: What was found, as a short clause without a full stop.
        where: The file, key or option concerned.
        fix: What to do next, as an imperative.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.fix})" if self.fix else text

    @classmethod
    def of_system(cls, error: OSError, path: str | bytes | PathLike[str] | None = None) -> Self:
        """Put into words what the system does not let us do with a file.

        Args:
            error: What it said.
            path: The file, if it is not the one that the error names.
        """
        where = error.filename if path is None else path
        return cls(
            f"cannot be used: {error.strerror}",
            where=None if where is None else fsdecode(where),
            fix=SYSTEM_FIXES.get(error.errno or 0),
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (decoding runs in a child), where keyword arguments would be lost.
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(kind: type[StllmError], what: str, where: str | None, fix: str | None) -> StllmError:
    return kind(what, where=where, fix=fix)


class UsageError(StllmError):
    """The command or call was put together wrongly."""


class PlanError(StllmError):
    """Training that the device it is planned for has no room for."""


class VideoError(StllmError):
    """A video could not give the frames asked of it."""


class VideoNotFoundError(VideoError):
    """No such file or folder."""


class NotAVideoError(VideoError):
    """The file is empty, or not a video at all."""


class NoVideoStreamError(VideoError):
    """A media file without pictures: audio only, or cover art only."""


class DamagedVideoError(VideoError):
    """A video, but nothing of what was asked can be decoded."""


class PartOutsideError(VideoError):
    """The video ends before the part asked for begins."""


class DecodeTimeoutError(VideoError):
    """The reader did not finish before the deadline."""


class CheckpointError(StllmError):
    """Weights or their configuration are missing, damaged or do not fit."""


class RecipeError(StllmError):
    """A recipe that cannot be read or cannot work."""


class DataError(StllmError):
    """Training or benchmark data that cannot be used."""


class CacheError(StllmError):
    """The token cache cannot be read or written."""


class TrainingError(StllmError):
    """Training cannot go on."""


class LostProcess(TrainingError):
    """Another of the processes that train together has ended, for a reason that it has said itself."""


class Interrupted(StllmError):
    """The program was told to stop, and did so with its work saved."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Hint at the name that was probably meant, else at all names."""
    import difflib  # only a mistake needs it

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(names)}"
