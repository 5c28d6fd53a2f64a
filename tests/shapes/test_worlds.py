"""Rich scenes in folders and in training, and the plain world beside them."""

import json
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from pydantic import ValidationError

from st_llm_cli.recipe.sources import Shapes
from st_llm_cli.shapes import words
from st_llm_cli.shapes.encode import MOST_FRAMES, draw_rich_encoding
from st_llm_cli.shapes.folder import SPLITS, read_clips, write_folder
from st_llm_cli.shapes.scene import RHYTHM
from st_llm_cli.shapes.words import pieces
from st_llm_cli.shapes.world import EVAL_SEEDS
from st_llm_cli.shapes.worlds import WORLDS
from st_llm_cli.training.data.shapes import check_kinds, draw_shapes, draw_tasks, shapes_vocabulary


@pytest.mark.parametrize("name", WORLDS)
def test_published_seeds_give_the_questions_they_gave(name: str) -> None:
    """Clips, scores and tables that are published stand on them."""
    world = WORLDS[name]
    said = sha256()
    for seed in EVAL_SEEDS[:300]:
        scene = world.make_scene(seed)
        for kind in world.asked_of(scene):
            question = world.kinds[kind](scene, Random(f"{seed} {kind}"))
            said.update(repr(question).encode())
            if question is not None:
                rng = Random(f"{seed} {kind} options")
                said.update(repr(world.with_options(question, scene, rng, None)).encode())
    assert said.hexdigest()[:16] == PUBLISHED[name]


def test_a_rich_folder_holds_files_in_rhythm_their_truth_and_the_ceilings(tmp_path: Path) -> None:
    write_folder(tmp_path / "rich", 1, world="rich")
    (clip,) = read_clips(tmp_path / "rich")
    assert clip.scene.seed == SPLITS["eval"][0]
    assert round(clip.scene.duration_seconds * clip.encoding.fps, 6) % RHYTHM == 0
    rows = [
        row for path in (tmp_path / "rich" / "json").glob("*.json") for row in json.loads(path.read_text())
    ]
    assert rows
    for row in rows:
        assert row["order_blind"] == pytest.approx(1 / len(row["candidates"]))
        assert row["order_blind"] <= row["single_frame"] <= 1
    before = clip.scene
    write_folder(tmp_path / "rich", 1, world="rich")
    assert read_clips(tmp_path / "rich")[0].scene == before


def test_long_clips_stay_quick_to_write() -> None:
    for seed in range(200):
        encoding = draw_rich_encoding(Random(seed), 60.0)
        assert encoding.fps * 60.0 <= MOST_FRAMES


def test_training_asks_the_kinds_wanted_with_words_that_are_known() -> None:
    known = set(shapes_vocabulary("rich"))
    source = Shapes(world="rich", kinds=("object_shuffle", "state_change"), captions=0.3, choices=0.5)
    check_kinds(source)
    stories = set()
    for seed in range(40):
        scene, tasks = draw_tasks(source, Random(seed))
        stories.add(scene.story)
        for task in tasks:
            assert set(pieces(task.question + " " + task.answer)) <= known
    assert stories == {"shuffle", "colors"}
    drawn = draw_shapes(Shapes(world="rich", kind="images"), Random(0), 3, 16)
    assert drawn.frames is not None and drawn.frames.shape == (1, 16, 16, 3)


def test_the_plain_world_keeps_its_words_and_is_what_comes_unasked() -> None:
    assert Shapes().world == "plain"
    assert set(shapes_vocabulary()) < set(shapes_vocabulary("rich"))
    assert "blinks" not in words.vocabulary()


@pytest.mark.parametrize(
    ("wish", "told"), [({"num_objects": 3}, "3 objects"), ({"slots": 2}, "'slots' is for")]
)
def test_what_the_plain_world_lacks_is_refused(wish: dict[str, int], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Shapes.model_validate(wish)


PUBLISHED = {"plain": "bc8cff7f941bf214", "rich": "a376a96c3bc824f1"}
"""Digests of the questions about three hundred held-out scenes, with and without options."""
