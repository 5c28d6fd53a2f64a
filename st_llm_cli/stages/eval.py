"""Evaluate a model on a benchmark: find the clips, ask the questions, score the replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.choice import PROMPT_STYLES, option_reply, options_prompt
from st_llm_cli.bench.report import Report, report_of
from st_llm_cli.bench.sample import Media, Prediction, Sample
from st_llm_cli.errors import StllmError, VideoError
from st_llm_cli.stages.eval_plan import Plan, askable, frames_of, load, without_clips
from st_llm_cli.stages.prediction_file import SETTINGS_NAME, PredictionFile, collect
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.stages.run_folder import write_run_file
from st_llm_cli.stages.share import Share
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import Transform


class Answerer(Protocol):
    """What this stage needs of a model; `VideoModel` is one."""

    @property
    def num_frames(self) -> int:
        """Frames it looks at unless told otherwise."""

    @property
    def transform(self) -> Any:
        """What it needs done to each picture."""

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        """Read clips to ask about: each request with its clip, or with the error that stands for it."""

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        """Answer questions, so many at a time; what is answered does not depend on that number."""


@dataclass(frozen=True)
class Result:
    """What came out of an evaluation."""

    report: Report
    predictions: list[Prediction]
    """In the benchmark's order."""
    folder: Path


def run(
    model: Answerer,
    plan: Plan,
    folder: Path,
    *,
    settings: dict[str, Any] | None = None,
    batch_size: int = 1,
    step: Callable[[str], None] = lambda id: None,
) -> Result:
    """Ask all questions that have no answer yet, and score the answers.

    Args:
        model: Who answers.
        plan: What is asked, and how.
        folder: Where predictions and scores go; an interrupted run goes on here.
        settings: What else decides an answer (name of the model …).
        batch_size: Questions that are answered together; the answers do not depend on it.
        step: Called with the id of each question that is through.

    Raises:
        UsageError: If nothing can be asked, or the folder holds a run of other settings.
        DataError: If the benchmark's files cannot be used.
    """
    loaded, selected = load(plan)
    _answer(model, plan, selected, folder, settings=settings, batch_size=batch_size, step=step)
    result = _collected(plan, loaded, selected, folder)
    assert result is not None, "all questions are answered"
    return result


def answer_share(
    model: Answerer,
    plan: Plan,
    folder: Path,
    *,
    share: Share | None = None,
    settings: dict[str, Any] | None = None,
    batch_size: int = 1,
    step: Callable[[str], None] = lambda id: None,
) -> None:
    """Ask the questions of one process that have no answer yet.

    Args:
        model: As for `run`.
        plan: As for `run`.
        folder: As for `run`; the same for all processes.
        share: The process's share of the clips; None asks about all of them.
        settings: As for `run`.
        batch_size: As for `run`.
        step: As for `run`.

    Raises:
        UsageError: As for `run`, and if another process answers the same share.
        DataError: As for `run`.
    """
    _, selected = load(plan)
    _answer(model, plan, selected, folder, share, settings, batch_size, step)


def _answer(
    model: Answerer,
    plan: Plan,
    selected: Sequence[Sample],
    folder: Path,
    share: Share | None = None,
    settings: dict[str, Any] | None = None,
    batch_size: int = 1,
    step: Callable[[str], None] = lambda id: None,
) -> None:
    questions = _questions(plan, selected)
    sampler, num_frames = frames_of(plan, model.num_frames)
    decides = {**_plain(plan), "sampler": sampler, "num_frames": num_frames, **(settings or {})}
    with PredictionFile(folder, decides, share) as file:
        waiting = []
        for sample in _share(questions, share):
            if file.has(sample):
                step(sample.id)
            else:
                waiting.append(sample)
        for prediction in predict(model, plan, waiting, batch_size):
            file.add(prediction)
            step(prediction.sample.id)


def collected(plan: Plan, folder: Path) -> Result | None:
    """Score a run whose questions are all answered; None while some are not.

    Args:
        plan: What was asked.
        folder: Where the answers are.

    Raises:
        DataError: If the benchmark's files or the predictions cannot be used.
        UsageError: If another process still writes there.
    """
    loaded, selected = load(plan)
    return _collected(plan, loaded, selected, folder)


