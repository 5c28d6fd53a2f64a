"""Describe videos: find the parts to look at, ask the model about each, one failure at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from st_llm_cli.errors import StllmError, UsageError, VideoError
from st_llm_cli.model.generation import Generation
from st_llm_cli.stages.frame_limit import limited, within_limit
from st_llm_cli.stages.progress import Progress, Unseen
from st_llm_cli.stages.question import SAID_NOTHING
from st_llm_cli.video.reader import check_video, read_clip
from st_llm_cli.video.request import Request, check_request

if TYPE_CHECKING:
    from st_llm_cli.stages.clip_tokens import Look

SHORTEST_PART_SECONDS = 0.1
"""What is left after the last whole part is joined to it when shorter than this."""
MOST_PARTS = 100_000


class Answerer(Protocol):
    """What this stage needs of a model; `VideoModel` is one."""

    @property
    def num_frames(self) -> int:
        """Frames it looks at unless told otherwise."""

    @property
    def transform(self) -> Any:
        """What it needs done to each picture."""

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Look | StllmError]]:
        """Read clips ahead, in the order of the requests; an error stands for the clip it befell."""

    def answer(self, clip: Look, question: str, **generation: Any) -> str:
        """Answer a question about a clip."""

    def stream(self, clip: Look, question: str, **generation: Any) -> Iterator[str]:
        """Answer piece by piece."""

    def caveat(self, clip: Look) -> str | None:
        """Why its answers about this clip are not to be trusted; None if nothing speaks against them."""


@dataclass(frozen=True)
class Wish:
    """What is asked about each video."""

    prompt: str
    start: float | None = None
    """Begin of the part to look at, seconds."""
    end: float | None = None
    """End of the part to look at, seconds."""
    num_frames: int | None = None
    """Frames per part; the model's own number if neither this nor `fps` is given."""
    fps: float | None = None
    """Frames per second instead."""
    every: float | None = None
    """Length of the parts a video is cut into, seconds; None takes it whole."""
    reader: str = "pyav"
    """Name of the video reader."""
    generation: Generation = field(default_factory=Generation)
    """How to answer."""
    most_frames: int | None = None
    """Most frames of a part that the model can read; None if nobody asked it."""


@dataclass(frozen=True)
class Part:
    """A stretch of a video."""

    video: Path
    start_seconds: float
    end_seconds: float | None
    """None: to the end of the video."""


@dataclass(frozen=True)
class Description:
    """What the model said about one part of a video."""

    video: Path
    start_seconds: float
    end_seconds: float
    text: str
    num_frames: int
    """Frames it looked at."""
    caveat: str | None = None
    """Why the text is not to be trusted."""
    damage: str | None = None
    """What of the file cannot be read; None where this part was read without meeting any damage."""


def check(wish: Wish) -> None:
    """Refuse what no video can fulfil, before anything is loaded.

    Raises:
        UsageError: Saying which wish it is.
    """
    if not wish.prompt.strip():
        raise UsageError(
            "an empty question", where="prompt", fix="ask something, or leave it out for a description"
        )
    if wish.start is not None and wish.start < 0:
        raise UsageError(f"{wish.start:g} s lies before the video", where="start", fix="count from 0")
    if wish.end is not None and wish.end <= (wish.start or 0.0):
        what = f"the end, {wish.end:g} s, is not after the start, {wish.start or 0.0:g} s"
        raise UsageError(what, where="end", fix="raise `end` or lower `start`")
    if wish.num_frames is not None and wish.fps is not None:
        raise UsageError(
            "`num_frames` and `fps` contradict each other", where="num_frames, fps", fix="give one of them"
        )
    for name, number in (("num_frames", wish.num_frames), ("fps", wish.fps), ("every", wish.every)):
        if number is not None and not (number > 0 and math.isfinite(number)):
            raise UsageError(f"{number:g} is not above 0", where=name, fix="give a positive number")
    if wish.every is not None and wish.every < SHORTEST_PART_SECONDS:
        what = f"{wish.every:g} s are too short a part"
        raise UsageError(what, where="every", fix=f"give at least {SHORTEST_PART_SECONDS:g} s")
    check_request(Request(Path(), reader=wish.reader))


def refused_at_sight(videos: Sequence[Path], reader: str) -> list[StllmError]:
    """Refuse what is no video before a model is loaded, if nothing else is among it.

    Args:
        videos: What is to be described.
        reader: Name of the video reader.

    Returns:
        An error for each video; none if at least one may be good.
    """
    errors: list[StllmError] = []
    for video in videos:
        try:
            check_video(video, reader)
        except VideoError as error:
            errors.append(error)
        else:
            return []
    return errors


