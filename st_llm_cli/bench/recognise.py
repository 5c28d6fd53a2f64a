"""Which benchmark a folder holds, by the names in it that no other benchmark has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from st_llm_cli.bench import mvbench, open_answers, tempcompass, tvbench, vcgbench, vinoground


@dataclass(frozen=True)
class Signs:
    """Names that tell of a benchmark, relative to its folder."""

    questions: tuple[str, ...]
    """Files of questions; at least one must be there."""
    own: tuple[str, ...] = ()
    """What no other benchmark with such files has; nothing where the files themselves are its own."""


def recognise(folder: Path) -> list[str]:
    """Name the benchmarks whose layout a folder has.

    Args:
        folder: Any folder. What is in its files is not looked at.

    Returns:
        Nothing, one name, or several where the folder could be any of them.
    """
    fitting = [name for name, signs in SIGNS.items() if _any_there(folder, signs.questions)]
    sure = [name for name in fitting if not SIGNS[name].own or _any_there(folder, SIGNS[name].own)]
    return sure or fitting


def _any_there(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / name).exists() for name in names)


def _tasks(stems: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"json/{stem}.json" for stem in stems)


def _annotations(layout: open_answers.Layout) -> tuple[str, ...]:
    folders = ("", *(f"{folder}/" for folder in layout.annotations))
    return tuple(f"{folder}{name}" for folder in folders for name in open_answers.FILES)


SIGNS = {
    "shapes": Signs(("scenes.jsonl",)),
    "mvbench": Signs(_tasks(mvbench.TASKS), _tasks(sorted(set(mvbench.TASKS) - set(tvbench.TASKS)))),
    "tvbench": Signs(_tasks(tvbench.TASKS), _tasks(sorted(set(tvbench.TASKS) - set(mvbench.TASKS)))),
    "tempcompass": Signs(tuple(f"questions/{kind}.json" for kind in tempcompass.SIZES)),
    "vinoground": Signs(
        tuple(
            f"{place}vinoground_{side}score.json"
            for side, folder in vinoground.FOLDERS.items()
            for place in ("", f"{folder}/")
        )
    ),
    "vcgbench": Signs(tuple(f"Benchmarking_QA/{task}_qa.json" for task in vcgbench.TASKS)),
    "msvd": Signs(
        _annotations(open_answers.MSVD),
        ("YouTubeClips", "youtube_mapping.txt", "MSVD_Zero_Shot_QA", "MSVD-QA"),
    ),
    "msrvtt": Signs(
        _annotations(open_answers.MSRVTT),
        ("MSRVTT_Zero_Shot_QA", "MSRVTT-QA", "videos/all", "TestVideo", "TrainValVideo"),
    ),
    "activitynet": Signs(_annotations(open_answers.ACTIVITYNET), ("all_test",)),
}
