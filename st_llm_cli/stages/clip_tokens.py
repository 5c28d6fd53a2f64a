"""From requests to the tokens of clips: through the cache where it holds them, else through the encoder.

A key needs the numbers of the frames, and which frames a request means is known only once the file was
opened: its length and its damaged parts decide. So the cache also remembers, for each (content of the file,
request), the frames it led to: a clip seen before is found again without opening the video. Keys are made of
frame numbers rather than of requests all the same, because different requests often mean the same frames.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from st_llm_cli import __version__
from st_llm_cli.errors import CacheError, StllmError, VideoError
from st_llm_cli.stages.encoder_of import encoder_of
from st_llm_cli.tokens.key import Key
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import RandomResizedCrop, ResizeCenterCrop, Transform, normalize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from st_llm_cli.model.config import StllmConfig
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.tokens.store import TokenCache

log = logging.getLogger(__name__)

ENCODER_PARTS = ("vision", "bt_adapter", "qformer")
"""Parts of a model that the tokens come out of."""


@dataclass(frozen=True, eq=False)
class SeenClip:
    """A clip the encoder has looked at: its tokens stand for its pictures."""

    tokens: Tensor
    """Of every frame, [frames, tokens, dim], on the CPU."""
    level: str
    """How far they have come: `frames` or `queries`, see `Key.level`."""
    indices: tuple[int, ...]
    """As of `Clip`."""
    times_seconds: tuple[float, ...]
    """As of `Clip`."""
    source: Source
    """As of `Clip`."""
    shows_shapes: bool
    """Whether its pictures looked like the moving shapes the bundled model knows."""


Look = Clip | SeenClip
"""A clip by its pictures or by its tokens."""


class View(NamedTuple):
    """What a request chose of a video."""

    indices: tuple[int, ...]
    times_seconds: tuple[float, ...]
    source: Source


class Known(NamedTuple):
    """A clip whose tokens are in the cache."""

    key: Key
    view: View


class Asked(NamedTuple):
    """A request, and what is known of it before the video is opened."""

    request: Request
    media: str | None
    """Digest of the video; None if it cannot be read, or its tokens cannot be kept."""
    known: Known | None
    """None if the tokens must be made."""


def default_level(config: StllmConfig) -> str:
    """How far tokens can be kept for every question: up to the Q-Former if that one reads the question."""
    return "frames" if config.reads_question else "queries"


def why_not_sound(
    config: StllmConfig, transform: Transform | None, trained: Collection[str] = ()
) -> str | None:
    """Say in one line why kept tokens would not be those the encoder gives; None if they would be.

    Args:
        config: Of the model.
        transform: What is done to the pictures.
        trained: Parts of the model that are being trained, see `ENCODER_PARTS`.
    """
    if isinstance(transform, RandomResizedCrop):
        return "no cache: random crops show each clip differently every time"
    if not isinstance(transform, ResizeCenterCrop):
        return "no cache: what is done to the pictures has no name that could tell it from something else"
    if config.mixes_frames and "bt_adapter" in trained:
        return "no cache: the BT-Adapter is being trained, its tokens change with every step"
    for part in ENCODER_PARTS:
        if part in trained and not (part == "qformer" and default_level(config) == "frames"):
            return f"no cache: the {part} is being trained, its tokens change with every step"
    return None


class ClipTokens:
    """The tokens a model's encoder makes of clips, kept in a cache.

    Args:
        model: In evaluation mode, its encoder left as it is from now on.
        cache: Where tokens are kept.
        shows_shapes: Whether pictures, [frames, height, width, 3], look like moving shapes.
        folder: Checkpoint the model was loaded from, unchanged since; saves computing the encoder's identity
            again. None for a model that was made or changed in memory.
        level: How far tokens are kept, see `Key.level`; None takes `default_level`.
    """

    def __init__(
        self,
        model: StllmForConditionalGeneration,
        cache: TokenCache,
        shows_shapes: Callable[[NDArray[np.uint8]], bool],
        folder: Path | None = None,
        level: str | None = None,
    ) -> None:
        self.model = model
        self.cache = cache
        self.level = level or default_level(model.config)
        self._shows_shapes = shows_shapes
        self._encoder = encoder_of(model, self.level, cache.encoders, folder)
        self._may_write = True

    # ---- what is there

    def ask(self, request: Request) -> Asked:
        """Find out whether the tokens of a clip are in the cache, without opening the video; count a miss."""
        asked = self.look_up(request)
        if asked.media is not None and asked.known is None:
            self.cache.use.misses += 1
        return asked

    def look_up(self, request: Request) -> Asked:
        """Find out whether the tokens of a clip are in the cache, where nothing is asked for yet."""
        if why_not_sound(self.model.config, request.transform) is not None:
            return Asked(request, None, None)
        try:
            media = self.cache.media.of(request.path)
        except VideoError:
            return Asked(request, None, None)  # the reader says so too, in words that fit the request
        view = self._recall_view(request, media)
        if view is not None:
            key = self._key(media, request, view)
            if self.cache.has(key):
                return Asked(request, media, Known(key, view))
        return Asked(request, media, None)

    def recall(self, known: Known) -> SeenClip | None:
        """Take a clip's tokens from the cache; None if they are damaged or have gone since.

        Raises:
            CacheError: If the system refuses to read them.
        """
        entry = self.cache.find(known.key)
        if entry is None:
            return None
        shows_shapes = bool(entry.about.get("shows_shapes", False))
        return SeenClip(entry.tokens, known.key.level, *known.view, shows_shapes)

    # ---- what is made

    def encode(self, clips: Sequence[Clip], batch_frames: int = 64) -> list[SeenClip]:
        """Encode clips whose pictures have the size the model takes, in full batches across clips.

        Args:
            clips: At least one.
            batch_frames: Frames that go through the encoder at once. A BT-Adapter takes whole clips.
        """
        config = self.model.config
        pixels = [normalize(clip.frames, config.image_mean, config.image_std) for clip in clips]
        # Where frames do not see each other, a batch may begin in one clip and end in the next.
        batches = pixels if config.mixes_frames else torch.cat(pixels).split(batch_frames)
        made = torch.cat([self._encode_batch(batch) for batch in batches])  # [all frames, tokens, dim]
        tokens = made.split([len(clip) for clip in pixels])
        return [
            SeenClip(
                tokens=own.clone(),  # a view would keep all the others' in memory
                level=self.level,
                indices=clip.indices,
                times_seconds=clip.times_seconds,
                source=clip.source,
                shows_shapes=self._shows_shapes(clip.frames),
            )
            for clip, own in zip(clips, tokens, strict=True)
        ]

    def keep(self, asked: Asked, seen: SeenClip, seconds: float) -> None:
        """Put a clip's tokens into the cache, unless they cannot be kept or the video has changed meanwhile.

        Args:
            asked: What was asked for, from before the video was read.
            seen: What came of it.
            seconds: What encoding it took.

        Raises:
            CacheError: If they cannot be written.
            VideoError: If the video has gone meanwhile.
        """
        request = asked.request
        now = str(self.model.vision_model.dtype).removeprefix("torch.")
        assert now == self._encoder.dtype, f"tokens of {now} under the name of {self._encoder.dtype}"
        if asked.media is None or self.cache.media.of(request.path) != asked.media:
            return
        view = View(seen.indices, seen.times_seconds, seen.source)
        about = {"seconds": round(seconds, 4), "video": str(request.path), "shows_shapes": seen.shows_shapes}
        self.cache.put(self._key(asked.media, request, view), seen.tokens, about)
        fact = {**view._asdict(), "source": asdict(view.source)}
        self.cache.views.remember(_view_name(request, asked.media), fact)

    def clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Look | StllmError]]:
        """Give each request its tokens, from the cache or from the video; the order is that of the requests.

        A cache that cannot be written or read is reported once, and keeps no more from then on; what it has
        is used all the same.

        Yields:
            Each request with a clip's tokens, or the error that stands for the clip.
        """
        order: deque[Asked] = deque()

        def unknown() -> Iterator[Request]:
            for asked in map(self.ask, requests):
                order.append(asked)
                if asked.known is None:
                    yield asked.request

        for request, clip in read_clips(unknown()):
            while order[0].known is not None:
                yield self._recalled(order.popleft())
            yield request, self._see(order.popleft(), clip)
        while order:
            yield self._recalled(order.popleft())

    def _recalled(self, asked: Asked) -> tuple[Request, Look | StllmError]:
        assert asked.known is not None
        try:
            seen = self.recall(asked.known)
        except CacheError as error:
            self._go_on_without(error)
            seen = None
        if seen is not None:
            return asked.request, seen
        ((_, clip),) = read_clips([asked.request], workers=1)
        return asked.request, self._see(asked, clip)

    def _see(self, asked: Asked, clip: Clip | StllmError) -> Look | StllmError:
        """Encode one clip and keep its tokens."""
        if isinstance(clip, StllmError):
            return clip
        if asked.media is None or self.has_too_many_frames(clip):
            return clip  # looked at when it is answered about, or refused there
        started = time.perf_counter()
        (seen,) = self.encode([clip])
        if self._may_write:
            try:
                self.keep(asked, seen, time.perf_counter() - started)
            except StllmError as error:
                self._go_on_without(error)
        return seen

    def has_too_many_frames(self, clip: Clip) -> bool:
        """Whether a clip has more frames than the encoder tells apart."""
        config = self.model.config
        return config.mixes_frames and len(clip.frames) > config.bt_adapter_positions

    def _encode_batch(self, frames: Tensor) -> Tensor:
        """[frames, 3, height, width] → [frames, tokens, dim], on the CPU."""
        with torch.no_grad():
            made = self.model.encode_vision([frames.to(self.model.device)])
            if self.level == "queries":
                made = self.model.encode_queries(made)
        return made[0].cpu().to(getattr(torch, self._encoder.dtype))

    def _go_on_without(self, error: StllmError) -> None:
        if self._may_write:
            log.warning("%s; no more tokens are kept, which only costs time", error)
        self._may_write = False

    def _key(self, media: str, request: Request, view: View) -> Key:
        return Key(
            media=media,
            indices=view.indices,
            reader=view.source.reader,
            transform=repr(request.transform),
            encoder=self._encoder.identity,
            level=self.level,
            question=None,
            dtype=self._encoder.dtype,
        )

    def _recall_view(self, request: Request, media: str) -> View | None:
        fact = self.cache.views.recall(_view_name(request, media))
        if fact is None:
            return None
        source = Source(**{**fact["source"], "path": str(request.path)})
        return View(tuple(fact["indices"]), tuple(fact["times_seconds"]), source)


def _view_name(request: Request, media: str) -> str:
    """Write down everything that decides which frames a request means."""
    wishes: dict[str, Any] = asdict(replace(request, transform=None))
    del wishes["path"], wishes["transform"]
    # A later version of this program may choose differently.
    rule = {} if request.start is None else {"rule": "a part after the end is refused"}
    return json.dumps({**wishes, **rule, "media": media, "program": __version__}, sort_keys=True)
