"""Many questions to a model: which are answered together, and what is looked at or read once for several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from st_llm_cli.model import answer as answering
from st_llm_cli.model.choice_styles import styled_choice
from st_llm_cli.model.decoding import Sight
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.many import Prefix, Row, choose_all, read_prefix, write_all
from st_llm_cli.model.prompt import Prompt
from st_llm_cli.stages.question import Answer, Question

if TYPE_CHECKING:
    from torch import Tensor

    from st_llm_cli.stages.video_model import VideoModel


def answer_all(model: VideoModel, questions: Sequence[Question], batch_size: int) -> Iterator[Answer]:
    """Answer questions; see `VideoModel.answer_all`."""
    looked = {
        identity: model.looked(clip)
        for identity, clip in {id(question.clip): question.clip for question in questions}.items()
    }
    together = [question for question in questions if not _needs_more(model, question)]
    answers = _in_batches(model, together, looked, batch_size)
    for question in questions:
        if _needs_more(model, question):
            yield _by_itself(model, question, looked[id(question.clip)])
        else:
            yield next(answers)


def _in_batches(
    model: VideoModel, questions: Sequence[Question], looked: dict[int, dict[str, Tensor]], batch_size: int
) -> Iterator[Answer]:
    rows = _rows(model, questions, looked)
    prefix = read_prefix(model.model, rows)
    for begin in range(0, len(rows), batch_size):
        batch = slice(begin, begin + batch_size)
        yield from _batch(model, questions[batch], rows[batch], prefix)


def _batch(
    model: VideoModel, questions: Sequence[Question], rows: Sequence[Row], prefix: Prefix | None
) -> list[Answer]:
    """Answer questions together, those with letters and those without each among themselves."""
    choosing = [number for number, question in enumerate(questions) if question.letters]
    writing = [number for number, question in enumerate(questions) if not question.letters]
    answers: dict[int, Answer] = {}
    if choosing:
        own, letters = [rows[number] for number in choosing], [questions[n].letters for n in choosing]
        options = choose_all(model.model, model.tokenizers, own, letters, prefix)
        answers.update(zip(choosing, options, strict=True))
    if writing:
        own, most = [rows[number] for number in writing], [questions[n].max_new_tokens for n in writing]
        replies = write_all(model.model, model.tokenizers, own, most, prefix)
        answers.update((number, reply.text) for number, reply in zip(writing, replies, strict=True))
    return [answers[number] for number in range(len(questions))]


def _rows(
    model: VideoModel, questions: Sequence[Question], looked: dict[int, dict[str, Tensor]]
) -> list[Row]:
    """Write questions down, and look at their clips with them in mind where the model does."""
    sights: dict[int, Sight] = {}
    rows = []
    for question in questions:
        prompt, clip = _prompt_of(model, question), id(question.clip)
        if clip not in sights or model.model.config.reads_question:
            sights[clip] = Sight(model.encoded(looked[clip], prompt))
        ids = prompt.ids(model.tokenizers.language, model.model.config)
        new = 1 if question.letters else question.max_new_tokens
        model.check_length(len(ids) - 1, len(sights[clip].tokens), new)
        rows.append(Row(tuple(ids), sights[clip]))
    return rows


def _prompt_of(model: VideoModel, question: Question) -> Prompt:
    if question.style is None:
        return model.chat_prompt(question.text)
    letter_next, name = bool(question.letters), model.model.config.prompt_format
    return styled_choice(question.style, name, question.text, letter_next=letter_next)


def _needs_more(model: VideoModel, question: Question) -> bool:
    """Whether writing the answer takes more than the likeliest word at each step."""
    released = question.style is None and model.model.config.compat == "released"
    return not question.letters and (question.num_beams > 1 or released)


def _by_itself(model: VideoModel, question: Question, looked: dict[str, Tensor]) -> str:
    prompt = _prompt_of(model, question)
    generation = Generation(max_new_tokens=question.max_new_tokens, num_beams=question.num_beams)
    if question.style is None:
        return model.written(looked, prompt, generation)
    video, options = [model.encoded(looked, prompt)], generation.for_transformers()
    return answering.generate(model.model, model.tokenizers, prompt, video, **options).text
