"""Talk about videos: read a clip, look at it, remember what is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.model.decoding import too_long
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.session import Session, ShownClip, Turn
from st_llm_cli.stages.frame_limit import limited, within_limit
from st_llm_cli.stages.limits import check_num_frames, most_frames, text_length
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request

if TYPE_CHECKING:
    from st_llm_cli.stages.clip_tokens import Look
    from st_llm_cli.stages.video_model import VideoModel

FAR_APART_SECONDS = 2.0
"""Frames further apart than this can miss a short movement."""

TURNS_OF_SHAPES = 1
"""Earlier turns that models trained on moving shapes learned to follow. One of them, asked five questions
about each of 20 clips, gave 16, 16, 13, 10 and 6 true answers when shown all turns before each question, and
16, 16, 13, 14 and 17 when shown one."""


@dataclass(frozen=True)
class View:
    """What of a video to look at."""

    path: Path
    start: float | None = None
    """Begin, seconds; None: from the beginning."""
    end: float | None = None
    """End, seconds; None: to the end."""
    num_frames: int | None = None
    """Frames; the model's own number if neither this nor `fps` is given."""
    fps: float | None = None
    """Frames per second instead."""
    reader: str = "pyav"
    """Name of the video reader."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A clip that the model has looked at."""

    view: View
    clip: Look
    """Its frames, or what the cache holds of them."""
    shown: ShownClip
    """What the session keeps of it."""
    read_seconds: float
    """Time to read the frames, or to find their tokens in the cache."""
    look_seconds: float
    """Time from there to the video tokens."""


