"""Everything a report tells of one run, gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from st_llm_cli.bench.choice import options_prompt
from st_llm_cli.bench.gain import Gain
from st_llm_cli.bench.judged import Judged, Opinion
from st_llm_cli.bench.report import Rate, Report, Scored
from st_llm_cli.bench.sample import LETTERS, Media, Prediction, Sample


@dataclass(frozen=True)
class Strip:
    """A few frames of a clip side by side, as one small picture."""

    jpeg: bytes
    times_seconds: tuple[float, ...]
    """When each frame is shown."""


@dataclass(frozen=True)
class RunRecord:
    """One run: its numbers, its answers, and how it came about."""

    report: Report
    predictions: Sequence[Prediction]
    """In the order to show them."""
    scorer: str = "strict"
    """The one to put first."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What decided the answers, as the run's folder says."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Command, versions and machine; decides nothing, but may explain a difference."""
    gain: Gain | None = None
    """Against its controls; None without any."""
    controls: Mapping[str, Mapping[str, Prediction]] = field(default_factory=dict)
    """Answers under each control, by id of the question."""
    judged: Judged | None = None
    judged_on: str = ""
    """Day the judge was asked."""
    opinions: Mapping[str, Sequence[Opinion]] = field(default_factory=dict)
    """What the judge said of each answer, by id of the question."""
    strips: Mapping[str, Strip] = field(default_factory=dict)
    """Pictures of clips, by `strip_key`; of as many as the report's rule takes in."""

    @property
    def scored(self) -> Scored | None:
        """What the scorer put first makes of the run; None where none can read its replies."""
        found = self.report.scorers.get(self.scorer)
        return found or next(iter(self.report.scorers.values()), None)

    @property
    def scorers(self) -> list[Scored]:
        """All scorers, the one put first in front."""
        return sorted(self.report.scorers.values(), key=lambda own: own is not self.scored)

    @property
    def model(self) -> str:
        """Name of the model, as it was asked for."""
        return str(self.settings.get("model", "a model that is not named"))

    @property
    def is_whole(self) -> bool:
        """Whether every question of the benchmark has its answer in the numbers."""
        coverage = self.report.coverage
        whole = coverage.size if coverage.size is not None else coverage.found
        return len(self.predictions) == whole and not coverage.not_decoded


def strip_key(media: Media) -> str:
    """Name a part of a clip."""
    if media.start_seconds is None and media.end_seconds is None:
        return media.name
    end = "the end" if media.end_seconds is None else f"{media.end_seconds:g} s"
    return f"{media.name}, {media.start_seconds or 0:g} s to {end}"


def chance_of(samples: Sequence[Sample]) -> float | None:
    """Give what guessing would reach, 0 to 1; None where there is something without options.

    The expectation: the mean of one over the number of options.
    """
    if not samples:
        return None
    shares = []
    for sample in samples:
        options = 2 if sample.kind == "yes or no" else len(sample.candidates)
        if not options:
            return None
        right = sum(text == sample.answer for text in sample.candidates) if sample.candidates else 1
        shares.append(right / options)
    return sum(shares) / len(shares)


def prompt_shown(record: RunRecord) -> str:
    """Give a question as the model was asked it, to see what kind of prompt it was."""
    sample = record.predictions[0].sample
    if sample.candidates and record.settings.get("answer") == "options":
        return options_prompt(sample)
    return sample.prompt


def option_text(sample: Sample, place: int) -> str:
    """Write an option with its letter."""
    return f"({LETTERS[place]}) {sample.candidates[place]}"


def percent(value: float) -> str:
    """Write a share of 0 to 1 as reports do."""
    return f"{100 * value:.1f}"


def with_interval(rate: Rate) -> str:
    """Write a share with its interval."""
    return f"{percent(rate.value)} [{percent(rate.low)}, {percent(rate.high)}]"
