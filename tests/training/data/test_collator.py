import json
from typing import Any

import numpy as np
import pytest
import torch

from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig
from st_llm_cli.model.official import import_released
from st_llm_cli.model.session import Session, Turn
from st_llm_cli.model.tokenizers import Tokenizers, load_tokenizers
from st_llm_cli.shapes.questions import Question
from st_llm_cli.training.build import new_config
from st_llm_cli.training.data.collator import Collator, Row
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.training.data.shapes import choice_text, shapes_vocabulary
from st_llm_cli.training.data.videochat2 import tasks_of_videochat2
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.micro import micro_frames, micro_model
from tests.parity.golden import golden_folder
from tests.training.small import small_recipe


@pytest.fixture(scope="module")
def collator() -> Collator:
    model = small_recipe({}).model
    assert model.new is not None
    tokenizer = word_tokenizer(shapes_vocabulary())
    return Collator(Tokenizers(tokenizer, None), new_config(model, model.new, tokenizer, num_frames=3))


def example(*tasks: Task, num_frames: int = 3) -> Example:
    return Example(np.zeros((num_frames, 16, 16, 3), dtype=np.uint8), tasks)


def test_only_the_answer_and_its_end_are_learnt(collator: Collator) -> None:
    talk = Task("What color is the star?", "red", history=(("How many objects are there?", "two"),))
    batch = collator([example(Task("Is there a red star?", "yes"), talk)])
    learnt = [row[row != -100].tolist() for row in batch["labels"]]
    assert [collator.tokenizers.language.decode(ids) for ids in learnt] == ["yes </s>", "red </s>"]


def test_labels_stand_where_their_tokens_stand(collator: Collator) -> None:
    batch = collator(
        [example(Task("Is there a red star?", "yes"), Task("Describe the video.", "A red star."))]
    )
    learnt = batch["labels"] != -100
    assert torch.equal(batch["labels"][learnt], batch["input_ids"][learnt])
    assert bool((batch["attention_mask"][learnt] == 1).all())


def test_rows_begin_with_the_video_and_have_one_each(collator: Collator) -> None:
    batch = collator([example(Task("Describe the video.", "red"), Task("Describe the video.", "red"))])
    assert batch["input_ids"][:, 0].tolist() == [VIDEO_TOKEN_ID] * 2
    assert int((batch["input_ids"] == VIDEO_TOKEN_ID).sum()) == 2


def test_questions_of_a_clip_share_its_frames(collator: Collator) -> None:
    one, two = Task("Is there a red star?", "yes"), Task("What shape is the red object?", "star")
    batch = collator([example(one, two), example(two)])
    assert batch["frames"].shape == (2, 3, 3, 16, 16)
    assert batch["clip_of_row"].tolist() == [0, 0, 1]


def test_multiple_choice_is_asked_by_the_released_prompt(collator: Collator) -> None:
    question = Question("color", "What color is the star?", "red", ("blue", "red"))
    assert choice_text(question) == "Question: What color is the star?\nOptions:\n(A) blue\n(B) red"
    row = collator.row(Task(choice_text(question), "B) red", choice=True))
    text = collator.tokenizers.language.decode(row.ids[1:])
    assert "Only give the best option. ###Assistant: Best option:" in text
    assert collator.tokenizers.language.decode(learnt(row)) == "B) red </s>"


def learnt(row: Row) -> list[int]:
    return [label for label in row.labels if label != -100]


# ---- conversations


