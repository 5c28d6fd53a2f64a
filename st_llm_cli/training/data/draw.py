"""From the turn of a record to what is asked and how it is shown, by chance that always falls the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from st_llm_cli.recipe.sources import Video
from st_llm_cli.training.data.example import Task, sample_rng
from st_llm_cli.training.data.order import Buckets, Shuffle, Turn
from st_llm_cli.training.data.record import Record
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import RandomResizedCrop, ResizeCenterCrop


class Draw(NamedTuple):
    """A sample from disk before it is read."""

    group: Group
    place: int
    """See `Shuffle.turn`."""
    tasks: tuple[Task, ...]
    mask_seed: int
    request: Request
    """What is asked of the video room."""


class Group:
    """The clips, or the pictures, of one source: what can stand in a batch together.

    Args:
        name: Unlike any other group's of the stage.
        records: At least one; all clips or all pictures.
        video: The recipe's block.
        resolution: Side of the frames in pixels.
        seed: The stage's.
        batch_size: Samples per step, on all processes together.
        questions: Questions drawn about each, if it has as many.
    """

    def __init__(
        self,
        name: str,
        records: Sequence[Record],
        video: Video,
        resolution: int,
        seed: int,
        batch_size: int,
        questions: int = 1,
    ) -> None:
        self.name = name
        self.records = records
        self.questions = questions
        self.video = video
        self.resolution = resolution
        self.seed = seed
        self.shuffle = Shuffle(seed, name, len(records))
        self.buckets = Buckets(seed, name, batch_size, self._length)

    @property
    def is_picture(self) -> bool:
        """Whether it holds pictures rather than clips."""
        return self.records[0].is_picture

    def draw(self, place: int) -> Draw:
        """Draw the questions, the view and the seed of the mask for the turn at a place."""
        turn = self.shuffle.turn(place)
        record = self.records[turn.record]
        rng = sample_rng(self.seed, "view", self.name, turn.record, turn.epoch)
        seed, mask_seed = rng.getrandbits(31), rng.getrandbits(48)
        request = view_of(record, self.video, self.resolution, seed)
        return Draw(self, place, self._tasks(turn), mask_seed, request)

    def _length(self, place: int) -> int:
        return sum(task.length for task in self._tasks(self.shuffle.turn(place)))

    def _tasks(self, turn: Turn) -> tuple[Task, ...]:
        tasks = self.records[turn.record].tasks
        rng = sample_rng(self.seed, "question", self.name, turn.record, turn.epoch)
        return tuple(rng.sample(tasks, min(self.questions, len(tasks))))


def view_of(record: Record, video: Video, resolution: int, seed: int = 0) -> Request:
    """Ask for the frames of a record as training shows them.

    Args:
        record: An entry on disk.
        video: The recipe's block.
        resolution: Side of the frames in pixels.
        seed: Of what is drawn; without effect where a clip is shown in the same way each time.
    """
    crop = RandomResizedCrop(resolution, seed) if video.crop == "random" else None
    return Request(
        record.path,
        sampler="uniform" if record.is_picture else video.sampler,
        num_frames=1 if record.is_picture else video.num_frames,
        start=record.start,
        end=record.end,
        # A rule that draws nothing asks for the same in every epoch.
        seed=seed if "random" in video.sampler and not record.is_picture else 0,
        transform=crop or ResizeCenterCrop(resolution),
    )