class Chat:
    """A conversation about videos. What cannot be done leaves it as it was.

    Args:
        model: Who answers.
        visual_tokens: One of `session.VISUAL_TOKENS`.
        max_turns: Earlier turns that the model is shown at most; None for all that fit, or as many as the
            bundled model learned to follow.
    """

    def __init__(
        self, model: VideoModel, *, visual_tokens: str = "per-question", max_turns: int | None = None
    ) -> None:
        self.model = model
        self.visual_tokens = visual_tokens
        if max_turns is None and model.model.config.trained_on == "shapes":
            max_turns = TURNS_OF_SHAPES
        self.max_turns = max_turns
        self.session = Session(
            model.model, model.tokenizers, visual_tokens=visual_tokens, max_turns=max_turns
        )
        self.seen: list[Seen] = []

    @property
    def turns(self) -> list[Turn]:
        """What was said, oldest first."""
        return self.session.turns

    def watch(self, *views: View, new_tokens: int = 1) -> list[Seen]:
        """Look at other videos and begin a new conversation about them.

        Args:
            views: What of them.
            new_tokens: Tokens of the answer that there must be room for.

        Raises:
            VideoError: If one cannot be read.
            UsageError: If a view asks for what no video can give, or the model cannot take it.
        """
        new = Chat(self.model, visual_tokens=self.visual_tokens, max_turns=self.max_turns)
        for view in views:
            new.add(view, new_tokens)
        self.session, self.seen = new.session, new.seen
        return self.seen

    def add(self, view: View, new_tokens: int = 1) -> Seen:
        """Look at one more video, and go on with the conversation.

        Args:
            view: What of it.
            new_tokens: As of `watch`.

        Raises:
            VideoError: If it cannot be read.
            UsageError: As `watch`.
        """
        seen = self._look(view, None, new_tokens)
        self.seen.append(seen)
        return seen

    def look_again(self, new_tokens: int = 1, **changes: object) -> Seen:
        """Look at the last video in another way, and go on with the conversation.

        Args:
            new_tokens: As of `watch`.
            changes: Fields of its `View`.

        Raises:
            VideoError: If it cannot be read.
            UsageError: If there is no video yet, or as `watch`.
        """
        last = self._last()
        seen = self._look(replace(last.view, **changes), last, new_tokens)  # type: ignore[arg-type]
        self.seen[-1] = seen
        return seen

    def ask(
        self,
        question: str,
        generation: Generation | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """Answer piece by piece; see `Session.ask`.

        Raises:
            UsageError: If there is no video yet, or the question does not fit.
        """
        self._last()
        return self.session.ask(question, generation, should_stop)

    def pictures(self, seen: Seen) -> Clip:
        """The frames as the model sees them, resized and cropped; read again where tokens stood for them.

        Raises:
            VideoError: If they can no longer be read.
        """
        if isinstance(seen.clip, Clip):
            return seen.clip
        ((_, clip),) = read_clips([self._request(seen.view)], workers=1)
        if isinstance(clip, StllmError):
            raise clip
        return clip

    def video_tokens(self) -> int:
        """Video tokens that the language model reads."""
        config = self.model.model.config
        return sum(config.tokens_per_clip(len(seen.clip.indices)) for seen in self.seen)

    def doubts(self, generation: Generation) -> list[str]:
        """What may be wrong with the answers, a sentence each, the gravest first."""
        found = [doubt for seen in self.seen for doubt in self._doubts_about(seen)]
        if len(self.seen) > 1:
            found.append(
                f"It sees {len(self.seen)} clips at once, and learned from one at a time: try /video."
            )
        if self.turns:
            found += self._doubts_about_turn(self.turns[-1], generation)
        return found

    def _look(self, view: View, instead_of: Seen | None, new_tokens: int) -> Seen:
        began = perf_counter()
        most = most_frames(self.model.model.config)
        check_num_frames(view.num_frames, most)
        ((request, look),) = self.model.read_clips([limited(self._request(view), most)])
        look = within_limit(request, look)
        if isinstance(look, StllmError):
            raise look
        read = perf_counter()
        self._check_room([*(seen.clip for seen in self.seen if seen is not instead_of), look], new_tokens)
        place = None if instead_of is None else instead_of.shown
        shown = self._show(str(view.path), look, place)
        return Seen(view, look, shown, read - began, perf_counter() - read)

    def _check_room(self, looks: list[Look], new_tokens: int) -> None:
        """Refuse clips that leave no room for an answer, before the first question finds out."""
        config = self.model.model.config
        most = text_length(config)
        video = sum(config.tokens_per_clip(len(look.indices)) for look in looks)
        text = self.session.shortest_text()
        if most is not None and video + text + new_tokens > most:
            raise too_long(video, text, new_tokens, most)

    def _show(self, name: str, look: Look, instead_of: ShownClip | None) -> ShownClip:
        if isinstance(look, Clip):
            return self.session.show(name, frames=self.model.pixels(look), instead_of=instead_of)
        tokens = look.tokens.to(self.model.model.device)
        if look.level == "frames":
            return self.session.show(name, features=tokens, instead_of=instead_of)
        return self.session.show(name, queries=tokens, instead_of=instead_of)

    def _request(self, view: View) -> Request:
        return Request(
            view.path,
            num_frames=self.model.num_frames if view.num_frames is view.fps is None else view.num_frames,
            fps=view.fps,
            start=view.start or None,
            end=view.end,
            transform=self.model.transform,
            reader=view.reader,
        )

    def _last(self) -> Seen:
        if not self.seen:
            raise UsageError("there is no video to talk about yet", fix="give one: /video FILE")
        return self.seen[-1]

    def _doubts_about(self, seen: Seen) -> Iterator[str]:
        source, name = seen.clip.source, seen.view.path.name
        if caveat := self.model.caveat(seen.clip):
            yield f"{name}: {caveat}."
        if source.is_damaged:
            promised = source.promised_frames
            there = f"{source.delivered_frames} of {promised}" if promised else f"{source.delivered_frames}"
            yield f"{name} is damaged: {there} frames could be read."
        if source.fallback_reason:
            yield f"{name} was read with {source.reader}: {source.fallback_reason}."
        times = seen.clip.times_seconds
        gap = max((after - before for before, after in pairwise(times)), default=0.0)
        if gap > FAR_APART_SECONDS:
            wanted = math.ceil(len(times) * gap)
            what = f"{name}: frames are up to {gap:.1f} s apart, and what happens between is not seen"
            yield f"{what}: try /frames {wanted}, or a part of it with /clip."

    def _doubts_about_turn(self, turn: Turn, generation: Generation) -> Iterator[str]:
        if unknown := self.model.unknown_words(turn.question):
            yield f"It does not know {', '.join(map(repr, unknown))}: put the question in other words."
        if not turn.answer.strip():
            yield "The last answer is empty: put the question in other words."
        if turn.ending == "length":
            more = 2 * generation.max_new_tokens
            yield f"The answer was cut at its longest: try /set max_new_tokens {more}."
        if turn.work is not None and turn.work.dropped_turns:
            yield f"The oldest {turn.work.dropped_turns} turns no longer fit: it has not read them."
        if generation.temperature > 0:
            yield f"Words are drawn at temperature {generation.temperature:g}: try /set temperature 0."
