"""Answers to many questions at once are those to each alone, whatever the batch and whatever is shared."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from st_llm_cli.model import many
from st_llm_cli.model.answer import encode, generate
from st_llm_cli.model.decoding import Sight
from st_llm_cli.model.many import Prefix, Row, choose_all, read_prefix, write_all
from st_llm_cli.model.prompt import Prompt, chat_prompt
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from tests.micro import WORDS, micro_frames, micro_model

NUM_QUESTIONS = 9
NEW_TOKENS = 12
Made = tuple[StllmForConditionalGeneration, Tokenizers, list[Prompt], list[Row]]


def questions(count: int = NUM_QUESTIONS) -> list[str]:
    """Questions of different lengths."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=3 + 2 * number)) for number in range(count)]


def ready(*, clips: int = 1, seed: int = 0, **settings: Any) -> Made:
    """Questions about one clip, or about several in turn."""
    model, tokenizers = micro_model(seed=seed, **settings)
    prompts = [chat_prompt("plain", text) for text in questions()]
    sights = [
        Sight(encode(model, tokenizers, prompts[0], frames=micro_frames(number)[None])[0])
        for number in range(clips)
    ]
    ids = [tuple(prompt.ids(tokenizers.language, model.config)) for prompt in prompts]
    return model, tokenizers, prompts, [Row(own, sights[n % clips]) for n, own in enumerate(ids)]


def written(made: Made, size: int, prefix: Prefix | None) -> list[list[int]]:
    model, tokenizers, _, rows = made
    batches = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
    return [
        reply.ids
        for batch in batches
        for reply in write_all(model, tokenizers, batch, [NEW_TOKENS] * len(batch), prefix)
    ]


def alone(made: Made) -> list[list[int]]:
    model, tokenizers, prompts, rows = made
    return [
        generate(model, tokenizers, prompt, [row.sight.tokens], max_new_tokens=NEW_TOKENS).ids
        for prompt, row in zip(prompts, rows, strict=True)
    ]


@pytest.mark.parametrize("language", ["llama", "qwen3"])
@pytest.mark.parametrize("seed", range(3))
def test_batch_of_any_size_writes_what_generate_writes(seed: int, language: str) -> None:
    made = ready(clips=4, seed=seed, language=language)
    expected = alone(made)
    assert len(set(map(tuple, expected))) > 1
    for size in (1, 3, 8):
        assert written(made, size, None) == expected


@pytest.mark.parametrize("seed", range(3))
def test_what_rows_have_in_common_is_read_once_and_changes_nothing(
    seed: int,
) -> None:
    made = ready(seed=seed)
    expected = alone(made)
    model, _, _, rows = made
    prefix = read_prefix(model, rows)
    assert prefix is not None and prefix.length >= len(rows[0].sight.tokens)
    seen: list[int] = []
    decoder = model.language_model.get_decoder()
    decoder.register_forward_pre_hook(
        lambda _, arguments, named: seen.append(named["inputs_embeds"].shape[1]), with_kwargs=True
    )
    shared = [written(made, size, prefix) for size in (1, 3, 8)]
    longest = max(len(row.ids) for row in rows)
    assert max(seen) == longest - len(prefix.ids)  # no row was read from its beginning
    assert shared == [expected] * 3


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("share", [True, False])
def test_letters_chosen_do_not_depend_on_the_batch(share: bool, size: int) -> None:
    model, tokenizers, _, rows = ready()
    prefix = read_prefix(model, rows) if share else None
    letters = ["123", "12", "1"] * 3
    expected = []
    for row, own in zip(rows, letters, strict=True):
        logits = model(torch.tensor([row.ids]), frames=micro_frames(0)[None]).logits[0]
        ids = [tokenizers.language(letter, add_special_tokens=False)["input_ids"][-1] for letter in own]
        expected.append(int(logits[ids].argmax()))
    found = [
        option
        for begin in range(0, len(rows), size)
        for option in choose_all(
            model, tokenizers, rows[begin : begin + size], letters[begin : begin + size], prefix
        )
    ]
    assert found == expected
    assert len(set(expected)) > 1


def test_rounding_errors_of_a_batch_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ready(clips=4)
    expected = alone(made)
    read = many._Reading._read
    noise = torch.Generator().manual_seed(0)

    def shaken(self: Any, model: Any, embeds: Tensor, numbers: Tensor) -> Tensor:
        hidden = read(self, model, embeds, numbers)
        return hidden + torch.randn(hidden.shape, generator=noise) * 0.02

    monkeypatch.setattr(many._Reading, "_read", shaken)
    monkeypatch.setattr(many, "NEAR", {torch.float32: 0.0})
    assert written(made, 3, None) != expected  # else this test would show nothing
    monkeypatch.setattr(many, "NEAR", {torch.float32: 2.0})
    assert written(made, 3, None) == expected


def test_a_question_by_itself_is_read_once_however_near_its_letters_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(many.NEAR, torch.float32, 1e9)
    model, tokenizers, _, rows = ready()
    read: list[int] = []
    decoder = model.language_model.get_decoder()
    decoder.register_forward_pre_hook(
        lambda _, arguments, named: read.append(named["inputs_embeds"].shape[0]), with_kwargs=True
    )
    single = [choose_all(model, tokenizers, [row], ["123"])[0] for row in rows]
    assert read == [1] * len(rows)
    read.clear()
    assert choose_all(model, tokenizers, rows, ["123"] * len(rows)) == single
    assert read == [len(rows)] + [1] * len(rows)  # together, and each again


def test_language_model_that_knows_no_places_reads_rows_of_one_length_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = ready(clips=4)
    expected = alone(made)
    made[0].config.text_config.sliding_window = 64
    widths: list[Any] = []
    read = many._Reading._read

    def watch(self: Any, *arguments: Any) -> Tensor:
        widths.append(self.mask)
        return read(self, *arguments)

    monkeypatch.setattr(many._Reading, "_read", watch)
    assert written(made, 8, None) == expected
    assert widths and all(mask is None for mask in widths)


def test_rows_about_several_clips_share_nothing() -> None:
    model, _, _, rows = ready(clips=2)
    assert read_prefix(model, rows) is None
    assert read_prefix(model, rows[:1]) is None


def test_letters_that_are_one_token_cannot_be_scored() -> None:
    model, tokenizers, _, rows = ready()
    with pytest.raises(ValueError, match="does not tell the option letters apart"):
        choose_all(model, tokenizers, rows[:1], ["XY"])  # both unknown
