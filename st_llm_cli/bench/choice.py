"""Multiple-choice questions as MVBench writes them, and what the released script makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from st_llm_cli.bench.files import Row, name_problem, part_problem, text_in
from st_llm_cli.bench.sample import LETTERS, Media, Sample
from st_llm_cli.errors import DataError


def question_block(question: str, candidates: Sequence[str]) -> str:
    """Write a question with its lettered options, a line each, as the released model learned to read it."""
    lines = [f"Question: {question}", "Options:"]
    lines += [f"({letter}) {text}" for letter, text in zip(LETTERS, candidates, strict=False)]
    return "\n".join(lines).rstrip()


def lmms_eval_block(question: str, candidates: Sequence[str]) -> str:
    """Write a question with its lettered options and its one instruction as lmms-eval writes them."""
    options = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, candidates, strict=False))
    return f"Question:{question}\nOption:\n{options}\nOnly give the best option.\n"


@dataclass(frozen=True)
class PromptStyle:
    """How an evaluation program puts a multiple-choice question."""

    about: str
    """One line."""
    block: Callable[[str, Sequence[str]], str]
    """Writes a question with its options."""
    max_new_tokens: int | None = None
    """Longest answer that the program lets be written; None: the benchmark's own number."""


def candidates_in(row: Row, where: str) -> tuple[str, ...]:
    """Take the options out of a row.

    Raises:
        DataError: If there are none, more than letters, or they are not texts.
    """
    found = row.get("candidates")
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        what = "'candidates' is not a list of texts" if "candidates" in row else "'candidates' is missing"
        raise DataError(what, where=where, fix=f"the row has {', '.join(row) or 'nothing'}")
    if not 1 <= len(found) <= len(LETTERS):
        raise DataError(f"has {len(found)} candidates", where=where, fix="1 to 26 are needed")
    return tuple(found)


def choice_sample(id: str, task: str, row: Row, media: Sequence[Media], where: str) -> Sample:
    """Make a sample of a row of `question`, `candidates` and `answer`.

    Args:
        id: The sample's.
        task: The sample's.
        row: The row.
        media: Clips it is about.
        where: File and row, for errors.

    Raises:
        DataError: If one of the three is missing or of another type.
    """
    question, answer = text_in(row, "question", where), text_in(row, "answer", where)
    candidates = candidates_in(row, where)
    problem = next(filter(None, map(_media_problem, media)), None)
    if answer not in candidates:
        problem = f"its answer '{answer}' is none of the candidates"
    prompt = question_block(question, candidates)
    return Sample(id, task, "choice", tuple(media), question, prompt, answer, candidates, problem=problem)


def _media_problem(media: Media) -> str | None:
    # MVBench had a row from 7.5 s to 7.5 s until June 2024, which is no reason to refuse the rest.
    return name_problem(media.name) or part_problem(media.start_seconds, media.end_seconds)


def options_prompt(sample: Sample) -> str:
    """Give the question with its options as a model is asked that only names a letter.

    One form for all benchmarks, the one released models were trained on, whatever their own scripts write.
    """
    if sample.kind in ("choice", "pair"):
        return sample.prompt
    # The other kinds list their options in the question's own lines, if at all.
    return question_block(sample.question.split("\n")[0], sample.candidates)


def option_reply(sample: Sample, option: int) -> str:
    """Write the reply that names an option in the way the sample's scorers read, strict and released."""
    letter, text = sample.letters[option], sample.candidates[option]
    # The released prompt opens the bracket itself: `Best option:(`.
    return {"choice": f"{letter}) {text}", "lettered choice": f"{letter}. {text}", "pair": letter}.get(
        sample.kind, text
    )


PROMPT_STYLES = {
    "released": PromptStyle("ST-LLM's published script: one turn, the answer begun", question_block),
    "videochat2": PromptStyle("VideoChat2 (Ask-Anything): a turn for the video before it", question_block),
    "vlmevalkit": PromptStyle("VLMEvalKit: the system message in front only", question_block),
    "lmms-eval": PromptStyle(
        "lmms-eval: no system message, the answer not begun, 16 tokens", lmms_eval_block, 16
    ),
}
"""Styles of `--prompt-style`; what stands around the question is the model's matter (`CHOICE_STYLES`)."""
