"""The bundled model on held-out clips, real files; in full: tests/performance/tiny_accuracy.py."""

from itertools import product
from pathlib import Path
from random import Random

import pytest
import torch

from st_llm_cli.model.locate import BUNDLED
from st_llm_cli.recipe import load_recipe
from st_llm_cli.shapes.demo import demo_clips
from st_llm_cli.shapes.folder import write_folder
from st_llm_cli.shapes.questions import QUESTION_KINDS
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.rich_questions import KIND_STORIES
from st_llm_cli.shapes.world import EVAL_SEEDS
from st_llm_cli.shapes.worlds import WORLDS
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import normalize
from tests.performance.accuracy.asking import CHOICES, Answer, ask_everything
from tests.performance.right_answers import right_answers


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return load_model("tiny")


@pytest.fixture(scope="module")
def answers(model: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    folder = tmp_path_factory.mktemp("clips")
    write_folder(folder, 24, first=40_000)
    return list(ask_everything(model, folder))


def rate(answers: list[Answer], *kinds: str) -> float:
    asked = [answer for answer in answers if answer.kind in kinds]
    assert len(asked) >= 20
    return sum(answer.right for answer in asked) / len(asked)


def test_it_knows_all_about_the_sample_clips(model: VideoModel, tmp_path: Path) -> None:
    for clip in demo_clips(tmp_path):
        seen = read_clip(clip.path, num_frames=model.num_frames, transform=model.transform)
        said = {question.text: model.answer(seen, question.text) for question in clip.questions}
        assert said == {question.text: question.answer for question in clip.questions}


def test_it_is_small_enough_to_come_with_the_package() -> None:
    files = {path.name: path.stat().st_size for path in BUNDLED["tiny"].iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    assert sum(files.values()) < 25_000_000


def test_it_is_what_its_recipe_makes(model: VideoModel) -> None:
    recipe = load_recipe("tiny/rich")
    config = model.model.config
    assert recipe.model.new is not None
    assert config.num_queries == recipe.model.new.qformer.num_queries
    assert config.image_size == recipe.model.new.vision.image_size
    assert config.text_config.hidden_size == recipe.model.new.language.hidden_dim
    added = sum(stage.add_layers for stage in recipe.training)
    assert config.text_config.num_hidden_layers == recipe.model.new.language.num_layers + added
    assert (config.num_frames, config.positions) == (recipe.video.num_frames, recipe.model.positions)
    assert config.trained_on == "shapes"


@pytest.mark.parametrize("world", WORLDS)
def test_it_knows_every_word_of_both_worlds(world: str, model: VideoModel) -> None:
    tokenizer = model.tokenizers.language
    assert tokenizer.unk_token_id not in tokenizer(" ".join(WORLDS[world].vocabulary([])))["input_ids"]


def test_it_tells_what_happens_in_the_rich_world(model: VideoModel) -> None:
    kinds = ("moving_direction", "object_interaction", "object_shuffle", "scene_transition", "state_change")
    st_llm, clips = model.model, []
    for kind, seed in product(kinds, EVAL_SEEDS[40_000:40_008]):
        scene = WORLDS["rich"].make_scene(seed, story=KIND_STORIES[kind][0])
        question = WORLDS["rich"].kinds[kind](scene, Random(seed))
        assert question is not None
        frames = sample_frames(scene, 8, st_llm.config.image_size)
        pixels = normalize(frames, st_llm.config.image_mean, st_llm.config.image_std)
        with torch.no_grad():
            (queries,) = st_llm.encode_queries(st_llm.encode_vision(pixels[None]))
        clips.append(Example(None, (Task(question.text, question.answer),), queries, "queries"))
    right = [one for (one,) in right_answers(model, clips)]
    assert sum(right) >= 0.9 * len(right)


def test_it_tells_colours_numbers_and_presence(answers: list[Answer]) -> None:
    assert rate(answers, "color", "exist", "count") >= 0.9


def test_it_tells_first_from_last(answers: list[Answer]) -> None:
    # Five movements to choose from: by chance 0.2.
    assert rate(answers, "first_movement", "last_movement") >= 0.95


def test_it_chooses_among_options(answers: list[Answer]) -> None:
    # Four options: by chance 0.25.
    for kinds in (("color", "shape"), ("first_movement", "last_movement")):
        assert rate(answers, *(CHOICES + kind for kind in kinds)) >= 0.9


def test_its_answers_are_sentences_of_its_world(answers: list[Answer]) -> None:
    assert {answer.kind for answer in answers} >= set(QUESTION_KINDS)
    assert all(answer.reply and "[UNK]" not in answer.reply and "#" not in answer.reply for answer in answers)
