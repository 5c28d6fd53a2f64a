from typing import Any

import pytest

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.chat_template import NAME, read_marks
from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig
from st_llm_cli.model.prompt import (
    PROMPT_FORMATS,
    answer_end_ids,
    answer_ids,
    chat_prompt,
    choice_prompt,
    training_prompt,
    turn_ids,
)
from st_llm_cli.training.tokenizer import byte_tokenizer, chat_tokenizer

QUESTION = "<Video>VIDEO</Video> What moves?"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return chat_tokenizer()


@pytest.fixture(scope="module")
def config(tokenizer: Any) -> StllmConfig:
    marks, end = read_marks(tokenizer, "here")
    return StllmConfig(prompt_format=NAME, chat_marks=marks, eos_token_id=[end])


def templated(tokenizer: Any, *said: str) -> str:
    """A conversation as the tokenizer itself writes it, up to where the next answer begins."""
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def written(tokenizer: Any, ids: list[int]) -> str:
    place = ids.index(VIDEO_TOKEN_ID)
    text: str = tokenizer.decode(ids[:place]) + "VIDEO" + tokenizer.decode(ids[place + 1 :])
    return text


def test_a_question_is_what_the_template_writes(tokenizer: Any, config: StllmConfig) -> None:
    for prompt in (chat_prompt(NAME, "What moves?", system=True), training_prompt(NAME, "What moves?")):
        assert written(tokenizer, prompt.ids(tokenizer, config)) == templated(tokenizer, QUESTION)


def test_a_multiple_choice_question_shows_the_video_in_the_turn(tokenizer: Any, config: StllmConfig) -> None:
    text = written(tokenizer, choice_prompt("Which?").ids(tokenizer, config))
    head, _, asked = text.partition("VIDEO")
    assert head == "<|im_start|>user\n<Video>" and "###" not in text
    assert asked.endswith("give the best option.<|im_end|>\n<|im_start|>assistant\nBest option:(")


def test_an_instruction_stands_in_the_turn(tokenizer: Any, config: StllmConfig) -> None:
    prompt = training_prompt(NAME, "What moves?", instruction="Watch.")
    text = written(tokenizer, prompt.ids(tokenizer, config))
    assert text == templated(tokenizer, f"Watch. {QUESTION}")


def test_a_conversation_is_what_the_template_writes(tokenizer: Any, config: StllmConfig) -> None:
    ids = turn_ids(tokenizer, config, "What moves?", first=True, clips=1)
    ids += answer_ids(tokenizer, config, "A dog.")
    ids += turn_ids(tokenizer, config, "Where to?", first=False)
    assert written(tokenizer, ids) == templated(tokenizer, QUESTION, "A dog.", "Where to?")
    assert answer_end_ids(config) == [tokenizer.eos_token_id]


def test_two_clips_stand_in_one_turn(tokenizer: Any, config: StllmConfig) -> None:
    ids = turn_ids(tokenizer, config, "Same?", first=True, clips=2)
    assert ids.count(VIDEO_TOKEN_ID) == 2
    text = tokenizer.decode([each for each in ids if each != VIDEO_TOKEN_ID])
    assert text == templated(tokenizer, "<Video></Video> <Video></Video> Same?")


def test_a_default_system_message_opens_the_conversation(tokenizer: Any) -> None:
    other = chat_tokenizer()
    other.chat_template = "<|im_start|>system\nBe kind.<|im_end|>\n" + other.chat_template
    marks, _ = read_marks(other, "here")
    assert marks["first"] == "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n"
    assert marks["later"] == "\n<|im_start|>user\n"


def test_models_without_a_template_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no chat template .*Instruct"):
        read_marks(byte_tokenizer(), "here")


def test_a_template_that_drops_turns_is_refused(tokenizer: Any) -> None:
    other = chat_tokenizer()
    other.chat_template = "{{ messages[-1].content }}<|im_end|>"
    with pytest.raises(CheckpointError, match="does not write turns one after the other"):
        read_marks(other, "here")


def test_every_format_says_what_it_is() -> None:
    assert all(style.about for style in PROMPT_FORMATS.values())
