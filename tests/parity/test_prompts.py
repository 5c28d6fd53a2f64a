"""The released prompts, token for token, and replies decoded letter for letter."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.bench.released import first_words_agree
from st_llm_cli.model.answer import RELEASED_MAX_LENGTH
from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig
from st_llm_cli.model.official import import_released
from st_llm_cli.model.prompt import (
    PROMPT_FORMATS,
    Prompt,
    answer_ids,
    chat_prompt,
    choice_prompt,
    text_ids,
    training_prompt,
)
from st_llm_cli.model.released_reply import released_reply
from st_llm_cli.model.tokenizers import load_tokenizers
from tests.parity.golden import golden_folder, recorded

MODES = {"instructblip": "tiny_instructblip_vicuna0", "minigpt4": "tiny_minigpt4_vicuna0_btadapter"}
PROMPTS = recorded("prompts")
FACTS: dict[str, Any] = json.loads((PROMPTS / "facts.json").read_text(encoding="utf-8"))
Mode = tuple[Any, StllmConfig]


def rows(name: str) -> list[Any]:
    content: list[Any] = json.loads((PROMPTS / f"{name}.json").read_text(encoding="utf-8"))
    assert content, f"no rows in {name}.json"
    return content


def probes() -> list[tuple[str, dict[str, Any]]]:
    content = json.loads((PROMPTS / "tokenizer_probe.json").read_text(encoding="utf-8"))
    return [(mode, sample) for mode in MODES for sample in content[mode]["samples"]]


@pytest.fixture(scope="module")
def modes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mode]:
    """The tokenizer and configuration of each set-up, as an import leaves them."""
    loaded = {}
    for mode, name in MODES.items():
        source, folder = golden_folder() / name, tmp_path_factory.mktemp(mode) / "model"
        if not source.is_dir():
            pytest.skip(f"no {name}, whose tokenizer the prompts were recorded with, in {golden_folder()}")
        import_released(source, folder, name.removeprefix("tiny_"), bert_tokenizer=source / "bert_tokenizer")
        config = StllmConfig.from_pretrained(folder)
        loaded[mode] = (load_tokenizers(folder, config).language, config)
    return loaded


def segments(prompt: Prompt) -> list[str]:
    return [text for text in (prompt.before, prompt.after) if text]


def id_segments(prompt: Prompt, mode: Mode) -> list[list[int]]:
    ids = prompt.ids(*mode)
    place = ids.index(VIDEO_TOKEN_ID)
    return [part for part in (ids[:place], ids[place + 1 :]) if part]


@pytest.mark.parametrize("row", rows("mvbench"))
def test_multiple_choice(row: dict[str, Any], modes: dict[str, Mode]) -> None:
    prompt = choice_prompt(
        row["qa_template_question"],
        system_in_question=row["system_llm"],
        question_end=row["question_prompt"],
        answer_start=row["answer_prompt"],
        video_in_own_turn=not row["ask_simple"],
    )
    assert segments(prompt) == [segment["text"] for segment in row["segments"]]
    assert prompt.question == row["qformer_text"]
    if "input_ids" in row["segments"][0]:
        expected = [segment["input_ids"] for segment in row["segments"]]
        assert id_segments(prompt, modes[row["tokenizer_mode"]]) == expected


@pytest.mark.parametrize("row", rows("chat"))
def test_chat(row: dict[str, Any], modes: dict[str, Mode]) -> None:
    history = list(zip(row["turns"], row["previous_answers"], strict=False))
    # Talking about a still picture, the released code puts another message in front.
    about_picture = row["conv"] == "CONV_VISION_Vicuna0"
    prompt = chat_prompt(
        row["tokenizer_mode"],
        row["turns"][-1],
        system=row["system"],
        message=FACTS["conversations"][row["conv"]]["system"] if about_picture else None,
        history=history,
        released=True,
    )
    assert segments(prompt) == [segment["text"] for segment in row["segments"]]
    if "input_ids" in row["segments"][0]:
        expected = [segment["input_ids"] for segment in row["segments"]]
        assert id_segments(prompt, modes[row["tokenizer_mode"]]) == expected


@pytest.mark.parametrize("row", rows("training"))
def test_training(row: dict[str, Any], modes: dict[str, Mode]) -> None:
    name = "instructblip" if row["simple"] else "minigpt4"
    pair = row["qa"][0]
    prompt = training_prompt(
        name,
        pair["q"],
        instruction=pair.get("i", ""),
        system=row["system"],
        frame_times=row["msg"],
        picture=row["cls"] == "ITImgTrainDataset",
        released=True,
    )
    assert f"{prompt.before}<ImageHere>{prompt.after}" == row["instruction"]
    if row["simple"] and row.get("qformer_text") is not None:
        assert prompt.question == row["qformer_text"]
    recorded = row.get(f"tiny_token_ids_{name}")
    if recorded:
        tokenizer, config = modes[name]
        ids = prompt.ids(tokenizer, config)
        place = ids.index(VIDEO_TOKEN_ID)
        opening = 1 if name == "minigpt4" else 0  # recorded apart from the text
        assert ids[opening:place] == recorded["before"]
        assert ids[place + 1 :] == recorded["after"]
        end = next(key for key in recorded if key.startswith("answer"))
        assert answer_ids(tokenizer, config, row["answer"]) == recorded[end]


@pytest.mark.parametrize("row", rows("training_shuffle"))
def test_training_takes_the_first_pair_of_a_shuffled_list(row: dict[str, Any]) -> None:
    pairs = list(range(row["n"]))
    random.Random(row["random_seed"]).shuffle(pairs)
    prompt = training_prompt("instructblip", f"q{pairs[0]}", instruction=f"i{pairs[0]}", released=True)
    assert f"{prompt.before}<ImageHere>{prompt.after}" == row["instruction"]
    assert row["answer"] == f"a{pairs[0]}"


@pytest.mark.parametrize("row", rows("mvbench_check_ans"))
def test_released_verdict(row: dict[str, Any]) -> None:
    assert first_words_agree(row["pred"], row["gt"]) == row["correct"]


def test_system_messages_and_marks_are_the_released_ones() -> None:
    for name, style in (("minigpt4", "CONV_VIDEO_Vicuna0"), ("instructblip", "CONV_instructblip_Vicuna0")):
        assert PROMPT_FORMATS[name].system == FACTS["conversations"][style]["system"]
    assert PROMPT_FORMATS["minigpt4"].answer_end == FACTS["end_sym_yaml"]
    video_tokens = [PROMPT_FORMATS["minigpt4"].video_start, PROMPT_FORMATS["minigpt4"].video_end]
    assert video_tokens == FACTS["training"]["video_tokens"]
    asked = choice_prompt("Q?")
    words = FACTS["mvbench"]
    assert asked.after == (
        f"###Human: {words['system']}Q?{words['question_prompt']}\n###Assistant: {words['answer_prompt']}"
    )
    assert FACTS["chat_defaults"]["max_length"] == RELEASED_MAX_LENGTH


@pytest.mark.parametrize(("mode", "sample"), probes())
def test_tokenizer(mode: str, sample: dict[str, Any], modes: dict[str, Mode]) -> None:
    tokenizer, config = modes[mode]
    opening = [config.bos_token_id] if sample["add_special_tokens"] else []
    assert opening + text_ids(tokenizer, sample["text"]) == sample["input_ids"]


@pytest.mark.parametrize("row", rows("decode"))
def test_reply(row: dict[str, Any], modes: dict[str, Mode]) -> None:
    tokenizer, _ = modes[row["tokenizer_mode"]]
    reply = released_reply(tokenizer, row["generated_ids"], prompt_format=row["tokenizer_mode"])
    assert reply == row["chat_text"]
    assert ("(" + reply).split("\n")[0] == row["mvbench_prediction"]


def test_question_is_not_cut_unless_asked_for() -> None:
    question = "The Human: said ### what?"
    assert training_prompt("instructblip", question).question == question
    assert chat_prompt("instructblip", "After </Video> marker").question == "After </Video> marker"


def test_folder_has_prompts() -> None:
    assert PROMPTS.is_dir(), f"no prompts in {Path(PROMPTS).parent}"
