"""What is written around the video. The released prompts are held by tests/parity/test_prompts.py."""

import pytest

from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.prompt import (
    CHOICE_SYSTEM,
    PROMPT_FORMATS,
    Prompt,
    answer_ids,
    chat_prompt,
    choice_prompt,
    clean_reply,
    question_ids,
    text_ids,
    training_prompt,
)
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.micro import WORDS, micro_config

TOKENIZER = word_tokenizer(WORDS)
HISTORY = [("What moves?", "The ball."), ("What color?", "Red.")]


def test_instructblip_puts_the_video_before_everything() -> None:
    prompt = chat_prompt("instructblip", "What moves?")
    assert prompt == Prompt("", "###Human: What moves? ###Assistant: ", False, "What moves?")


def test_minigpt4_puts_the_video_into_the_turn() -> None:
    prompt = chat_prompt("minigpt4", "What moves?")
    assert prompt.before == "###Human: <Video>"
    assert prompt.after == "</Video> What moves?###Assistant: "
    assert prompt.opens_with_bos


@pytest.mark.parametrize("name", PROMPT_FORMATS)
def test_system_message_comes_first(name: str) -> None:
    said = PROMPT_FORMATS[name].system
    prompt = chat_prompt(name, "What moves?", system=True)
    assert (prompt.before + prompt.after).startswith(said + "###Human: ")


def test_released_minigpt4_chat_writes_earlier_turns_in_order() -> None:
    prompt = chat_prompt("minigpt4", "Where?", history=HISTORY, released=True)
    said = ["What moves?", "The ball.", "What color?", "Red.", "Where?"]
    places = [prompt.after.index(text) for text in said]
    assert places == sorted(places)
    assert prompt.after.endswith("###Assistant: ")
    assert prompt.question == "Where?"


def test_released_instructblip_chat_knows_the_first_question_only() -> None:
    prompt = chat_prompt("instructblip", "Where?", history=HISTORY, released=True)
    assert prompt.after == "###Human: What moves? ###Assistant: "


def test_ids_of_a_prompt_that_opens_with_the_video() -> None:
    config = micro_config()
    ids = Prompt("", "What moves", False, "").ids(TOKENIZER, config)
    assert ids == [VIDEO_TOKEN_ID, config.bos_token_id, *text_ids(TOKENIZER, "What moves")]


def test_ids_of_a_prompt_that_opens_with_text() -> None:
    config = micro_config()
    ids = Prompt("What", "moves", True, "").ids(TOKENIZER, config)
    before, after = text_ids(TOKENIZER, "What"), text_ids(TOKENIZER, "moves")
    assert ids == [config.bos_token_id, *before, VIDEO_TOKEN_ID, *after]


def test_language_models_without_an_opening_token_get_none() -> None:
    config = micro_config(bos_token_id=None)
    assert Prompt("", "What", False, "").ids(TOKENIZER, config) == [
        VIDEO_TOKEN_ID,
        *text_ids(TOKENIZER, "What"),
    ]


def test_answer_ends_the_text() -> None:
    config = micro_config()
    assert answer_ids(TOKENIZER, config, "The ball ") == [
        *text_ids(TOKENIZER, "The ball"),
        config.eos_token_id,
    ]


def test_answer_ends_with_the_first_of_several_ends() -> None:
    config = micro_config(eos_token_id=[1, 2])
    assert answer_ids(TOKENIZER, config, "The ball")[-1] == 1


def test_long_answers_are_cut() -> None:
    config = micro_config(max_text_length=3)
    assert answer_ids(TOKENIZER, config, "The red ball moves") == text_ids(TOKENIZER, "The red ball")


def test_minigpt4_answers_end_in_hashes() -> None:
    config = micro_config(prompt_format="minigpt4")
    ids = answer_ids(TOKENIZER, config, "The ball")
    assert ids == text_ids(TOKENIZER, "The ball###")
    assert config.eos_token_id not in ids


def test_questions_are_padded_and_cut() -> None:
    config = micro_config(max_text_length=2)
    ids, mask = question_ids(TOKENIZER, config, ["What moves first", "What"])
    assert ids.shape == mask.shape == (2, 2)
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_training_and_chat_ask_alike() -> None:
    trained = training_prompt("instructblip", "What moves?")
    assert trained.after == chat_prompt("instructblip", "What moves?").after


def test_instruction_stands_before_the_question() -> None:
    prompt = training_prompt("instructblip", "What moves?", instruction="Watch.")
    assert prompt.after == "###Human: Watch. What moves? ###Assistant: "
    assert prompt.question == "Watch. What moves?"
    other = training_prompt("minigpt4", "What moves?", instruction="Watch.")
    assert other.before == "Watch. ###Human: <Video>"


def test_pictures_are_called_pictures() -> None:
    prompt = training_prompt("minigpt4", "What is it?", picture=True)
    assert prompt.before.endswith("<Image>")
    assert prompt.after.startswith("</Image>")


def test_multiple_choice_begins_the_answer() -> None:
    prompt = choice_prompt("Question: Where?\nOptions:\n(A) left\n(B) right")
    assert prompt.after.startswith(f"###Human: {CHOICE_SYSTEM}Question: Where?")
    assert prompt.after.endswith("Only give the best option.\n###Assistant: Best option:(")
    assert "Carefully" not in prompt.question


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("The ball.", "The ball."),
        ("  The ball.  ", "The ball."),
        ("The ball.###Human: more", "The ball."),
        ("###Assistant: The ball.", ""),
        ("Assistant: The ball.", "The ball."),
        ("", ""),
    ],
)
def test_replies_are_cleaned(text: str, cleaned: str) -> None:
    assert clean_reply(text) == cleaned
