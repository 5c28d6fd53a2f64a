"""What a model is asked on MVBench, character for character as the released script asks it."""

from typing import Any

import pytest

from st_llm_cli.bench.choice import PROMPT_STYLES, question_block
from st_llm_cli.model.choice_styles import CHOICE_STYLES, styled_choice
from st_llm_cli.model.prompt import choice_prompt
from tests.bench.golden import golden_params

SETTINGS: dict[str, dict[str, Any]] = {
    "stllm_full": {"video_in_own_turn": True},
    "stllm_ask_simple": {},
    "stllm_full_system_llm_off": {"video_in_own_turn": True, "system_in_question": False},
    "stllm_full_no_answer_prompt": {"video_in_own_turn": True, "answer_start": None},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("row", golden_params("mvbench_prompt.jsonl"))
def test_prompt_is_the_released_one(name: str, row: dict[str, Any]) -> None:
    block = question_block(row["input"]["question"], row["input"]["candidates"])
    prompt = choice_prompt(block, **SETTINGS[name])
    video = "<VideoHere>" if prompt.before else ""
    assert prompt.before + video + prompt.after == row["expected"][name]
    assert prompt.question == row["expected"]["qformer_text"]


@pytest.mark.parametrize("style", CHOICE_STYLES)
@pytest.mark.parametrize("row", golden_params("mvbench_prompt.jsonl"))
def test_each_style_puts_the_question_as_its_program_does(style: str, row: dict[str, Any]) -> None:
    block = PROMPT_STYLES[style].block(row["input"]["question"], row["input"]["candidates"])
    prompt = styled_choice(style, "instructblip", block, letter_next=False)
    video = "<VideoHere>" if prompt.before else ""
    asked, expected = prompt.before + video + prompt.after, row["expected"]
    if style == "lmms-eval":
        assert block == expected["lmms_eval_text"]
        assert asked == f"###Human: {block} ###Assistant: "
    elif style == "vlmevalkit":
        system, question, end, start = (message["value"] for message in expected["vlmevalkit_messages"])
        assert asked == f"{system}###Human: {question}{end}\n###Assistant: {start}"
    else:
        assert asked == expected[{"released": "stllm_ask_simple", "videochat2": "stllm_full"}[style]]


@pytest.mark.parametrize("style", CHOICE_STYLES)
def test_letter_can_come_next_in_each_style(style: str) -> None:
    prompt = styled_choice(style, "instructblip", "Which?", letter_next=True)
    assert prompt.after.endswith("(") and not prompt.after.endswith("((")


def test_every_style_has_both_halves() -> None:
    assert set(CHOICE_STYLES) == set(PROMPT_STYLES)
