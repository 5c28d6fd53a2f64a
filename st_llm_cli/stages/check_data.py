"""Look through the training data of a recipe before it is needed: annotations, and every clip as read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from st_llm_cli.errors import StllmError, VideoNotFoundError
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.sources import Data, Video
from st_llm_cli.training.data.draw import Group
from st_llm_cli.training.data.ledger import clip_name
from st_llm_cli.training.data.sources import Source, open_source
from st_llm_cli.video.reader import DEFAULT_DEADLINE_SECONDS, read_clips
from st_llm_cli.video.request import Request

SIDE = 224
"""Side of the pictures while looking, pixels; whether a clip can be read does not depend on it."""


@dataclass
class SourceCheck:
    """What was found of one source."""

    source: str
    """Its annotation file."""
    format: str
    """Key of the source in the recipe."""
    entries: int = 0
    """Entries that are as they should be."""
    clips: int = 0
    """Clips among their media, each part of a video once."""
    pictures: int = 0
    questions: int = 0
    mistakes: list[str] = field(default_factory=list)
    """What the annotations say wrongly, with line numbers; or why they cannot be read."""
    missing: list[str] = field(default_factory=list)
    """Clips and pictures that are not there."""
    undecodable: list[str] = field(default_factory=list)
    """Clips and pictures that cannot be read, with the reason."""

    unread: list[str] = field(default_factory=list)
    """Keys that say nothing, misspelt perhaps; nothing is wrong with the rest of their entries."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.mistakes or self.missing or self.undecodable)


def check_data(
    recipe: Recipe,
    begin: Callable[[int], Callable[[str], None]],
    *,
    workers: int = 2,
    deadline: float = DEFAULT_DEADLINE_SECONDS,
) -> list[SourceCheck]:
    """Check every source on disk of a recipe's training stages, each once.

    Args:
        recipe: The recipe.
        begin: Called with the number of clips and pictures before they are read; what it returns is called
            with the name of each that is through.
        workers: Clips read at a time.
        deadline: Seconds after which a clip is given up.
    """
    found = [_look(data) for data in _distinct(recipe)]
    requests = [
        (check, request) for check, source in found for request in _requests(source, recipe.video, check)
    ]
    step = begin(len(requests))
    reading = read_clips((request for _, request in requests), workers=workers, deadline=deadline)
    for (check, request), (_, clip) in zip(requests, reading, strict=True):
        if isinstance(clip, VideoNotFoundError):
            check.missing.append(clip_name(request))
        elif isinstance(clip, StllmError):
            check.undecodable.append(str(clip))
        step(request.path.name)
    return [check for check, _ in found]


def _distinct(recipe: Recipe) -> list[Data]:
    named = [data for stage in recipe.training for data in stage.data if data.files is not None]
    return list({data.files: data for data in named}.values())


def _look(data: Data) -> tuple[SourceCheck, Source | None]:
    """Read the annotations of one source."""
    assert data.files is not None, "sources that are rendered have no files"
    name, place = data.files
    check = SourceCheck(place.annotations, name)
    try:
        source = open_source(0, data)
    except StllmError as error:
        check.mistakes.append(str(error))
        return check, None
    check.entries = len(source.records)
    check.questions = sum(
        len(task.history) * task.learns_history + 1 for record in source.records for task in record.tasks
    )
    # As Python writes them: a key of any characters can be printed.
    check.unread += [f"line {line}: {key!r} is no key of this format" for key, line in source.unread]
    check.mistakes += [f"line {line}: {what}" for line, what in source.mistakes]
    return check, source


def _requests(source: Source | None, video: Video, check: SourceCheck) -> Iterator[Request]:
    """Ask for each clip and picture as training would, each once."""
    seen: set[str] = set()
    for record in () if source is None else source.records:
        group = Group("check", [record], video, SIDE, seed=0, batch_size=1)
        request = group.draw(0).request
        if clip_name(request) not in seen:
            seen.add(clip_name(request))
            check.pictures += record.is_picture
            check.clips += not record.is_picture
            yield request
