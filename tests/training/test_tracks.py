from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from st_llm_cli.errors import RecipeError
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import load_recipe
from st_llm_cli.recipe.schema import Recipe
from st_llm_cli.recipe.sources import Shapes
from st_llm_cli.shapes.scene import COLORS, MOVEMENTS, MovingShape, Scene, Segment
from st_llm_cli.shapes.world import TRAIN_SEEDS
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.shapes import draw_shapes, shapes_vocabulary
from st_llm_cli.training.tokenizer import word_tokenizer
from st_llm_cli.training.tracks import DOINGS, TrackCollator, TrackReader, TrackStream, tracks_of
from tests.training.small import small_recipe
from tests.training.test_build import build
from tests.training.test_trainer import train

TRACKS = {"objective": "tracks", "data": [], "batch_size": 8}
RIGHT, DOWN = (list(MOVEMENTS).index(name) for name in ("right", "down"))
UNKNOWN = IGNORED_LABEL


def turning_object() -> MovingShape:
    """From the top left to the top right, then to the bottom right, in four seconds."""
    script = (Segment(0.0, 2.0, "right", 0.6), Segment(2.0, 4.0, "down", 0.6))
    return MovingShape("red", "star", COLORS["red"], 0.1, (0.2, 0.2), script)


def told(question: str, num_frames: int, *objects: MovingShape) -> list[list[int]]:
    """Labels of one question, a list of four cells per frame."""
    scene = Scene(seed=0, duration_seconds=4.0, background=(0, 0, 0), objects=objects)
    labels = tracks_of(scene, (2, 2), num_frames)[question]
    return [labels[start : start + 4] for start in range(0, len(labels), 4)]


def test_a_token_knows_what_its_object_has_done_since_the_frame_before() -> None:
    # Frames at 0.5, 1.5, 2.5 and 3.5 s; it turns at 2 s, between the second and the third.
    assert told("doing", 4, turning_object()) == [
        [UNKNOWN] * 4,
        [UNKNOWN, RIGHT, UNKNOWN, UNKNOWN],
        [UNKNOWN] * 4,
        [UNKNOWN, UNKNOWN, UNKNOWN, DOWN],
    ]


def test_a_token_knows_what_its_object_did_first_once_that_could_be_seen() -> None:
    first = told("first", 4, turning_object())
    assert first[:2] == [[UNKNOWN] * 4] * 2
    assert [max(cells) for cells in first[2:]] == [RIGHT, RIGHT]


def test_a_token_knows_where_its_object_began() -> None:
    assert [max(cells) for cells in told("began", 4, turning_object())] == [0, 0, 0, 0]


def test_a_token_knows_what_its_object_did_in_each_part_that_has_begun() -> None:
    script = (
        Segment(0.0, 2.0, "grow", 0.0),
        Segment(2.0, 3.0, "still", 0.0),
        Segment(3.0, 4.0, "left and back", 0.2),
    )
    item = MovingShape("red", "star", COLORS["red"], 0.1, (0.9, 0.2), script)
    scene = Scene(seed=0, duration_seconds=4.0, background=(0, 0, 0), objects=(item,), story="acts", parts=2)
    labels = tracks_of(scene, (1, 1), 4)
    grew, moved = DOINGS.index("grow"), DOINGS.index("left and back")
    assert labels["first"] == [grew] * 4
    assert labels["second"] == [UNKNOWN, UNKNOWN, moved, moved]
    assert labels["third"] == labels["doing"] == [UNKNOWN] * 4


def test_a_token_is_asked_where_its_object_began_only_if_that_was_to_be_seen() -> None:
    away = (Segment(0.0, 2.0, "away", 0.0), Segment(2.0, 4.0, "still", 0.0))
    item = MovingShape("red", "star", COLORS["red"], 0.1, (0.9, 0.2), away)
    scene = Scene(
        seed=0, duration_seconds=4.0, background=(0, 0, 0), objects=(item,), story="visits", parts=2
    )
    labels = tracks_of(scene, (1, 1), 4)
    assert labels["shape"][:2] == [UNKNOWN] * 2 and labels["shape"][2] != UNKNOWN
    assert labels["began"] == [UNKNOWN] * 4


def test_a_cell_of_two_objects_is_not_asked_about() -> None:
    still = (Segment(0.0, 4.0, "still", 0.0),)
    other = MovingShape("blue", "circle", COLORS["blue"], 0.05, (0.7, 0.4), still)
    assert told("began", 1, turning_object(), other) == [[UNKNOWN] * 4]


