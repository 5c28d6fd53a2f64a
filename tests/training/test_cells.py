from pathlib import Path
from typing import Any

import pytest
import torch

from st_llm_cli.errors import RecipeError
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.recipe import load_recipe
from st_llm_cli.shapes.scene import COLORS, SHAPES, MovingShape, Scene, Segment
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.training.cells import NOTHING, CellStream, cells_of
from tests.training.small import small_recipe
from tests.training.test_build import build
from tests.training.test_trainer import train

CELLS = {"objective": "cells", "data": [], "batch_size": 8}


def still(color: str, shape: str, x: float, y: float) -> MovingShape:
    return MovingShape(color, shape, COLORS[color], 0.1, (x, y), (Segment(0.0, 2.0, "still", 0.0),))


def scene(*objects: MovingShape) -> Scene:
    return Scene(seed=0, duration_seconds=2.0, background=(0, 0, 0), objects=objects)


def test_a_cell_says_what_is_in_it_and_where() -> None:
    cells = cells_of(scene(still("red", "star", 0.75, 0.25)), 0.0, (2, 2))
    assert cells.colors == (NOTHING, list(COLORS).index("red"), NOTHING, NOTHING)
    assert cells.shapes == (IGNORED_LABEL, SHAPES.index("star"), IGNORED_LABEL, IGNORED_LABEL)
    assert cells.offsets[1] == pytest.approx((0, 0, 0.4))


def test_offsets_run_from_edge_to_edge_of_the_cell() -> None:
    cells = cells_of(scene(still("red", "star", 0.5 + 1e-6, 0.5 - 1e-6)), 0.0, (2, 2))
    assert cells.offsets[1][:2] == pytest.approx((-1, 1), abs=1e-4)


def test_a_cell_of_two_objects_is_not_asked_about() -> None:
    crowd = scene(still("red", "star", 0.6, 0.2), still("blue", "circle", 0.9, 0.4))
    cells = cells_of(crowd, 0.0, (2, 2))
    assert cells.colors[1] == cells.shapes[1] == IGNORED_LABEL


def test_the_grid_follows_an_object_through_the_scene() -> None:
    item = MovingShape("red", "star", COLORS["red"], 0.1, (0.2, 0.2), (Segment(0.0, 2.0, "right", 0.6),))
    places = [cells_of(scene(item), seconds, (2, 2)).colors for seconds in (0.0, 2.0)]
    red = list(COLORS).index("red")
    assert places == [(red, NOTHING, NOTHING, NOTHING), (NOTHING, red, NOTHING, NOTHING)]


def test_a_picture_follows_from_seed_and_index() -> None:
    streams = [CellStream(small_recipe({**CELLS, "seed": seed}).training[0], 4, 16) for seed in (0, 0, 1)]
    first, again, other = (stream[3] for stream in streams)
    assert (first.frame == again.frame).all() and first.cells == again.cells
    assert (first.frame != other.frame).any()


def test_eyes_learn_and_the_language_model_does_not(tmp_path: Path) -> None:
    recipe = small_recipe({**CELLS, "steps": 40, "lr": 5e-3, "optimizer": "muon", "log_every": 10})
    after, seen = train(recipe, tmp_path)
    before = build(recipe).state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"vision_model", "qformer"}
    assert seen[-1].loss < 0.9 * seen[0].loss
    assert seen[0].language_loss is None


def test_cells_are_reproducible_to_the_last_bit(tmp_path: Path) -> None:
    first, again = (train(small_recipe({**CELLS, "steps": 3}), tmp_path)[0] for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data=[]", "is missing: nothing to learn from"),
    ],
)
def test_data_and_objective_must_fit(tmp_path: Path, override: str, complaint: str) -> None:
    text = "model: {new: {}}\nstages:\n- train: {name: a, steps: 2, data: [{shapes: {kind: images}}]}\n"
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(path, [f"stages.0.train.{override}"])


def test_cells_are_of_moving_shapes_only(tmp_path: Path) -> None:
    source = "{jsonl: {annotations: a.jsonl, media: videos}}"
    text = f"model: {{new: {{}}}}\nstages:\n- train: {{objective: cells, steps: 2, data: [{source}]}}\n"
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="knows the truth of moving shapes only"):
        load_recipe(path)


def acting(segment: Segment, **more: Any) -> Scene:
    """A red star at the top left that does one thing for four seconds, then rests for as long."""
    script = (segment, Segment(4.0, 8.0, "still", 0.0))
    item = MovingShape("red", "star", COLORS["red"], 0.1, (0.25, 0.25), script)
    return Scene(0, 8.0, (0, 0, 0), (item,), parts=2, **more)


def test_what_is_hidden_is_in_no_cell() -> None:
    scene = acting(Segment(0.0, 4.0, "vanish", 0.0))
    nothing = (NOTHING,) * 4
    assert cells_of(scene, 2.0, (2, 2)).colors == nothing
    assert cells_of(scene, 6.0, (2, 2)).colors != nothing


def test_a_cell_tells_the_color_that_is_worn_and_the_size_that_is_had() -> None:
    turned = cells_of(acting(Segment(0.0, 4.0, "turn", 0.0, color="blue")), 2.0, (2, 2))
    assert turned.colors[0] == list(COLORS).index("blue")
    grown = cells_of(acting(Segment(0.0, 4.0, "grow", 0.0)), 2.0, (2, 2))
    assert grown.offsets[0][2] == pytest.approx(1.5 * 0.4)


def test_a_cell_is_one_of_the_picture_and_not_of_the_scene() -> None:
    look = (Segment(0.0, 4.0, "left and back", 0.5), Segment(4.0, 8.0, "still", 0.0))
    scene = acting(Segment(0.0, 4.0, "still", 0.0), camera=look)
    red = list(COLORS).index("red")
    assert [cells_of(scene, seconds, (2, 2)).colors.index(red) for seconds in (2.0, 6.0)] == [1, 0]


def test_pictures_are_of_the_scenes_that_the_stage_names() -> None:
    rich = {**CELLS, "data": [{"shapes": {"world": "rich", "num_objects": 4}}]}
    stream = CellStream(small_recipe(rich).training[0], 9, 16)
    shown = [sum(color != NOTHING for color in stream[index].cells.colors) for index in range(20)]
    assert max(shown) == 4


def test_scenes_of_training_give_every_cell_its_turn() -> None:
    red_cells = {
        cell
        for seed in range(200)
        for cell, color in enumerate(cells_of(make_scene(seed), 0.5, (3, 3)).colors)
        if color not in (NOTHING, IGNORED_LABEL)
    }
    assert red_cells == set(range(9))