def _collected(plan: Plan, loaded: Loaded, selected: Sequence[Sample], folder: Path) -> Result | None:
    predictions = collect(folder, askable(selected))
    if predictions is None:
        return None
    settings = json.loads((folder / SETTINGS_NAME).read_text(encoding="utf-8"))
    report = _report(plan, loaded, selected, predictions, settings["sampler"], settings["num_frames"])
    scores = json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
    write_run_file(folder / "scores.json", scores)
    return Result(report, predictions, folder)


def _share(questions: Sequence[Sample], share: Share | None) -> list[Sample]:
    """Give a process all questions about each of its clips: they share what is seen of it."""
    if share is None:
        return list(questions)
    clips: dict[tuple[Media, ...], list[Sample]] = {}
    for sample in questions:
        clips.setdefault(sample.clips, []).append(sample)
    return [sample for own in share.of(list(clips.values())) for sample in own]


def evaluate(
    model: Answerer,
    benchmark: str,
    *,
    data: str | Path,
    tasks: Sequence[str] = (),
    limit: int | None = None,
    answer: str = "options",
    num_frames: int | None = None,
    seed: int = 0,
    batch_size: int = 1,
    world: str | None = None,
) -> Report:
    """Measure a model on a benchmark; `stllm eval` does the same and can be interrupted.

    Args:
        model: From `load_model`.
        benchmark: A name of `stllm eval --list`.
        data: The benchmark's folder.
        tasks: Names of the tasks to ask; all if empty.
        limit: Questions to ask, drawn by `seed`; all if None.
        answer: Multiple choice: `options` scores the letters, `generate` has the answer written.
        num_frames: Frames per clip; the model's own number if None.
        seed: Of what is drawn.
        batch_size: Questions that are answered together; the answers do not depend on it.
        world: Benchmark `shapes`: the world to draw where the folder holds no clips; None: rich.

    Returns:
        The numbers, each with what it covers.

    Raises:
        UsageError: If a name is unknown, or nothing can be asked.
        DataError: If the benchmark's files cannot be used.
    """
    plan = Plan(benchmark, Path(data), answer, num_frames, False, tuple(tasks), limit, seed, world=world)
    loaded, selected = load(plan)
    predictions = list(predict(model, plan, _questions(plan, selected), batch_size))
    return _report(plan, loaded, selected, predictions, *frames_of(plan, model.num_frames))


def _report(
    plan: Plan,
    loaded: Loaded,
    selected: Sequence[Sample],
    predictions: Sequence[Prediction],
    sampler: str,
    num_frames: int | None,
) -> Report:
    """Score predictions, and say what the frames that were looked at tell without their order."""
    report = report_of(plan.benchmark, loaded, selected, predictions)
    if plan.benchmark != "shapes" or sampler != "uniform" or num_frames is None:
        return report
    from st_llm_cli.stages.drawn_shapes import ceilings_of

    asked = [prediction.sample for prediction in predictions]
    return replace(report, ceilings=ceilings_of(plan.data, asked, num_frames))


def _questions(plan: Plan, selected: Sequence[Sample]) -> list[Sample]:
    """Give the questions that can be asked, at least one."""
    questions = askable(selected)
    if not questions:
        raise without_clips(plan, f"none of {len(selected)} questions can be asked: their clips are missing")
    return questions


def predict(
    model: Answerer, plan: Plan, samples: Sequence[Sample], batch_size: int = 1
) -> Iterator[Prediction]:
    """Ask questions, those about the same part of the same clip in a row, single ones in batches.

    A clip that cannot be read is named in the predictions of its questions; it does not stop the rest.
    """
    single: list[tuple[Sample, Any]] = []
    for own, clip in _clips(model, plan, samples):
        if isinstance(clip, VideoError):
            for sample in own:
                yield Prediction(sample, None, error=f"{type(clip).__name__}: {clip.what}")
        elif isinstance(clip, StllmError):
            raise clip
        elif len(own) > 1:  # they share what is seen and read of it
            yield from _ask(model, plan, [(sample, clip) for sample in own], batch_size)
        else:
            single.append((own[0], clip))
        if len(single) == batch_size:
            yield from _ask(model, plan, single, batch_size)
            single = []
    if single:
        yield from _ask(model, plan, single, batch_size)


