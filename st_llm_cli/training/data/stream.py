"""The samples of a training stage, in the order in which they are used.

Every sample is a function of (seed, index): a resumed run and any number of processes see the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from torch.utils.data import Dataset

from st_llm_cli.errors import DataError, StllmError
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Video
from st_llm_cli.training.data.draw import Draw, Group
from st_llm_cli.training.data.example import Example, sample_rng
from st_llm_cli.training.data.ledger import Ledger, clip_name
from st_llm_cli.training.data.read_ahead import Read, ReadAhead
from st_llm_cli.training.data.shapes import Rendered
from st_llm_cli.training.data.sources import Source, clips_of, open_sources, refuse_mistakes
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import DEFAULT_DEADLINE_SECONDS, read_clips
from st_llm_cli.video.request import Request


class ClipReader(Protocol):
    """Where clips come from as the tokens that an encoder made of them."""

    level: str
    """How far they have come, see `tokens.key.Key.level`."""

    def clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        """Give each request, in order, a clip with `tokens` and `level`, or the error that stands for it."""
        ...


class Step(NamedTuple):
    """Where one step's samples come from."""

    source: Source
    group: Group | Rendered
    number: int
    """Batches drawn from the group before."""


class ExampleStream(Dataset[Example]):
    """The samples of a training stage, in the order in which they are used.

    A batch has one source and one medium: pictures give the video-only parts no gradient, so all processes
    must agree on it. A clip that cannot be read is replaced by the next one of its group.

    Args:
        train: The stage.
        video: The recipe's block.
        resolution: Side of the frames in pixels.
        sources: The stage's, if they are open already.
        ledger: The clips that were left out, of the same sources; None begins one in memory.
        tokens: Gives the encoder's tokens in place of frames; None gives frames.
        deadline: Seconds after which a clip is given up.
        per_step: Samples of an optimiser step over all processes and passes; a batch if None.

    Raises:
        DataError: If annotations cannot be read, or have mistakes.
        RecipeError: If moving shapes are asked for questions that there are not.
    """

    def __init__(
        self,
        train: Train,
        video: Video,
        resolution: int,
        *,
        sources: list[Source] | None = None,
        ledger: Ledger | None = None,
        tokens: ClipReader | None = None,
        deadline: float = DEFAULT_DEADLINE_SECONDS,
        per_step: int | None = None,
    ) -> None:
        self.train = train
        self.per_step = per_step or train.batch_size
        self.video = video
        self.resolution = resolution
        self.tokens = tokens
        self.deadline = deadline
        sources = open_sources(train) if sources is None else sources
        refuse_mistakes(sources)
        self.ledger = Ledger(None, clips_of(sources), train.max_failures) if ledger is None else ledger
        self._sources = sources
        self._steps = self._plan(sources)
        self._ahead = ReadAhead(self._draw_of, len(self), deadline)

    def __len__(self) -> int:
        return self.train.steps * self.per_step

    def __getitem__(self, index: int) -> Example:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        """Give the samples of one process's batch; the data loader asks for it as a whole."""
        reads = self._read(indices)
        return [self._example(index, reads) for index in indices]

    def requests(self) -> list[Request]:
        """Every clip and picture on disk that the stage may show, as it is shown in the first epoch."""
        groups = [group for source in self._sources for group in self._groups(source)]
        on_disk = [group for group in groups if isinstance(group, Group)]
        return [group.draw(place).request for group in on_disk for place in range(len(group.records))]

    def close(self) -> None:
        """Stop reading ahead."""
        self._ahead.close()

    def _plan(self, sources: list[Source]) -> list[Step]:
        """Choose the source of each step by the weights, and the medium by how much of it there is."""
        groups = [self._groups(source) for source in sources]
        used: dict[str, int] = {}
        plan = []
        for step in range(self.train.steps):
            rng = sample_rng(self.train.seed, "source", step)
            (source,) = rng.choices(sources, [source.weight for source in sources])
            own = groups[source.number]
            sizes = [len(group.records) if isinstance(group, Group) else 1 for group in own]
            (group,) = rng.choices(own, sizes)
            plan.append(Step(source, group, used.get(group.name, 0)))
            used[group.name] = used.get(group.name, 0) + 1
        return plan

    def _groups(self, source: Source) -> list[Group | Rendered]:
        seed, size = self.train.seed, self.per_step
        if source.shapes is not None:
            name = f"{source.number}/shapes"
            return [Rendered(name, source.shapes, self.video, self.resolution, seed, size)]
        found: list[Group | Rendered] = []
        for name, is_picture in (("clips", False), ("pictures", True)):
            records = [record for record in source.records if record.is_picture == is_picture]
            if records:
                place = f"{source.number}/{name}"
                asked = source.questions_per_clip
                found.append(Group(place, records, self.video, self.resolution, seed, size, asked))
        return found

    def _example(self, index: int, reads: Iterator[Read]) -> Example:
        step = self._steps[index // self.per_step]
        if isinstance(step.group, Rendered):
            return step.group.example(self._place(index))
        read = next(reads)
        for _ in step.group.records:
            if not isinstance(read.clip, StllmError):
                return self._shown(read.draw, read.clip)
            self.ledger.add(clip_name(read.draw.request), read.clip, read.seconds)
            read = self._read_one(self._readable(read.draw.group, read.draw.place + 1))
        raise DataError("nothing of this source can be read", where=step.source.name, fix="check its media")

    def _shown(self, draw: Draw, clip: Any) -> Example:
        is_picture = draw.group.is_picture
        if isinstance(clip, Clip):
            return Example(clip.frames, draw.tasks, is_picture=is_picture, mask_seed=draw.mask_seed)
        return Example(None, draw.tasks, clip.tokens, clip.level, is_picture, draw.mask_seed)

    def _draw_of(self, index: int) -> Draw | None:
        """What the sample of an index shows, as far as that is known before it is read."""
        group = self._steps[index // self.per_step].group
        return self._readable(group, self._place(index)) if isinstance(group, Group) else None

    def _place(self, index: int) -> int:
        """Place of a sample in its group."""
        step, within = divmod(index, self.per_step)
        return self._steps[step].group.buckets.batch(self._steps[step].number)[within]

    def _readable(self, group: Group, place: int) -> Draw:
        """Draw at a place, or at the first one after it whose clip is not known to be unreadable."""
        for after in range(len(group.records)):
            draw = group.draw(place + after)
            if clip_name(draw.request) not in self.ledger:
                return draw
        return group.draw(place)

    def _read(self, indices: Sequence[int]) -> Iterator[Read]:
        if self.tokens is None:
            return iter(self._ahead.take(indices))
        draws = [draw for index in indices if (draw := self._draw_of(index)) is not None]
        return self._looked_up(draws)

    def _looked_up(self, draws: list[Draw]) -> Iterator[Read]:
        assert self.tokens is not None
        began = time.monotonic()
        looks = self.tokens.clips([draw.request for draw in draws])
        for draw, (_, clip) in zip(draws, looks, strict=True):
            yield Read(draw, clip, time.monotonic() - began)

    def _read_one(self, draw: Draw) -> Read:
        """Read a replacement."""
        if self.tokens is not None:
            return next(self._looked_up([draw]))
        began = time.monotonic()
        ((_, clip),) = read_clips([draw.request], workers=1, deadline=self.deadline)
        return Read(draw, clip, time.monotonic() - began)
