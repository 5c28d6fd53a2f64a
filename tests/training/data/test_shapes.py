from random import Random

import numpy as np
import pytest

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Shapes, Video
from st_llm_cli.shapes.world import EVAL_SEEDS, TRAIN_SEEDS
from st_llm_cli.training.data.example import sample_rng
from st_llm_cli.training.data.shapes import draw_scene, draw_shapes
from st_llm_cli.training.data.stream import ExampleStream
from tests.training.small import small_recipe


def stage(**settings: object) -> Train:
    return small_recipe(settings).training[0]


def stream(train: Train) -> ExampleStream:
    return ExampleStream(train, Video(num_frames=3), 16)


def test_a_sample_follows_from_seed_and_index() -> None:
    first, again = stream(stage()), stream(stage())
    assert first[5].tasks == again[5].tasks
    assert np.array_equal(first[5].frames, again[5].frames)
    assert first[5].tasks != first[6].tasks
    assert first[5].tasks != stream(stage(seed=1))[5].tasks


def test_a_batch_has_one_source_and_sources_come_by_their_weights() -> None:
    data = [{"shapes": {"kind": "images"}, "weight": 3}, {"shapes": {"kind": "videos"}}]
    samples = stream(stage(data=data, steps=80, batch_size=2))
    lengths = [[len(samples[index].frames) for index in (2 * step, 2 * step + 1)] for step in range(80)]
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


@pytest.mark.parametrize(
    "source", [Shapes(), Shapes(world="rich"), Shapes(kind="images"), Shapes(kind="images", world="rich")]
)
def test_scenes_of_evaluation_are_never_drawn(source: Shapes) -> None:
    seeds = [draw_scene(source, Random(number)).seed for number in range(50)]
    assert all(seed in TRAIN_SEEDS and seed not in EVAL_SEEDS for seed in seeds)
    assert max(seeds) > len(TRAIN_SEEDS) / 2 and len(set(seeds)) == len(seeds)


def test_an_unknown_kind_of_question_is_refused() -> None:
    data = [{"shapes": {"kinds": ["colour"]}}]
    with pytest.raises(RecipeError, match="no kind of question 'colour' of videos") as caught:
        stream(stage(data=data))
    assert caught.value.fix == "did you mean 'color'?"


def test_kinds_that_not_every_scene_gives_are_refused() -> None:
    data = [{"shapes": {"kinds": ["moves_first"]}}]
    with pytest.raises(RecipeError, match="some scenes give no question of these kinds"):
        stream(stage(data=data))


def test_pictures_have_one_frame_and_exact_places_when_asked() -> None:
    source = Shapes(kind="images", questions_per_clip=2, captions=0.0, exact_places=1.0)
    drawn = draw_shapes(source, Random(0), 3, 16)
    assert drawn.frames.shape == (1, 16, 16, 3)
    assert drawn.tasks[0].question.startswith("Where exactly is the ")
    assert drawn.tasks[0].answer.startswith("Column ")


def test_places_in_a_run_have_randomness_of_their_own() -> None:
    draws = {sample_rng(seed, name, index).random() for seed in (0, 1) for name in "ab" for index in (0, 1)}
    assert len(draws) == 8
