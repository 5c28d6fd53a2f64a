"""What a model is asked on MVBench, character for character as the released script asks it."""

from typing import Any

import pytest

from st_llm_cli.bench.choice import question_block
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