@pytest.mark.parametrize("reads_question", [False, True])
@pytest.mark.parametrize("name", ["plain", "minigpt4"])
def test_a_talk_is_written_as_a_session_writes_it(name: str, reads_question: bool) -> None:
    model, tokenizers = micro_model(prompt_format=name, reads_question=reads_question)
    session = Session(model, tokenizers)
    session.show("a.mp4", frames=micro_frames())
    asked, said, then = "What moves first ?", "The red ball", "What moves last ?"
    ids = tuple(tokenizers.language(said, add_special_tokens=False)["input_ids"])
    session.turns.append(Turn(asked, said, ids))
    (_, expected) = next(session._conversations(then))
    row = Collator(tokenizers, model.config).row(Task(then, "The square .", history=((asked, said),)))
    own_start, their_start = (each[each.index(VIDEO_TOKEN_ID) :] for each in (row.ids, expected))
    if name == "plain":
        assert row.ids[: len(expected)] == expected
    else:  # the session alone begins with a system message, and ends the question without a blank
        question = tokenizers.language(then, add_special_tokens=False)["input_ids"]
        tail = len(their_start) - their_start.index(ids[0])
        assert own_start[own_start.index(ids[0]) :][:tail] == their_start[-tail:]
        assert question[0] in own_start
    assert row.question == then


def test_all_answers_of_a_conversation_are_learnt_with_their_ends(collator: Collator) -> None:
    talk = Task("What color is the star?", "red", (("How many objects are there?", "two"),), True)
    row = collator.row(talk)
    assert collator.tokenizers.language.decode(learnt(row)) == "two </s> red </s>"
    assert row.question == "How many objects are there?"


# ---- what the Q-Former reads


def test_questions_reach_a_q_former_that_reads_them() -> None:
    model, tokenizers = micro_model(reads_question=True)
    collator = Collator(tokenizers, model.config)
    batch = collator([example(Task("What moves first ?", "left", instruction="Tell me"))])
    words = tokenizers.question.decode(batch["question_ids"][0])
    assert words == "Tell me What moves first?"
    assert batch["question_mask"].tolist() == [[1] * 6]


def test_a_long_question_loses_its_beginning() -> None:
    model, tokenizers = micro_model(reads_question=True, max_text_length=4)
    tokenizers.question.truncation_side = "left"
    batch = Collator(tokenizers, model.config)([example(Task("What moves first then last ?", "left"))])
    assert tokenizers.question.decode(batch["question_ids"][0]) == "first then last?"


def test_no_questions_where_none_are_read(collator: Collator) -> None:
    assert "question_ids" not in collator([example(Task("Is there a red star?", "yes"))])


# ---- the released prompts

MODES = {"instructblip": "tiny_instructblip_vicuna0", "minigpt4": "tiny_minigpt4_vicuna0_btadapter"}


def released_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((golden_folder() / "prompts" / "training.json").read_text())
    return [row for row in rows if not row["system"] and not row["msg"]]


@pytest.fixture(scope="module")
def modes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Collator]:
    collators = {}
    for mode, name in MODES.items():
        source, folder = golden_folder() / name, tmp_path_factory.mktemp(mode) / "model"
        import_released(source, folder, name.removeprefix("tiny_"), bert_tokenizer=source / "bert_tokenizer")
        config = StllmConfig.from_pretrained(folder)
        config.compat = "released"
        collators[mode] = Collator(load_tokenizers(folder, config), config)
    return collators


def test_there_are_released_rows_of_clips_and_pictures() -> None:
    assert {row["cls"] for row in released_rows()} == {"ITVidTrainDataset", "ITImgTrainDataset"}


@pytest.mark.parametrize("row", released_rows())
def test_instruction_files_are_written_as_released(row: dict[str, Any], modes: dict[str, Collator]) -> None:
    name = "instructblip" if row["simple"] else "minigpt4"
    collator = modes[name]
    (task, *_) = tasks_of_videochat2({"QA": row["qa"]})
    written = collator.row(task, is_picture=row["cls"] == "ITImgTrainDataset")
    if row.get("qformer_text") is not None and row["simple"]:
        assert written.question == row["qformer_text"]
    recorded = row.get(f"tiny_token_ids_{name}")
    if recorded:
        opening = [collator.config.bos_token_id] if name == "minigpt4" else []
        asked = [*opening, *recorded["before"], VIDEO_TOKEN_ID, *recorded["after"]]
        answer = next(ids for key, ids in recorded.items() if key.startswith("answer"))
        assert written.ids == asked + answer
        assert written.labels == [-100] * len(asked) + answer