def parts_of(video: Path, wish: Wish) -> list[Part]:
    """Parts of a video to describe one by one.

    Raises:
        VideoError: If the video must be cut and cannot be read, ends before the start, or gives too many
            parts.
    """
    start = wish.start or 0.0
    if wish.every is None:
        return [Part(video, start, wish.end)]
    duration = read_clip(video, num_frames=1, reader=wish.reader).source.duration_seconds
    end = duration if wish.end is None else min(wish.end, duration)
    if start >= end:
        what = f"ends after {duration:.1f} s, the part to look at was to start at {start:.1f} s"
        raise VideoError(what, where=str(video), fix="lower `start`")
    count = max(1, math.ceil((end - start - SHORTEST_PART_SECONDS) / wish.every))
    if count > MOST_PARTS:
        what = f"{count} parts of {wish.every:g} s, and {MOST_PARTS} are the most"
        raise VideoError(what, where=str(video), fix="raise `every`, or look at less with `start` and `end`")
    edges = [*(start + wish.every * index for index in range(count)), end]
    return [Part(video, edges[index], edges[index + 1]) for index in range(count)]


def request_for(model: Answerer, part: Part, wish: Wish) -> Request:
    """What the video room is asked for: the frames of a part as the model wants them."""
    request = Request(
        part.video,
        num_frames=wish.num_frames if wish.num_frames or wish.fps else model.num_frames,
        fps=wish.fps,
        start=part.start_seconds or None,
        end=part.end_seconds,
        transform=model.transform,
        reader=wish.reader,
    )
    return request if wish.most_frames is None else limited(request, wish.most_frames)


def look(model: Answerer, part: Part, wish: Wish) -> Look:
    """Read the frames of a part as the model wants them.

    Raises:
        VideoError: If the video cannot give them.
        UsageError: If a rate gives more than the model reads.
    """
    ((request, clip),) = model.read_clips([request_for(model, part, wish)])
    clip = within_limit(request, clip)
    if isinstance(clip, StllmError):
        raise clip
    return clip


def describe(model: Answerer, part: Part, clip: Look, wish: Wish) -> Description:
    """Describe one part of a video, whose frames are there."""
    text = model.answer(clip, wish.prompt, **asdict(wish.generation)).strip()
    duration = clip.source.duration_seconds
    end = duration if part.end_seconds is None else min(part.end_seconds, duration)
    return Description(
        video=part.video,
        start_seconds=part.start_seconds,
        end_seconds=end,
        text=text,
        num_frames=len(clip.indices),
        caveat=model.caveat(clip) or (None if text else SAID_NOTHING),
        damage=clip.source.damage,
    )


@dataclass(frozen=True)
class VideoDone:
    """One video is through."""

    video: Path
    descriptions: list[Description]
    """What was said about its parts."""
    errors: list[StllmError]
    """What went wrong, part by part."""


def describe_all(
    model: Answerer,
    videos: Sequence[Path],
    wish: Wish,
    is_done: Callable[[Part], bool] = lambda part: False,
    keep: Callable[[Description], None] = lambda description: None,
    progress: Progress | None = None,
) -> Iterator[VideoDone]:
    """Describe many videos; one that cannot be read does not stop the rest.

    Args:
        model: Who describes.
        videos: What.
        wish: How.
        is_done: Whether a part needs no describing any more.
        keep: Called with each description as soon as it is there.
        progress: Is told of each part, and of each video that has none to describe; at first it expects one
            part of each video.

    Raises:
        UsageError: If the wish is one that no video can fulfil.
    """
    progress = progress or Unseen()
    # Whole videos are read ahead of the model; one that is to be cut must be looked at first.
    batches = [videos] if wish.every is None else [[video] for video in videos]
    for batch in batches:
        outcomes = {video: VideoDone(video, [], []) for video in batch}
        todo: list[Part] = []
        for video in batch:
            try:
                todo += [part for part in parts_of(video, wish) if not is_done(part)]
            except StllmError as error:
                outcomes[video].errors.append(error)
        left = Counter(part.video for part in todo)
        progress.expect(sum(left.values()) - len(left))
        for video, outcome in outcomes.items():
            if not left[video]:
                progress.step(str(video))
                yield outcome
        requests = [request_for(model, part, wish) for part in todo]
        for part, (request, clip) in zip(todo, model.read_clips(requests), strict=True):
            outcome = outcomes[part.video]
            _describe_into(outcome, model, part, within_limit(request, clip), wish, keep)
            progress.step(str(part.video))
            left[part.video] -= 1
            if not left[part.video]:
                yield outcome


def _describe_into(
    outcome: VideoDone,
    model: Answerer,
    part: Part,
    clip: Look | StllmError,
    wish: Wish,
    keep: Callable[[Description], None],
) -> None:
    try:
        if isinstance(clip, StllmError):
            raise clip
        description = describe(model, part, clip, wish)
    except StllmError as error:
        if isinstance(error, UsageError) and wish.fps is None:
            raise  # the same for every video: how many frames a rate gives is the only thing that differs
        outcome.errors.append(error)
        return
    keep(description)
    outcome.descriptions.append(description)
