"""Clips of moving shapes as real files, whose tokens every run behind docs/claims.md takes from one cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.stages.extract_features import Wish, extract
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.video.request import Request
from tests.performance.claims_rows import settings, stllm


@dataclass(frozen=True)
class WrittenClip:
    """A clip to be written."""

    scene: Scene
    encoding: Encoding
    asked: Sequence[tuple[str, str]]
    """Questions about it with their answers."""


ClipOf = Callable[[int], WrittenClip]
"""The clip of a seed."""


def write_clips(folder: Path, seeds: range, name: str, clip_of: ClipOf) -> Path:
    """Write clips, and what is asked about them in the form of VideoChat2-IT; what is there already stays.

    Returns:
        The file with the questions.
    """
    annotations = folder / f"{name}.json"
    if annotations.exists():
        return annotations
    (folder / name).mkdir(parents=True, exist_ok=True)
    entries = []
    for seed in seeds:
        clip = clip_of(seed)
        video = f"{name}/{seed}{clip.encoding.suffix}"
        if not (folder / video).exists():
            write_video(clip.scene, folder / video, clip.encoding)
        asked = [{"i": "", "q": question, "a": answer} for question, answer in clip.asked]
        entries.append({"video": video, "QA": asked})
    annotations.write_text(json.dumps(entries), encoding="utf-8")
    return annotations


def train_on(recipe: str, folder: Path, clips: Path, start: str, seed: int, own: Sequence[str]) -> None:
    """Run a recipe of `recipes/claims` on the clips that were written for training.

    Args:
        recipe: Its name; first it fills the cache, then it trains.
        folder: Run folder; the cache lies beside it.
        clips: Folder of the clips.
        start: Checkpoint to start from.
        seed: Of the training stage.
        own: Settings of the variant.
    """
    data = {"annotations": clips / "train.json", "media": clips}
    given = [f"stages.1.train.data.0.videochat2.{key}={path}" for key, path in data.items()]
    given += [f"model.checkpoint={start}", f"stages.1.train.seed={seed}", *own]
    places = ["--output", str(folder), "--cache", str(cache_beside(folder))]
    stllm("run", f"recipes/claims/{recipe}.yaml", *places, *settings(given))


Wanted = Sequence[tuple[Path, int]]
"""Written clips by the file with their questions, and how many frames of them are looked at."""


def fill_cache(wanted: Wanted, start: str, cache: Path, jobs: int) -> None:
    """Keep the tokens of clips, a share of them in each of several processes.

    Args:
        wanted: The clips.
        start: Checkpoint whose eyes look.
        cache: Where tokens are kept.
        jobs: Number of processes.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
        list(processes.map(partial(_fill, wanted, start, cache, jobs), range(jobs)))


def _fill(wanted: Wanted, start: str, cache: Path, jobs: int, share: int) -> None:
    model = load_model(start, cache=TokenCache(cache))
    assert model.tokens is not None
    for file, frames in wanted:
        own = list(requests(model, file, frames))[share::jobs]
        extract(model.tokens, own, Wish(stop_at_error=True), lambda outcome: None)


def cache_beside(folder: Path) -> Path:
    """The token cache that all runs beside each other share."""
    return folder.parent / "tokens"


def requests(model: VideoModel, annotations: Path, frames: int) -> Iterator[Request]:
    """Ask for written clips, each by so many frames."""
    for entry in json.loads(annotations.read_text(encoding="utf-8")):
        path = annotations.parent / entry["video"]
        yield Request(path, num_frames=frames, transform=model.transform)


def held_out(model: VideoModel, annotations: Path, frames: int) -> list[Example]:
    """Written clips by their tokens, with all that is asked about them."""
    entries = json.loads(annotations.read_text(encoding="utf-8"))
    clips = model.read_clips(requests(model, annotations, frames))
    return [
        Example(None, tuple(Task(each["q"], each["a"]) for each in entry["QA"]), clip.tokens, clip.level)
        for entry, (_, clip) in zip(entries, clips, strict=True)
    ]
