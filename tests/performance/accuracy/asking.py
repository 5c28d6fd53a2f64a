"""Asking the model about the clips, and what it said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from st_llm_cli.shapes import questions
from st_llm_cli.shapes.ceilings import observers_of_file
from st_llm_cli.shapes.encode import Encoding
from st_llm_cli.shapes.folder import Clip, read_clips
from st_llm_cli.stages.question import Question
from st_llm_cli.stages.video_model import VideoModel
from st_llm_cli.training.data.shapes import choice_text
from st_llm_cli.video.clip import Clip as Footage
from st_llm_cli.video.request import Request
from tests.performance.accuracy.clips import end_questions

CHOICES = "choices: "
"""Put in front of the kind of a multiple-choice question."""
BATCH = 64
"""Questions about one clip that are answered together, at most."""


@dataclass(frozen=True)
class Answer:
    """One question about a clip, what is true and what the model said."""

    video: str
    world: str
    """Key of `st_llm_cli.shapes.worlds.WORLDS`."""
    objects: int
    encoding: Encoding
    kind: str
    question: str
    truth: str
    reply: str
    seconds: float
    """Length of the clip."""
    order_blind: float
    """How often it can be answered from the same frames in no order, at best."""

    @property
    def right(self) -> bool:
        """Whether it is true to the letter."""
        return self.reply == self.truth


@dataclass(frozen=True)
class Asked:
    """A question before it is answered."""

    kind: str
    text: str
    truth: str
    order_blind: float
    letters: str = ""
    """Of its options; empty to have the answer written."""


def ask_everything(model: VideoModel, folder: Path) -> Iterator[Answer]:
    """Ask all the questions of a folder of the plain world, freely and with options."""
    asked = _questions_in(folder)
    return _answers(
        model, folder, "plain", ((clip, asked.get(clip.video, [])) for clip in read_clips(folder))
    )


def ask_ends(model: VideoModel, folder: Path, world: str) -> Iterator[Answer]:
    """Ask freely what each object of the clips of a folder does first and at the end."""
    asked = ((clip, _about_ends(clip, model.num_frames)) for clip in read_clips(folder))
    return _answers(model, folder, world, asked)


def _about_ends(clip: Clip, num_frames: int) -> list[Asked]:
    found = end_questions(clip.scene)
    if not found:
        return []
    observers = observers_of_file(clip.scene, num_frames, clip.encoding.fps)
    return [_asked(each, observers.ceilings(each).order_blind) for each in found]


def _answers(
    model: VideoModel, folder: Path, world: str, asked: Iterable[tuple[Clip, Sequence[Asked]]]
) -> Iterator[Answer]:
    todo = [(clip, own) for clip, own in asked if own]
    wanted = [
        Request(folder / "video" / clip.video, num_frames=model.num_frames, transform=model.transform)
        for clip, _ in todo
    ]
    for (clip, own), (_, footage) in zip(todo, model.read_clips(wanted), strict=True):
        if not isinstance(footage, Footage):
            raise SystemExit(f"{clip.video} cannot be read: {footage}")
        put = [_put(each, footage) for each in own]
        for each, said in zip(own, model.answer_all(put, BATCH), strict=True):
            reply = each.letters[said] if isinstance(said, int) else said
            facts = (clip.video, world, len(clip.scene.objects), clip.encoding)
            seconds = clip.scene.duration_seconds
            yield Answer(*facts, each.kind, each.text, each.truth, reply, seconds, each.order_blind)


def _put(asked: Asked, footage: Footage) -> Question:
    if asked.letters:
        return Question(footage, asked.text, asked.letters, "released")
    return Question(footage, asked.text)


def _asked(question: questions.Question, order_blind: float) -> Asked:
    if not question.candidates:
        return Asked(question.kind, question.text, question.answer, order_blind)
    letters = "ABCDEFGH"[: len(question.candidates)]
    return Asked(CHOICES + question.kind, choice_text(question), question.letter, order_blind, letters)


def _questions_in(folder: Path) -> dict[str, list[Asked]]:
    """Questions by the file name of the clip that they are about."""
    found: dict[str, list[Asked]] = {}
    for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        free = questions.Question(row["kind"], row["question"], row["answer"])
        found.setdefault(row["video"], []).append(_asked(free, row["order_blind"]))
    for path in sorted((folder / "json").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            choice = questions.Question(path.stem, row["question"], row["answer"], tuple(row["candidates"]))
            found.setdefault(row["video"], []).append(_asked(choice, row["order_blind"]))
    return found
