"""Fill the token cache: decode many clips, encode them in full batches, keep what came out.

Three things go on at once, each bounded: child processes decode a few clips ahead, this thread encodes, and
one more thread writes. What is finished is on disk and is never done again, however the run ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from st_llm_cli.errors import DataError, StllmError, UsageError
from st_llm_cli.stages.clip_tokens import Asked, ClipTokens, SeenClip
from st_llm_cli.video.reader import DEFAULT_DEADLINE_SECONDS, read_clips
from st_llm_cli.video.request import Request, check_request

if TYPE_CHECKING:
    from st_llm_cli.video.clip import Clip
    from st_llm_cli.video.transform import Transform

WRITES_AHEAD = 8
"""Clips that may wait to be written, in memory, before encoding waits for them."""


@dataclass(frozen=True)
class Wish:
    """How clips are read and encoded."""

    num_frames: int | None = None
    """Frames per clip; the model's own number if neither this nor `fps` is given."""
    fps: float | None = None
    """Frames per second instead."""
    reader: str = "pyav"
    """Name of the video reader."""
    workers: int = 2
    """Clips decoded at a time."""
    deadline: float = DEFAULT_DEADLINE_SECONDS
    """Seconds after which a clip is given up."""
    batch_frames: int = 64
    """Frames that go through the encoder at once."""
    stop_at_error: bool = False
    """Whether the first clip that fails ends the run."""
    max_failures: int | None = None
    """More failed clips than this end the run."""


@dataclass(frozen=True)
class Outcome:
    """One clip is through."""

    video: Path
    error: StllmError | None = None
    """Why it was skipped; None if its tokens are in the cache."""
    seconds: float = 0.0
    """From its turn to be read to its end, for a clip that was skipped."""
    was_there: bool = False
    """Whether its tokens were in the cache before."""


@dataclass
class Tally:
    """How many clips are through, and how."""

    encoded: int = 0
    present: int = 0
    """Clips whose tokens were there before."""
    skipped: int = 0
    """Clips that failed."""

    def count(self, outcome: Outcome) -> None:
        """Take one more clip into account."""
        if outcome.error is not None:
            self.skipped += 1
        elif outcome.was_there:
            self.present += 1
        else:
            self.encoded += 1


def request_for(video: Path, wish: Wish, num_frames: int, transform: Transform | None) -> Request:
    """Ask the video room for the frames of a clip.

    Args:
        video: The video.
        wish: How it is read.
        num_frames: Where the wish names neither a number nor a rate.
        transform: What the model needs done to each picture.

    Raises:
        UsageError: If no video could give what is wished for.
    """
    count = wish.num_frames if wish.num_frames or wish.fps else num_frames
    request = Request(video, num_frames=count, fps=wish.fps, transform=transform, reader=wish.reader)
    check_request(request)
    return request


def extract(
    tokens: ClipTokens, requests: Sequence[Request], wish: Wish, report: Callable[[Outcome], None]
) -> Tally:
    """Put the tokens of clips into the cache.

    Args:
        tokens: The encoder and its cache.
        requests: The clips.
        wish: How they are read and encoded.
        report: Called with each clip that is through.

    Raises:
        CacheError: If tokens cannot be written.
        DataError: If more clips failed than may.
        StllmError: Of the first clip that failed, if that is to end the run.
    """
    run = _Run(tokens, wish, report)
    under_way: dict[Request, tuple[Asked, float]] = {}

    def unknown() -> Iterator[Request]:
        for request in requests:
            asked = tokens.ask(request)
            if asked.known is not None:
                run.through(Outcome(request.path, was_there=True))
            elif request not in under_way:  # the same clip named twice
                under_way[request] = asked, time.monotonic()
                yield request

    with run.writer:
        clips = read_clips(unknown(), workers=wish.workers, deadline=wish.deadline, in_order=False)
        for request, clip in clips:
            asked, began = under_way.pop(request)
            run.take(asked, clip, time.monotonic() - began)
        run.encode_waiting()
        run.finish_writing(0)
    return run.tally


@dataclass
class _Run:
    """An extraction under way."""

    tokens: ClipTokens
    wish: Wish
    report: Callable[[Outcome], None]
    tally: Tally = field(default_factory=Tally)
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "write-tokens"))
    waiting: list[tuple[Asked, Clip]] = field(default_factory=list)
    """Clips that are read and not yet encoded."""
    writing: list[tuple[Asked, Future[None]]] = field(default_factory=list)

    def take(self, asked: Asked, clip: Clip | StllmError, seconds: float) -> None:
        """Take in a clip that was read, or the error that stands for it."""
        if not isinstance(clip, StllmError) and self.tokens.has_too_many_frames(clip):
            what = f"{len(clip.frames)} frames are more than the model tells apart"
            clip = UsageError(what, where=str(asked.request.path), fix="ask for fewer frames")
        if isinstance(clip, StllmError):
            self.through(Outcome(asked.request.path, clip, seconds))
            return
        self.waiting.append((asked, clip))
        if sum(len(clip.frames) for _, clip in self.waiting) >= self.wish.batch_frames:
            self.encode_waiting()

    def encode_waiting(self) -> None:
        """Encode the clips that wait for it, and hand their tokens to the writer."""
        if not self.waiting:
            return
        began = time.perf_counter()
        seen = self.tokens.encode([clip for _, clip in self.waiting], self.wish.batch_frames)
        total = sum(len(clip.indices) for clip in seen)
        per_frame = (time.perf_counter() - began) / total
        for (asked, _), clip in zip(self.waiting, seen, strict=True):
            self.finish_writing(WRITES_AHEAD)
            self.writing.append((asked, self._write(asked, clip, per_frame * len(clip.indices))))
        self.waiting.clear()

    def _write(self, asked: Asked, clip: SeenClip, seconds: float) -> Future[None]:
        return self.writer.submit(self.tokens.keep, asked, clip, seconds)

    def finish_writing(self, may_wait: int) -> None:
        """Wait until at most so many clips are still to be written."""
        while len(self.writing) > may_wait:
            asked, future = self.writing.pop(0)
            future.result()
            self.through(Outcome(asked.request.path))

    def through(self, outcome: Outcome) -> None:
        """Count a clip, tell about it, and end the run if that is one failure too many."""
        self.tally.count(outcome)
        self.report(outcome)
        if outcome.error is None:
            return
        if self.wish.stop_at_error:
            raise outcome.error
        most = self.wish.max_failures
        if most is not None and self.tally.skipped > most:
            what = f"{self.tally.skipped} clips failed, and at most {most} may"
            raise DataError(what, where=str(outcome.video), fix="look at the ledger, or raise --max-failures")


class Ledger:
    """Names what was skipped and why, a line each; there is no file if nothing was.

    Args:
        path: The file. One of an earlier run is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        path.unlink(missing_ok=True)

    def add(self, outcome: Outcome) -> None:
        """Write down a clip that was skipped.

        Raises:
            DataError: If the ledger cannot be written.
        """
        assert outcome.error is not None
        row = {
            "file": str(outcome.video),
            "reason": str(outcome.error),
            "kind": type(outcome.error).__name__,
            "seconds": round(outcome.seconds, 2),
        }
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8")
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            what = f"the ledger cannot be written: {error.strerror}"
            raise DataError(what, where=str(self.path), fix="name another file with --skipped") from error

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
