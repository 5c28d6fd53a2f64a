"""The sources of a stage, opened and looked through before the first step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from st_llm_cli.errors import DataError
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Data, Shapes
from st_llm_cli.training.data.ledger import clip_name
from st_llm_cli.training.data.record import Mistake, Record, read_records
from st_llm_cli.training.data.shapes import check_kinds

log = logging.getLogger(__name__)

LISTED = 10
"""Mistakes or files that an error names."""


class Source(NamedTuple):
    """One source of a stage."""

    number: int
    """Among the stage's, from 0."""
    name: str
    """Its annotation file, or `shapes`."""
    format: str
    """A key of a recipe's source."""
    weight: float
    """Relative to the others."""
    shapes: Shapes | None
    """Settings of a source that is rendered; None for one on disk."""
    records: tuple[Record, ...]
    """Entries of a source on disk."""
    mistakes: tuple[Mistake, ...]
    """What in its file cannot be used."""
    questions_per_clip: int = 1
    """Drawn of each entry of a source on disk."""
    unread: tuple[tuple[str, int], ...] = ()
    """Keys of its entries that say nothing, each with the line it is in first."""
    digest: str | None = None
    """Of its annotation file as it was read; None for a source that is rendered."""

    @property
    def media(self) -> dict[Path, bool]:
        """Clips and pictures on disk, each once, and whether it is a picture."""
        return {record.path: record.is_picture for record in self.records}


def open_sources(train: Train) -> list[Source]:
    """Read the annotation files of a stage.

    Raises:
        DataError: If a file or folder is not there.
        RecipeError: If moving shapes are asked for questions that there are not.
    """
    return [open_source(number, data) for number, data in enumerate(train.data)]


def clips_of(sources: list[Source]) -> Iterator[str]:
    """Give the `clip_name` of every entry on disk."""
    return (clip_name(record) for source in sources for record in source.records)


def digests_of(sources: list[Source]) -> dict[str, str]:
    """Give the digest of each annotation file, as it was read."""
    return {source.name: source.digest for source in sources if source.digest is not None}


def refuse_mistakes(sources: list[Source]) -> None:
    """Stop where an annotation file is not as its format says.

    Raises:
        DataError: Listing the first mistakes, each with its line.
    """
    found = [f"{source.name}, line {line}: {what}" for source in sources for line, what in source.mistakes]
    if found:
        listed = "".join(f"\n  {text}" for text in found[:LISTED])
        more = f"\n  and {len(found) - LISTED} more" if len(found) > LISTED else ""
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        what = f"{count} in the training data{listed}{more}"
        raise DataError(what, fix="mend them; `stllm train RECIPE --check-data` looks at the media too")


def refuse_missing(sources: list[Source], max_failures: float) -> None:
    """Stop where more files are missing than may fail; name those that are, where it is fewer.

    Raises:
        DataError: Listing the first of them.
    """
    media = {path for source in sources for path in source.media}
    missing = sorted(path for path in media if not path.exists())
    if not missing:
        return
    listed = "".join(f"\n  {path}" for path in missing[:LISTED])
    more = f"\n  and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
    what = f"{len(missing)} of {len(media)} clips and pictures are missing"
    if len(missing) > max_failures * len(media):
        fix = "check 'media' in the recipe; --check-data lists all, max_failures allows some"
        raise DataError(f"{what}{listed}{more}", where="training data", fix=fix)
    log.warning("%s and will be left out%s%s", what, listed, more)


def open_checked(train: Train) -> list[Source]:
    """Open the sources of a stage, and stop where that is known to be no use.

    Raises:
        DataError: If a file is not there or not as its format says, or too many media are missing.
        RecipeError: If moving shapes are asked for questions that there are not.
    """
    sources = open_sources(train)
    refuse_mistakes(sources)
    refuse_missing(sources, train.max_failures)
    return sources


def open_source(number: int, data: Data) -> Source:
    """Read the annotation file of one source.

    Raises:
        DataError: If the file or folder is not there.
        RecipeError: If moving shapes are asked for questions that there are not.
    """
    if data.files is None:
        assert data.shapes is not None, "the schema asks for exactly one source"
        check_kinds(data.shapes)
        return Source(number, "shapes", "shapes", data.weight, data.shapes, (), ())
    name, place = data.files
    found = read_records(name, place)
    if found.text_only:
        count = f"{found.text_only} of {found.text_only + len(found.records) + len(found.mistakes)}"
        log.warning("%s: %s conversations show no video or picture, and are left out", found.file, count)
    if not found.records and not found.mistakes:
        raise DataError(
            "holds no entries with a video or a picture", where=str(found.file), fix="give another file"
        )
    return Source(
        number,
        str(found.file),
        name,
        data.weight,
        None,
        found.records,
        found.mistakes,
        place.questions_per_clip,
        found.unread,
        found.digest,
    )
