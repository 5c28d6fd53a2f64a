from pathlib import Path

import torch

from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.shapes.world import COLORS, MOVEMENTS, MovingShape, Scene, Segment
from st_llm_cli.training.tracks import QUESTIONS, TrackStream, tracks_of
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
    labels = tracks_of(scene, (2, 2), num_frames, 16).labels[question]
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


def test_a_cell_of_two_objects_is_not_asked_about() -> None:
    still = (Segment(0.0, 4.0, "still", 0.0),)
    other = MovingShape("blue", "circle", COLORS["blue"], 0.05, (0.7, 0.4), still)
    assert told("began", 1, turning_object(), other) == [[UNKNOWN] * 4]


def test_a_clip_follows_from_seed_and_index() -> None:
    streams = [
        TrackStream(small_recipe({**TRACKS, "seed": seed}).training[0], 4, 3, 16) for seed in (0, 0, 1)
    ]
    first, again, other = (stream[3] for stream in streams)
    assert (first.frames == again.frames).all() and first.labels == again.labels
    assert (first.frames != other.frames).any()
    assert set(first.labels) == set(QUESTIONS) and all(len(each) == 3 * 4 for each in first.labels.values())


def test_only_the_lower_half_of_the_language_model_learns(tmp_path: Path) -> None:
    part = {"hidden_dim": 32, "num_layers": 1, "num_heads": 2}
    eyes = {"vision": {"image_size": 16, "patch_size": 8, **part}, "qformer": {"num_queries": 4, **part}}
    stage = {**TRACKS, "freeze": ["vision", "qformer"], "steps": 30, "lr": 5e-3, "optimizer": "muon"}
    recipe = small_recipe(stage, new={**eyes, "language": {**part, "num_layers": 2}})
    after, seen = train(recipe, tmp_path)
    before = build(recipe).state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    layers = {name.split("layers.")[1].split(".")[0] for name in changed if "model.layers." in name}
    assert layers == {"0"}
    assert all(name.startswith(("projection", "language_model.model.layers")) for name in changed)
    assert seen[-1].loss < 0.9 * seen[0].loss
