from pathlib import Path
from random import Random

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from st_llm_cli.model.prompt import CHOICE_SYSTEM, choice_prompt
from st_llm_cli.shapes import questions
from st_llm_cli.shapes.world import make_picture, make_scene
from st_llm_cli.training.data.shapes import choice_text, exact_place, shapes_vocabulary
from st_llm_cli.training.tokenizer import word_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer(shapes_vocabulary())


@pytest.mark.parametrize(
    "text",
    [
        "It moves left.",
        "A red circle moves left and then stops. An orange star stays still.",
        "What does the red circle do first?",
        "B) It moves up.",
        "(A) yes",
        "Column 3, row 8.",
        "###Human: Is there a blue star? ###Assistant: yes",
    ],
)
def test_text_comes_back_as_it_was_written(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_roles_are_one_token_each(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer("###Human: ###Assistant: ")["input_ids"]) == 2


def test_a_word_it_does_not_know_is_marked(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("What does the elephant do?")["input_ids"]
    assert ids.count(tokenizer.unk_token_id) == 1


def test_every_text_of_the_world_is_known(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [CHOICE_SYSTEM]
    for seed in range(60):
        rng = Random(seed)
        for scene, table in (
            (make_scene(seed), questions.QUESTION_KINDS),
            (make_picture(seed), questions.IMAGE_QUESTION_KINDS),
        ):
            asked = [question for kind in table.values() if (question := kind(scene, rng)) is not None]
            options = [questions.with_options(question, scene, rng) for question in asked]
            texts += [text for question in asked for text in (question.text, question.answer)]
            texts += [choice_prompt(choice_text(each)).after for each in options if each is not None]
        task = exact_place(make_picture(seed), rng)
        texts += [task.question, task.answer]
    unknown = [text for text in texts if tokenizer.unk_token_id in tokenizer(text)["input_ids"]]
    assert not unknown


def test_saved_tokenizer_reads_and_writes_the_same(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "###Human: What color is the star? ###Assistant: red"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert (loaded.pad_token_id, loaded.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id)
