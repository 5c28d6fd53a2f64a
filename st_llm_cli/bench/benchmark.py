"""What a benchmark is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from st_llm_cli.bench.sample import Sample


@dataclass(frozen=True)
class Loaded:
    """The questions of a benchmark, as they were found on disk."""

    samples: tuple[Sample, ...]
    """In the benchmark's order."""
    size: int | None
    """Questions in the whole benchmark; None where it has no fixed number."""
    source: str
    """The file or folder that was read."""
    absent: tuple[str, ...] = ()
    """Tasks whose questions are not there at all."""
    tasks: tuple[str, ...] = ()
    """All tasks in the order of the published tables; empty: those of the samples, as they come."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and how its questions are put."""

    about: str
    """One line."""
    layout: str
    """What `--data` should hold, one line."""
    load: Callable[[Path], Loaded]
    """Read the questions and find their clips."""
    released_sampler: str = "released_mvbench"
    """How the released code chooses frames: a name of the video room's samplers."""
    released_frames: int | None = None
    """Frames the released code looks at; None: about one a second, 4 to 16."""
    max_new_tokens: int = 100
    """Longest answer of the released protocol."""
    num_beams: int = 1
    """Beams of the released protocol."""
    judged: bool = False
    """Whether the published score needs a judge model."""