def _clips(
    model: Answerer, plan: Plan, samples: Sequence[Sample]
) -> Iterator[tuple[list[Sample], Any | StllmError]]:
    """Read each clip once; give it with the questions about it."""
    about: dict[tuple[Request, ...], list[Sample]] = {}
    for sample in samples:
        requests = tuple(request_for(model, plan, media) for media in sample.clips)
        about.setdefault(requests, []).append(sample)
    whole = [requests for requests in about if len(requests) == 1]
    for request, clip in model.read_clips([requests[0] for requests in whole]):
        yield about[(request,)], clip
    for requests in about:
        if len(requests) > 1:
            yield about[requests], join_clips([clip for _, clip in read_clips(requests)])


def request_for(model: Answerer, plan: Plan, media: Media) -> Request:
    """Say what is wanted of a clip: the frames of the question's part, as the model needs them."""
    return clip_request(plan, media, model.num_frames, model.transform)


def clip_request(plan: Plan, media: Media, model_frames: int, transform: Transform) -> Request:
    """Say what is wanted of a clip by a model of which only this is known.

    Args:
        plan: The evaluation.
        media: The clip, which is there.
        model_frames: Frames the model looks at unless told otherwise.
        transform: What it needs done to each picture.
    """
    assert media.path is not None
    sampler, num_frames = frames_of(plan, model_frames)
    return Request(
        media.path,
        sampler=sampler,
        num_frames=num_frames,
        start=media.start_seconds,
        end=media.end_seconds,
        transform=transform,
        folder_fps=media.folder_fps or Request.folder_fps,
    )


def join_clips(clips: Sequence[Clip | StllmError]) -> Clip | StllmError:
    """Put clips one after the other into one; the first error, if there is one."""
    for clip in clips:
        if isinstance(clip, StllmError):
            return clip
    whole = [clip for clip in clips if isinstance(clip, Clip)]
    frames = np.concatenate([clip.frames for clip in whole])
    indices = tuple(index for clip in whole for index in clip.indices)
    offsets = np.cumsum([0.0, *(clip.source.duration_seconds for clip in whole)])
    times = tuple(
        float(offset) + seconds
        for offset, clip in zip(offsets, whole, strict=False)
        for seconds in clip.times_seconds
    )
    return Clip(frames, indices, times, whole[0].source)


def question_of(plan: Plan, sample: Sample, clip: Any) -> Question:
    """Put a benchmark's question about a clip that was read."""
    benchmark, style = BENCHMARKS[plan.benchmark], PROMPT_STYLES[plan.prompt_style]
    if sample.candidates and plan.answer == "options":
        name = plan.prompt_style if sample.kind == "choice" else "released"
        return Question(clip, options_prompt(sample), sample.letters, name)
    if sample.kind == "choice":
        limit = plan.max_new_tokens or style.max_new_tokens or benchmark.max_new_tokens
        return Question(clip, sample.prompt, style=plan.prompt_style, max_new_tokens=limit)
    limit = plan.max_new_tokens or benchmark.max_new_tokens
    beams = benchmark.num_beams if plan.released else 1
    return Question(clip, sample.prompt, max_new_tokens=limit, num_beams=beams)


def _ask(
    model: Answerer, plan: Plan, asked: Sequence[tuple[Sample, Any]], batch_size: int
) -> Iterator[Prediction]:
    questions = [question_of(plan, sample, clip) for sample, clip in asked]
    for (sample, _), answer in zip(asked, model.answer_all(questions, batch_size), strict=True):
        if isinstance(answer, int):
            yield Prediction(sample, option_reply(sample, answer), answer)
        else:
            yield Prediction(sample, answer)


def _plain(plan: Plan) -> dict[str, Any]:
    plain = {**asdict(plan), "data": str(plan.data.resolve()), "tasks": list(plan.tasks)}
    del plain["world"]  # decides what is drawn; what is asked is in the data
    return plain