def test_a_clip_follows_from_seed_and_index() -> None:
    stages = [small_recipe({**TRACKS, "seed": seed}).training[0] for seed in (0, 0, 1)]
    first, again, other = (TrackStream(stage, 3, 16)[3] for stage in stages)
    assert first.frames is not None and other.frames is not None
    assert (first.frames == again.frames).all() and first.scene == again.scene
    assert (first.frames != other.frames).any()


def test_scenes_of_evaluation_are_never_followed() -> None:
    clips = TrackStream(small_recipe(TRACKS).training[0], 1, 16)
    scenes = [clips[index].scene for index in range(len(clips))]
    assert len({scene.seed for scene in scenes if scene is not None}) == len(scenes) > 10
    assert all(scene is not None and scene.seed in TRAIN_SEEDS for scene in scenes)


def two_layers(stage: dict[str, Any]) -> Recipe:
    """A recipe whose language model has a lower and an upper half."""
    part = {"hidden_dim": 32, "num_layers": 1, "num_heads": 2}
    eyes = {"vision": {"image_size": 16, "patch_size": 8, **part}, "qformer": {"num_queries": 4, **part}}
    return small_recipe({**TRACKS, **stage}, new={**eyes, "language": {**part, "num_layers": 2}})


def test_only_the_lower_half_of_the_language_model_learns(tmp_path: Path) -> None:
    recipe = two_layers({"freeze": ["vision", "qformer"], "steps": 30, "lr": 5e-3, "optimizer": "muon"})
    after, seen = train(recipe, tmp_path)
    before = build(recipe).state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    layers = {name.split("layers.")[1].split(".")[0] for name in changed if "model.layers." in name}
    assert layers == {"0"}
    assert all(name.startswith(("projection", "language_model.model.layers")) for name in changed)
    assert seen[-1].loss < 0.9 * seen[0].loss


def test_answers_can_be_learnt_beside(tmp_path: Path) -> None:
    videos = [{"shapes": {"questions_per_clip": 2}}, {"shapes": {"questions_per_clip": 2, "kind": "images"}}]
    _, seen = train(two_layers({"data": videos, "steps": 6, "batch_size": 4}), tmp_path)
    clips = [metrics for metrics in seen if metrics.video_tokens == 4 * 3 * 4]
    pictures = [metrics for metrics in seen if metrics.video_tokens == 4 * 4]
    assert len(clips) + len(pictures) == 6 and clips and pictures
    for metrics in clips:
        assert metrics.language_loss is not None and metrics.loss > metrics.language_loss + 1
    assert all(metrics.loss == pytest.approx(metrics.language_loss) for metrics in pictures)


def test_tracks_are_of_moving_shapes_only(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    data = "data: [{jsonl: {annotations: a.jsonl, media: m}}]"
    path.write_text(
        f"model: {{new: {{}}}}\nstages:\n- train: {{name: a, steps: 2, objective: tracks, {data}}}\n"
    )
    with pytest.raises(RecipeError, match="name 'shapes' sources only"):
        load_recipe(path)


def test_options_are_judged_where_they_end(tmp_path: Path) -> None:
    """The marks of a mixed batch stand at the line breaks behind the options, in the laid sequences too."""
    recipe = two_layers({})
    model, tokenizers = build(recipe), Tokenizers(word_tokenizer(shapes_vocabulary()), None)
    source = Shapes(kind="images", questions_per_clip=3, captions=0, choices=0.6)
    examples = [draw_shapes(source, Random(seed), 1, 16) for seed in range(6)]
    assert {task.choice for example in examples for task in example.tasks} == {True, False}
    batch = TrackCollator(Collator(tokenizers, model.config))(examples)
    verdicts = batch.pop("verdicts")
    words = tokenizers.language
    tasks = [task for example in examples for task in example.tasks]
    for task, ids, marks in zip(tasks, batch["input_ids"], verdicts, strict=True):
        options = task.question.split("\n")[2:] if task.choice else []
        places = (marks != UNKNOWN).nonzero().flatten().tolist()
        seen = [words.decode(ids[1 : place + 1]).replace(" ", "") for place in places]
        assert len(seen) == len(options)
        assert all(text.endswith(each.replace(" ", "")) for text, each in zip(seen, options, strict=True))
        assert [int(marks[place]) for place in places] == [int(each[1] == task.answer[0]) for each in options]
    reader = TrackReader(model)
    frames, _ = batch.pop("frames"), batch.pop("mask_seeds")
    laid = reader._as_laid(verdicts, frames, batch)
    for value in (0, 1):
        assert (laid == value).sum() == (verdicts == value).sum()
    with_verdicts, without = (reader(frames, verdicts=each, **batch).loss for each in (verdicts, None))
    assert with_verdicts > without
