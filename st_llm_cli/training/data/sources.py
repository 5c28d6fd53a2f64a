"""The sources of a stage, opened and looked through before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from st_llm_cli.errors import DataError
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Data, Shapes
from st_llm_cli.training.data.record import Mistake, Record, read_records
from st_llm_cli.training.data.shapes import check_kinds

LISTED = 10
"""Mistakes that an error names."""


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
    return [_open(number, data) for number, data in enumerate(train.data)]


def refuse_mistakes(sources: list[Source]) -> None:
    """Stop where an annotation file is not as its format says.

    Raises:
        DataError: Listing the first mistakes, each with its line.
    """
    found = [f"{source.name}, line {line}: {what}" for source in sources for line, what in source.mistakes]
    if found:
        listed = "".join(f"\n  {text}" for text in found[:LISTED])
        more = f"\n  and {len(found) - LISTED} more" if len(found) > LISTED else ""
        what = f"{len(found)} mistakes in the training data{listed}{more}"
        raise DataError(what, fix="mend them; `stllm train RECIPE --check-data` looks at the media too")


def _open(number: int, data: Data) -> Source:
    if data.files is None:
        assert data.shapes is not None, "the schema asks for exactly one source"
        check_kinds(data.shapes)
        return Source(number, "shapes", "shapes", data.weight, data.shapes, (), ())
    name, place = data.files
    found = read_records(name, place)
    if not found.records and not found.mistakes:
        raise DataError("holds no entries", where=str(found.file), fix="give another file")
    return Source(number, str(found.file), name, data.weight, None, found.records, found.mistakes)
