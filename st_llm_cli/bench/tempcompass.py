"""TempCompass: four ways to ask about action, direction, speed, order and change.

DIR/
├── questions/{multi-choice,yes_no,caption_matching,captioning}.json
│       {video: {dimension: [{question, answer}]}}; captioning also mc_question, mc_answer
└── videos/<video>.mp4
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.files import Row, find_media, name_problem, read_json, text_in, with_suffixes
from st_llm_cli.bench.parsing import UNPARSED, Reading, plain_text, plain_words, read_choice, void_reason
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError

ORIGIN = "tempcompass_videos.zip of https://huggingface.co/datasets/lmms-lab/TempCompass"

_LABELLED = re.compile(r"^(?P<name>(?:Caption|Option|Sentence) (?P<mark>\w)): (?P<text>.*)$", re.MULTILINE)


def load(data: Path) -> Loaded:
    """Read the questions and find their clips; a task is a way of asking and a dimension.

    Raises:
        DataError: If there are no questions, or a file is not what it should be.
    """
    files = {kind: _question_file(data, kind) for kind in SIZES}
    found = {kind: path for kind, path in files.items() if path is not None}
    if not found:
        what = "holds no questions: looked for questions/{" + ",".join(SIZES) + "}.json"
        raise DataError(what, where=str(data), fix="give TempCompass' folder as `data`")
    samples = [sample for kind, path in found.items() for sample in _samples(data, kind, path)]
    absent = tuple(kind for kind in SIZES if kind not in found)
    return Loaded(tuple(samples), sum(SIZES.values()), str(data), absent)


def _question_file(data: Path, kind: str) -> Path | None:
    places = (data / "questions" / f"{kind}.json", data / f"{kind}.json")
    return next((place for place in places if place.is_file()), None)


def _samples(data: Path, kind: str, path: Path) -> list[Sample]:
    table = read_json(path)
    if not isinstance(table, dict) or not all(map(_is_by_dimension, table.values())):
        what = "does not hold {video: {dimension: questions}}"
        raise DataError(what, where=str(path), fix="download the benchmark's own file")
    samples = []
    for video, dimensions in table.items():
        folders = (data / "videos", data / "video", data)
        media = Media(video, None)
        if not name_problem(video):
            media = find_media(video, with_suffixes(folders, [video], [".mp4"]), origin=ORIGIN)
        for dimension, rows in dimensions.items():
            for number, row in enumerate(rows):
                id = f"{kind}/{video}/{dimension}/{number}"
                samples.append(_sample(kind, dimension, id, row, media, f"{path}: {id}"))
    return samples


def _is_by_dimension(part: object) -> bool:
    """Whether a value is lists of questions by dimension."""
    return isinstance(part, dict) and all(
        isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in part.values()
    )


def _sample(kind: str, dimension: str, id: str, row: Row, media: Media, where: str) -> Sample:
    question, answer = text_in(row, "question", where), text_in(row, "answer", where)
    task, prompt = f"{kind}: {dimension}", question + PROMPT_ENDS[kind]
    problem = name_problem(media.name)
    candidates: tuple[str, ...] = ()
    if kind == "multi-choice":
        candidates = tuple(found["text"] for found in _LETTERED.finditer(question))
        answer = answer.partition(". ")[2]
    elif kind == "caption_matching":
        candidates = tuple(found["text"] for found in _LABELLED.finditer(question))
        answer = answer.partition(": ")[2]
    elif kind == "yes_no":
        candidates = ("yes", "no")
        answer = answer.lower()
    if kind != "captioning" and answer not in candidates:
        problem = f"its answer '{row['answer']}' is none of the options"
    sample = Sample(id, task, KINDS[kind], (media,), question, prompt, answer, candidates, problem=problem)
    return _with_check(sample, row, where) if kind == "captioning" else sample


def _with_check(sample: Sample, row: Row, where: str) -> Sample:
    """Add the question that the published rule has a judge answer from the caption."""
    if "mc_question" not in row or "mc_answer" not in row:
        lacks = "has no 'mc_question' and 'mc_answer', without which no judge can tell what it is worth"
        return replace(sample, problem=sample.problem or lacks)
    check, answer = text_in(row, "mc_question", where), text_in(row, "mc_answer", where)
    other = None if answer in lettered_lines(check) else f"its mc_answer '{answer}' is none of the options"
    return replace(sample, check=check, answer=answer, problem=sample.problem or other)


def lettered_lines(question: str) -> list[str]:
    """Give the lines of a question that are its options: `B. from right to left`."""
    return [found[0] for found in _LETTERED.finditer(question)]


def yes_or_no(reply: str) -> tuple[str | None, str]:
    """Read a reply as yes or no.

    Returns:
        `yes`, `no` or None, and the name of the rule that decided.
    """
    void = void_reason(reply)
    if void is not None:
        return None, void
    words = plain_words(reply).split()
    if words and words[0] in _FIRST_WORDS:
        return _FIRST_WORDS[words[0]], "first word"
    said = {word for word in words if word in ("yes", "no")}
    return (said.pop(), "only one of the two words") if len(said) == 1 else (None, UNPARSED)


def released_yes_no(reply: str) -> str | None:
    """Read a reply as the released rule does: by how it begins, so that `noon` is a no."""
    for word in ("yes", "no"):
        if reply.lower().startswith(word):
            return word
    return None


def released_choice(reply: str, candidates: Sequence[str]) -> str | None:
    """Give the letter the released rule reads: the whole option, the letter, or one with `.` or `)`."""
    lettered = {f"{letter}. {text}": letter for letter, text in zip("ABCD", candidates, strict=False)}
    if reply in lettered:
        return lettered[reply]
    if reply in _RELEASED_LETTERS or reply[:2] in {f"{letter}{mark}" for letter in "ABCD" for mark in ".)"}:
        return reply[0]
    return None


def caption_letter(reply: str, question: str, candidates: Sequence[str]) -> Reading:
    """Read which caption a reply names: by its name or number in the question, by letter, or by its text."""
    text = plain_text(reply)
    marks = [found["mark"] for found in _LABELLED.finditer(question)]
    found = re.match(r"\W*(?:(?:Caption|Option|Sentence)\s+)?(\w)\b", text, re.IGNORECASE)
    if found and found[1] in marks and found[1].isdigit():
        return Reading(marks.index(found[1]), "number in front")
    told = re.findall(r"\b(?:is|caption|option|sentence|answer:?)\s+(\d)\b", text, re.IGNORECASE)
    if told and set(told) <= set(marks):
        places = {marks.index(mark) for mark in told}
        return Reading(places.pop(), "number announced") if len(places) == 1 else Reading(None, "several")
    return read_choice(re.sub(r"\b(?:Caption|Sentence)\s+(?=\w\b)", "Option ", reply), candidates)


def released_caption(reply: str, question: str, candidates: Sequence[str]) -> str | None:
    """Give the caption the released rule reads; None where it would ask a judge."""
    for found, text in zip(_LABELLED.finditer(question), candidates, strict=True):
        sentence = reply.split(") ")[1] if ") " in reply else reply
        names = (found[0], found["name"], found["mark"], text)
        if reply in names or reply.replace(".", "") in names or sentence == text:
            return text
    return None


SIZES = {"multi-choice": 1580, "yes_no": 2453, "caption_matching": 1503, "captioning": 2004}
"""Ways of asking, by the name of their file, and the number of questions."""
KINDS = {
    "multi-choice": "lettered choice",
    "yes_no": "yes or no",
    "caption_matching": "caption",
    "captioning": "description",
}
"""Kinds of samples; a description can only be read by a judge."""
PROMPT_ENDS = {
    "multi-choice": "\nPlease directly give the best option:",
    "yes_no": "\nPlease answer yes or no:",
    "caption_matching": "\nPlease directly give the best option:",
    "captioning": "",
}
"""What the benchmark's own script puts behind each question."""
_LETTERED = re.compile(r"^(?P<letter>[A-Z])\. (?P<text>.*)$", re.MULTILINE)
_FIRST_WORDS = {"yes": "yes", "yeah": "yes", "yep": "yes", "y": "yes", "no": "no", "nope": "no", "n": "no"}
_RELEASED_LETTERS = frozenset("ABCD")
