"""Clips of moving shapes, whose tokens every run behind docs/claims.md takes from one cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.render import frame_count, render_frames
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.stages.clip_tokens import ClipTokens
from st_llm_cli.stages.extract_features import Wish, extract
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.request import Request
from st_llm_cli.video.sampling import SAMPLERS
from tests.performance.claims_processes import processes, settings, stllm
from tests.performance.claims_rows import say


@dataclass(frozen=True)
class WrittenClip:
    """A clip to be written."""

    scene: Scene
    encoding: Encoding
    asked: Sequence[tuple[str, str]]
    """Questions about it with their answers."""


ClipOf = Callable[[int], WrittenClip]
"""The clip of a seed."""


def write_clips(folder: Path, seeds: range, name: str, clip_of: ClipOf, *, drawn: bool = False) -> Path:
    """Write clips, and what is asked about them in the form of VideoChat2-IT; what is there already stays.

    Args:
        folder: Where to; videos come into a folder of the name.
        seeds: Of the clips.
        name: Of the file with the questions.
        clip_of: The clip of a seed.
        drawn: Whether files only stand for videos: for `fill_cache` to draw them, and nobody to read.

    Returns:
        The file with the questions.
    """
    annotations = folder / f"{name}.json"
    if annotations.exists():
        return annotations
    say(f"drawing {len(seeds)} clips: {folder / name} …")
    (folder / name).mkdir(parents=True, exist_ok=True)
    entries = []
    for seed in seeds:
        clip = clip_of(seed)
        video = f"{name}/{seed}{clip.encoding.suffix}"
        if drawn:  # the cache knows clips by their bytes
            (folder / video).write_text(f"{folder.name} {seed}\n", encoding="utf-8")
        elif not (folder / video).exists():
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


DRAWN_TOGETHER = 32
"""Clips that are drawn before they are looked at."""
Wanted = Sequence[tuple[Path, int]]
"""Written clips by the file with their questions, and how many frames of them are looked at."""


def fill_cache(wanted: Wanted, start: str, cache: Path, jobs: int, clip_of: ClipOf | None = None) -> None:
    """Keep the tokens of clips, a share of them in each of several processes.

    Args:
        wanted: The clips.
        start: Checkpoint whose eyes look.
        cache: Where tokens are kept.
        jobs: Number of processes.
        clip_of: The clip of a seed, to see it as it is drawn; None reads its file.
    """
    say(f"keeping the tokens of clips that are not kept yet: {cache} …")
    with processes(jobs) as workers:
        list(workers.map(partial(_fill, wanted, start, cache, jobs, clip_of), range(jobs)))


def _fill(wanted: Wanted, start: str, cache: Path, jobs: int, clip_of: ClipOf | None, share: int) -> None:
    model = load_model(start, cache=TokenCache(cache))
    assert model.tokens is not None
    for file, frames in wanted:
        own = list(requests(model, file, frames))[share::jobs]
        if clip_of is None:
            extract(model.tokens, own, Wish(stop_at_error=True), lambda outcome: None)
        else:
            _draw(model.tokens, own, clip_of)


def _draw(tokens: ClipTokens, wanted: Sequence[Request], clip_of: ClipOf) -> None:
    for begin in range(0, len(wanted), DRAWN_TOGETHER):
        looked_up = map(tokens.look_up, wanted[begin : begin + DRAWN_TOGETHER])
        asked = [each for each in looked_up if each.known is None]
        clips = [drawn_clip(each.request, clip_of(int(each.request.path.stem))) for each in asked]
        for each, seen in zip(asked, tokens.encode(clips) if clips else [], strict=True):
            tokens.keep(each, seen, 0.0)


def drawn_clip(request: Request, clip: WrittenClip) -> Clip:
    """The frames that would be read of a clip's file, as they were before they were compressed."""
    scene, file = clip.scene, clip.encoding
    total = frame_count(scene.duration_seconds, file.fps)
    assert request.num_frames is not None
    assert request.transform is not None
    indices = SAMPLERS[request.sampler](total, request.num_frames)
    times = [index / file.fps for index in indices]
    pictures = render_frames(scene, times, file.width, file.height, antialias=file.antialias)
    source = Source(
        str(request.path),
        "drawn",
        file.width,
        file.height,
        fps=file.fps,
        duration_seconds=scene.duration_seconds,
        promised_frames=total,
        delivered_frames=total,
        rotation=0,
    )
    return Clip(np.stack(list(map(request.transform, pictures))), tuple(indices), tuple(times), source)


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
