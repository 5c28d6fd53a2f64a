"""Fill the token cache: decode many clips, encode them in full batches, keep what came out.

Three things go on at once, each bounded: child processes decode a few clips ahead, threads encode, and one
more thread writes. What is finished is on disk and is never done again, however the run ends.

On a processor, encoding is most of the work, and one batch at a time would leave cores idle: as many batches
are encoded at once as clips are decoded, the threads PyTorch may use shared out among them. On an
accelerator, one thread keeps it busy.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from st_llm_cli.errors import DataError, StllmError, UsageError
from st_llm_cli.stages.clip_tokens import Asked, ClipTokens
from st_llm_cli.stages.frame_limit import limited, within_limit
from st_llm_cli.stages.limits import MOST_FRAMES
from st_llm_cli.video.reader import DEFAULT_DEADLINE_SECONDS, read_clips
from st_llm_cli.video.request import Request, check_request

if TYPE_CHECKING:
    from st_llm_cli.video.clip import Clip
    from st_llm_cli.video.transform import Transform

BATCH_FRAMES = 64
"""Frames an accelerator encodes at once, unless a number is asked for."""
BATCH_FRAMES_CPU = 16
"""The same of a processor, where larger batches take memory and are no faster (measured)."""


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
    """Clips decoded at a time; on a processor, also batches encoded at a time."""
    deadline: float = DEFAULT_DEADLINE_SECONDS
    """Seconds after which a clip is given up."""
    batch_frames: int | None = None
    """Frames that go through the encoder at once; None takes what suits the device."""
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


def request_for(
    video: Path, wish: Wish, num_frames: int, transform: Transform | None, most_frames: int = MOST_FRAMES
) -> Request:
    """Ask the video room for the frames of a clip.

    Args:
        video: The video.
        wish: How it is read.
        num_frames: Where the wish names neither a number nor a rate.
        transform: What the model needs done to each picture.
        most_frames: More of a clip, which a rate can give, no model or not this one can read.

    Raises:
        UsageError: If no video could give what is wished for.
    """
    count = wish.num_frames if wish.num_frames or wish.fps else num_frames
    request = Request(
        video,
        num_frames=count,
        fps=wish.fps,
        transform=transform,
        reader=wish.reader,
    )
    request = limited(request, most_frames)
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
    under_way: dict[Request, tuple[Asked, float]] = {}

    def unknown() -> Iterator[Request]:
        for request in requests:
            asked = tokens.ask(request)
            if asked.known is not None:
                run.through(Outcome(request.path, was_there=True))
            elif request not in under_way:  # the same clip named twice
                under_way[request] = asked, time.monotonic()
                yield request

    with ThreadPoolExecutor(1, "write-tokens") as writer, _encoders(tokens, wish) as encoders:
        run = _Run(tokens, wish, report, encoders, writer)
        clips = read_clips(unknown(), workers=wish.workers, deadline=wish.deadline, in_order=False)
        for request, clip in clips:
            asked, began = under_way.pop(request)
            run.take(asked, clip, time.monotonic() - began)
        run.encode_waiting()
        run.finish(0)
    return run.tally


def encoders_of(tokens: ClipTokens, wish: Wish) -> int:
    """How many batches are encoded at once."""
    on_processor = tokens.model.device.type == "cpu"
    return min(wish.workers, torch.get_num_threads()) if on_processor else 1


def batch_frames_of(tokens: ClipTokens, wish: Wish) -> int:
    """How many frames go through the encoder at once."""
    fitting = BATCH_FRAMES_CPU if tokens.model.device.type == "cpu" else BATCH_FRAMES
    return wish.batch_frames or fitting


@contextmanager
def _encoders(tokens: ClipTokens, wish: Wish) -> Iterator[ThreadPoolExecutor]:
    """Threads that encode, among which the threads of PyTorch are shared out meanwhile."""
    count, before = encoders_of(tokens, wish), torch.get_num_threads()
    torch.set_num_threads(before // count)
    pool = ThreadPoolExecutor(count, "encode-clips")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # where the run ends early: what waits need not be encoded
        torch.set_num_threads(before)


class _Batch(NamedTuple):
    """Clips that are being encoded and written."""

    asked: list[Asked]
    writes: Future[list[Future[None]]]
    """Once they are encoded: what is done when each is written."""


@dataclass
class _Run:
    """An extraction under way."""

    tokens: ClipTokens
    wish: Wish
    report: Callable[[Outcome], None]
    encoders: ThreadPoolExecutor
    writer: ThreadPoolExecutor
    tally: Tally = field(default_factory=Tally)
    waiting: list[tuple[Asked, Clip]] = field(default_factory=list)
    """Clips that are read and not yet being encoded."""
    under_way: deque[_Batch] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.batch_frames = batch_frames_of(self.tokens, self.wish)
        # One more than are being encoded, so that the next begins at once.
        self.most_batches = encoders_of(self.tokens, self.wish) + 1

    def take(self, asked: Asked, clip: Clip | StllmError, seconds: float) -> None:
        """Take in a clip that was read, or the error that stands for it."""
        clip = within_limit(asked.request, clip)
        if not isinstance(clip, StllmError) and self.tokens.has_too_many_frames(clip):
            what = f"{len(clip.frames)} frames are more than the model tells apart"
            clip = UsageError(what, where=str(asked.request.path), fix="ask for fewer frames")
        if isinstance(clip, StllmError):
            self.through(Outcome(asked.request.path, clip, seconds))
            return
        if self._frames_waiting() + len(clip.frames) > self.batch_frames:
            self.encode_waiting()  # these as one pass, rather than a full one and a small rest
        self.waiting.append((asked, clip))
        if self._frames_waiting() >= self.batch_frames:
            self.encode_waiting()

    def _frames_waiting(self) -> int:
        return sum(len(clip.frames) for _, clip in self.waiting)

    def encode_waiting(self) -> None:
        """Have the clips that wait for it encoded, once there are not too many batches before them."""
        if not self.waiting:
            return
        self.finish(self.most_batches - 1)
        batch, self.waiting = self.waiting, []
        writes = self.encoders.submit(self._encode, batch)
        self.under_way.append(_Batch([asked for asked, _ in batch], writes))

    def _encode(self, batch: list[tuple[Asked, Clip]]) -> list[Future[None]]:
        """Encode clips and hand their tokens to the writer, in a thread of its own."""
        began = time.perf_counter()
        seen = self.tokens.encode([clip for _, clip in batch], self.batch_frames)
        per_frame = (time.perf_counter() - began) / sum(len(clip.indices) for clip in seen)
        return [
            self.writer.submit(self.tokens.keep, asked, clip, per_frame * len(clip.indices))
            for (asked, _), clip in zip(batch, seen, strict=True)
        ]

    def finish(self, may_be_left: int) -> None:
        """Wait until at most so many batches are still to be encoded and written."""
        while len(self.under_way) > may_be_left:
            batch = self.under_way.popleft()
            for asked, written in zip(batch.asked, batch.writes.result(), strict=True):
                written.result()
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
