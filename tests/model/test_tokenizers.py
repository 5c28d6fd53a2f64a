import shutil
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.tokenizers import (
    Tokenizers,
    any_language_tokenizer,
    load_tokenizers,
    question_tokenizer,
    released_tokenizers,
    save_tokenizers,
)
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.micro import WORDS, micro_config
from tests.parity.golden import golden_folder

SOURCE = golden_folder() / "tiny_instructblip_vicuna0"
BERT = SOURCE / "bert_tokenizer"
TEXT = "What does the person do? yes </s> ###Assistant: "


def test_nothing_is_lost_on_disk(tmp_path: Path) -> None:
    tokenizers = released_tokenizers(SOURCE, True, BERT)
    save_tokenizers(tokenizers, tmp_path)
    again = load_tokenizers(tmp_path, micro_config(reads_question=True))
    assert again.language(TEXT)["input_ids"] == tokenizers.language(TEXT)["input_ids"]
    assert again.question(TEXT)["input_ids"] == tokenizers.question(TEXT)["input_ids"]
    assert again.question.truncation_side == "left"
    assert len(again.question) == len(tokenizers.question)


def test_question_free_models_have_no_second_tokenizer(tmp_path: Path) -> None:
    save_tokenizers(released_tokenizers(SOURCE, False, None), tmp_path)
    assert load_tokenizers(tmp_path, micro_config()).question is None
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_released_padding_token_comes_last() -> None:
    with_pad = released_tokenizers(SOURCE, True, BERT).language
    without = released_tokenizers(SOURCE, False, None).language
    assert with_pad.pad_token_id == len(with_pad) - 1 == len(without)


def test_questions_lose_their_beginning_when_cut() -> None:
    tokenizer = question_tokenizer(SOURCE, BERT)
    whole = tokenizer(TEXT)["input_ids"]
    cut = tokenizer(TEXT, truncation=True, max_length=len(whole) - 2)["input_ids"]
    assert cut == [whole[0], *whole[3:]]


def test_decoder_token_is_added_once(tmp_path: Path) -> None:
    tokenizer = question_tokenizer(SOURCE, BERT)
    tokenizer.save_pretrained(tmp_path)
    again = question_tokenizer(SOURCE, tmp_path)
    assert len(again) == len(tokenizer)
    assert again.convert_tokens_to_ids("[DEC]") == len(tokenizer) - 1


def test_missing_question_tokenizer_is_asked_for() -> None:
    with pytest.raises(CheckpointError, match=r"give `bert_tokenizer`, a folder with vocab.txt"):
        question_tokenizer(SOURCE, None)


def test_folder_without_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer: neither tokenizer.model nor tokenizer.json"):
        released_tokenizers(tmp_path, False, None)


def test_damaged_tokenizer(tmp_path: Path) -> None:
    shutil.copytree(BERT, tmp_path / "bert")
    save_tokenizers(Tokenizers(word_tokenizer(WORDS), None), tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="no usable tokenizer: ") as raised:
        load_tokenizers(tmp_path, micro_config())
    assert raised.value.where == str(tmp_path)


def test_missing_tokenizer_of_a_question_aware_checkpoint(tmp_path: Path) -> None:
    save_tokenizers(Tokenizers(word_tokenizer(WORDS), None), tmp_path)
    with pytest.raises(CheckpointError, match="no usable tokenizer: ") as raised:
        load_tokenizers(tmp_path, micro_config(reads_question=True))
    assert raised.value.where == str(tmp_path / "qformer_tokenizer")


def test_tokenizer_that_never_ends_a_text(tmp_path: Path) -> None:
    backend = word_tokenizer(WORDS).backend_tokenizer
    PreTrainedTokenizerFast(tokenizer_object=backend).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="the tokenizer has no end-of-sequence token"):
        any_language_tokenizer(tmp_path)


def test_padding_token_of_its_own_is_kept(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(WORDS)
    tokenizer.save_pretrained(tmp_path)
    found = any_language_tokenizer(tmp_path)
    assert (found.pad_token, len(found)) == (tokenizer.pad_token, len(tokenizer))
