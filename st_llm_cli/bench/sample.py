"""What goes through the room: a question about clips, what a model said to it, and what that is worth."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Media:
    """One clip that a question is about."""

    name: str
    """As the benchmark's file writes it."""
    path: Path | None
    """File or frame folder; None where there is none."""
    tried: tuple[Path, ...] = ()
    """Places looked at, in order."""
    origin: str = ""
    """Where the clip comes from, for someone who lacks it."""
    start_seconds: float | None = None
    """Begin of the part the question is about; None: from the first frame."""
    end_seconds: float | None = None
    """End of that part; may lie past the end of the clip. None: to the last frame."""
    folder_fps: float | None = None
    """Pictures per second, for a folder of numbered pictures; None for a video file."""


@dataclass(frozen=True)
class Sample:
    """One question, asked once."""

    id: str
    """Unique within the benchmark, and the same on every machine: `task/number` or the benchmark's own."""
    task: str
    """The part of the benchmark it is counted in."""
    kind: str
    """How the reply is scored: a key of `SCORERS`."""
    clips: tuple[Media, ...]
    """What it is about; shown in this order."""
    question: str
    """The bare question."""
    prompt: str
    """What the model is asked: the question with its options, if it has any."""
    answer: str
    """The right answer: the text of a candidate, or a reference."""
    candidates: tuple[str, ...] = ()
    """Options of a multiple-choice question, in their order; empty for a free one."""
    group: str | None = None
    """Questions that are scored together share it."""
    part: str | None = None
    """What a question is within its group."""
    problem: str | None = None
    """Why it can be neither asked nor scored as it stands in the file; counted by name."""
    check: str | None = None
    """Multiple-choice question that a judge answers from the reply alone; `answer` is its right option."""

    @property
    def letters(self) -> str:
        """Letters of the options."""
        return LETTERS[: len(self.candidates)]

    @property
    def missing(self) -> tuple[Media, ...]:
        """Clips that were not found."""
        return tuple(clip for clip in self.clips if clip.path is None)

    @property
    def cluster(self) -> str:
        """The footage it is about: questions about the same footage are not independent of each other."""
        return " + ".join(clip.name for clip in self.clips)


@dataclass(frozen=True)
class Prediction:
    """What the model said to one question."""

    sample: Sample
    reply: str | None
    """Text as generated, before any parsing; None where the question could not be asked."""
    option: int | None = None
    """Place of the option it scored highest, from 0; None where it wrote its answer."""
    error: str | None = None
    """Why the question could not be asked."""


@dataclass(frozen=True)
class Verdict:
    """What a reply is worth."""

    correct: bool
    answer: str | None
    """What the scorer took the reply to say; None if nothing, which is not the same as wrong."""
    rule: str
    """Name of the rule that decided."""
