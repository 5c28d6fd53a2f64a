from typing import Any

import torch
from torch import Tensor

from st_llm_cli.model import answer as answering
from st_llm_cli.model.answer import StopAfter, encode, generate, stop_sequences
from st_llm_cli.model.prompt import Prompt, chat_prompt, text_ids
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from tests.micro import micro_frames, micro_model

Made = tuple[StllmForConditionalGeneration, Tokenizers, Prompt, list[Tensor]]


def ready(seed: int = 0, question: str = "What moves first ?", **settings: Any) -> Made:
    model, tokenizers = micro_model(seed=seed, **settings)
    prompt = chat_prompt("plain", question)
    return model, tokenizers, prompt, encode(model, tokenizers, prompt, frames=micro_frames()[None])


def test_reply_is_the_decoded_ids() -> None:
    model, tokenizers, prompt, video = ready()
    reply = generate(model, tokenizers, prompt, video, max_new_tokens=12, stop=[])
    assert 1 <= len(reply.ids) <= 12
    assert reply.text == answering.reply_text(model, tokenizers, reply.ids)


def test_question_is_looked_for_by_a_qformer_that_reads_it() -> None:
    model, tokenizers, _, video = ready(reads_question=True)
    other = encode(model, tokenizers, chat_prompt("plain", "How many objects ?"), frames=micro_frames()[None])
    assert not torch.allclose(video[0], other[0], atol=1e-2)
    question_free = ready()
    same = encode(
        question_free[0], question_free[1], chat_prompt("plain", "How many ?"), frames=micro_frames()[None]
    )
    assert torch.equal(question_free[3][0], same[0])


def test_what_is_too_long_loses_its_beginning_on_request() -> None:
    model, tokenizers, prompt, video = ready()
    seen: list[int] = []
    continue_from = model.continue_from

    def watch(embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        seen.append(embeds.shape[1])
        return continue_from(embeds, mask, **options)

    model.continue_from = watch  # type: ignore[method-assign]
    generate(model, tokenizers, prompt, video, max_new_tokens=4, max_length=14)
    generate(model, tokenizers, prompt, video, max_new_tokens=4)
    assert seen[0] == 10
    assert seen[1] > 14


def test_rows_stop_each_at_its_own_ending() -> None:
    stop = StopAfter([[7], [8, 9]])
    rows = torch.tensor([[1, 2, 7], [1, 8, 9], [8, 9, 1], [1, 2, 9]])
    assert stop(rows, None).tolist() == [True, True, False, False]


def test_hashes_alone_and_after_a_word_stop_an_answer() -> None:
    model, tokenizers = micro_model()
    endings = stop_sequences(tokenizers.language, model.config)
    assert text_ids(tokenizers.language, "###") in endings
