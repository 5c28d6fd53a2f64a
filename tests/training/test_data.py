from random import Random

import numpy as np
import pytest
import torch

from st_llm_cli.errors import RecipeError
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Shapes
from st_llm_cli.shapes.questions import Question
from st_llm_cli.training.build import new_config
from st_llm_cli.training.data import (
    Collator,
    Example,
    ExampleStream,
    Task,
    choice_text,
    draw_shapes,
    sample_rng,
    shapes_vocabulary,
)
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.training.small import small_recipe


def stage(**settings: object) -> Train:
    return small_recipe(settings).training[0]


@pytest.fixture(scope="module")
def collator() -> Collator:
    model = small_recipe({}).model
    assert model.new is not None
    tokenizer = word_tokenizer(shapes_vocabulary())
    return Collator(tokenizer, new_config(model, model.new, tokenizer, num_frames=3))


def example(*tasks: Task, num_frames: int = 3) -> Example:
    return Example(np.zeros((num_frames, 16, 16, 3), dtype=np.uint8), tasks)


def test_only_the_answer_and_its_end_are_learnt(collator: Collator) -> None:
    talk = Task("What color is the star?", "red", history=(("How many objects are there?", "two"),))
    batch = collator([example(Task("Is there a red star?", "yes"), talk)])
    learnt = [row[row != -100].tolist() for row in batch["labels"]]
    assert [collator.tokenizer.decode(ids) for ids in learnt] == ["yes </s>", "red </s>"]


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
    ids, answer = collator.row(Task(choice_text(question), "B) red", choice=True))
    text = collator.tokenizer.decode(ids[1:])
    assert "Only give the best option. ###Assistant: Best option:" in text
    assert collator.tokenizer.decode(answer) == "B) red </s>"


def test_a_sample_follows_from_seed_and_index() -> None:
    first, again = ExampleStream(stage(), 3, 16), ExampleStream(stage(), 3, 16)
    assert first[5].tasks == again[5].tasks
    assert np.array_equal(first[5].frames, again[5].frames)
    assert first[5].tasks != first[6].tasks
    assert first[5].tasks != ExampleStream(stage(seed=1), 3, 16)[5].tasks


def test_a_batch_has_one_source_and_sources_come_by_their_weights() -> None:
    data = [{"shapes": {"kind": "images"}, "weight": 3}, {"shapes": {"kind": "videos"}}]
    stream = ExampleStream(stage(data=data, steps=80, batch_size=2), 3, 16)
    lengths = [[len(stream[index].frames) for index in (2 * step, 2 * step + 1)] for step in range(80)]
    assert all(first == second for first, second in lengths)
    images = sum(first == 1 for first, _ in lengths)
    assert 48 <= images <= 72


def test_a_clip_gets_as_many_questions_as_asked_for() -> None:
    for captions in (0.0, 1.0):
        source = Shapes(questions_per_clip=3, captions=captions)
        assert all(len(draw_shapes(source, Random(seed), 3, 16).tasks) == 3 for seed in range(20))


def test_shares_of_one_reach_every_clip() -> None:
    tasks = [
        draw_shapes(Shapes(questions_per_clip=2, captions=1.0, choices=1.0), Random(seed), 3, 16).tasks
        for seed in range(20)
    ]
    assert all(not caption.choice and question.choice for caption, question in tasks)
    talks = Shapes(questions_per_clip=1, captions=0.0, talks=1.0)
    assert all(draw_shapes(talks, Random(seed), 3, 16).tasks[0].history for seed in range(20))


def test_questions_come_from_the_kinds_asked_for() -> None:
    source = Shapes(questions_per_clip=2, captions=0.0, kinds=("first_movement", "last_movement"))
    asked = {task.question for seed in range(20) for task in draw_shapes(source, Random(seed), 3, 16).tasks}
    assert all(text.endswith((" do first?", " do at the end?")) for text in asked)


def test_scenes_have_as_many_objects_as_asked_for() -> None:
    for number, word in ((1, "one"), (2, "two")):
        source = Shapes(questions_per_clip=1, captions=0.0, kinds=("count",), num_objects=number)
        answers = {draw_shapes(source, Random(seed), 3, 16).tasks[0].answer for seed in range(20)}
        assert answers == {word}


def test_an_unknown_kind_of_question_is_refused() -> None:
    data = [{"shapes": {"kinds": ["colour"]}}]
    with pytest.raises(RecipeError, match="no kind of question 'colour' of videos") as caught:
        ExampleStream(stage(data=data), 3, 16)
    assert caught.value.fix == "did you mean 'color'?"


def test_kinds_that_not_every_scene_gives_are_refused() -> None:
    data = [{"shapes": {"kinds": ["moves_first"]}}]
    with pytest.raises(RecipeError, match="some scenes give no question of these kinds"):
        ExampleStream(stage(data=data), 3, 16)


def test_pictures_have_one_frame_and_exact_places_when_asked() -> None:
    source = Shapes(kind="images", questions_per_clip=2, captions=0.0, exact_places=1.0)
    drawn = draw_shapes(source, Random(0), 3, 16)
    assert drawn.frames.shape == (1, 16, 16, 3)
    assert drawn.tasks[0].question.startswith("Where exactly is the ")
    assert drawn.tasks[0].answer.startswith("Column ")


def test_places_in_a_run_have_randomness_of_their_own() -> None:
    draws = {sample_rng(seed, name, index).random() for seed in (0, 1) for name in "ab" for index in (0, 1)}
    assert len(draws) == 8
