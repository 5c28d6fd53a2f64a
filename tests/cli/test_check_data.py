import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Stllm
from tests.training.data.files import clip_entry, picture_entry, source, write_json, write_media
from tests.training.small import small_recipe


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return write_media(tmp_path / "media", clips=2, pictures=1)


def write_recipe(folder: Path, *entries: dict[str, object]) -> Path:
    path = folder / "recipe.yaml"
    settings = small_recipe({"data": list(entries)}).model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump(settings))
    return path


def test_sound_data_leave_with_0_and_a_table(stllm: Stllm, media: Path, tmp_path: Path) -> None:
    good = [clip_entry(0, 2), clip_entry(1), clip_entry(1, start=0.5), picture_entry(0)]
    annotations = write_json(tmp_path / "good.json", good)
    ran = stllm("train", write_recipe(tmp_path, source(annotations, media)), "--check-data")
    assert ran.code == 0
    heads, row = ran.out.splitlines()
    assert heads.split()[2:] == [
        "entries",
        "clips",
        "pictures",
        "questions",
        "mistakes",
        "missing",
        "unreadable",
    ]
    assert row.startswith(str(annotations))
    assert row.split()[-8:] == ["videochat2", "4", "3", "1", "5", "0", "0", "0"]
    assert "reading: 4/4" in ran.err
    assert not (tmp_path / "runs").exists()


def test_everything_wrong_is_counted_and_named(stllm: Stllm, media: Path, tmp_path: Path) -> None:
    (media / "clip7.mp4").write_bytes(b"nothing of a video" * 20)
    entries = [clip_entry(0), clip_entry(7), clip_entry(8), picture_entry(5), {"video": "a.mp4"}]
    bad = write_json(tmp_path / "bad.json", entries)
    gone = tmp_path / "gone.jsonl"
    recipe = write_recipe(tmp_path, source(bad, media), source(gone, media, "jsonl"), {"shapes": {}})
    ran = stllm("train", recipe, "--check-data")
    assert ran.code == 1
    assert ran.out.splitlines()[1].split()[-7:] == ["4", "3", "1", "4", "1", "2", "1"]
    assert "  line 6: 'QA' is missing" in ran.out
    assert f"  {media / 'clip8.mp4'}\n" in ran.out and f"  {media / 'picture5.png'}\n" in ran.out
    assert "clip7.mp4: is not a video, it begins like a text" in ran.out
    assert f"{gone}: cannot be read: No such file or directory" in ran.out

    facts = json.loads(stllm("train", recipe, "--check-data", "--json").out)
    assert [len(fact["missing"]) for fact in facts] == [2, 0]


def test_keys_that_are_not_read_are_named_once_and_are_no_mistake(
    stllm: Stllm, media: Path, tmp_path: Path
) -> None:
    entry = {"video": "clip0.mp4", "question": "What?", "answer": "a dot"}
    lines = [entry, {**entry, "colour": "red", "start": 0.0}, {**entry, "colour": "blue"}]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    ran = stllm("train", write_recipe(tmp_path, source(path, media, "jsonl")), "--check-data")
    assert ran.code == 0
    assert f"{path}: keys that are not read, where first\n  line 2: 'colour' is no key of this" in ran.out
    assert ran.out.count("colour") == 1


def test_training_stops_before_the_first_step_where_media_are_missing(
    stllm: Stllm, media: Path, tmp_path: Path
) -> None:
    annotations = write_json(tmp_path / "bad.json", [clip_entry(0), clip_entry(8)])
    recipe = write_recipe(tmp_path, source(annotations, media))
    ran = stllm("train", recipe, "--output", tmp_path / "run")
    assert ran.code == 1
    assert "1 of 2 clips and pictures are missing" in ran.err and "clip8.mp4" in ran.err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()

    allowed = stllm("train", recipe, "-o", tmp_path / "run2", "--set", "stages.0.train.max_failures=0.5")
    assert allowed.code == 0
    assert "clip8.mp4" in (tmp_path / "run2" / "skipped.jsonl").read_text()


def test_half_characters_are_mistakes_that_can_be_shown(stllm: Stllm, media: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    said = {"question": "Who?", "answer": "a boy"}
    entries = [
        {"video": "clip0.mp4", **said, "question": "Who \ud800?"},
        {"video": "cl\ud800p.mp4", **said},
        {"video": "clip0.mp4", **said, "a\udc00b": 1},
    ]
    path.write_text("\n".join(map(json.dumps, entries)))
    recipe = write_recipe(tmp_path, source(path, media, "jsonl"))
    ran = stllm("train", recipe, "--check-data")
    assert ran.code == 1
    assert "  line 1: 'question' holds half a character: 'Who \\ud800?'\n" in ran.out
    assert "  line 2: 'video' holds half a character: 'cl\\ud800p.mp4'\n" in ran.out
    assert "line 3: 'a\\udc00b' is no key of this format" in ran.out
    ran = stllm("train", recipe, "--output", tmp_path / "run")
    assert ran.code == 1 and "2 mistakes in the training data" in ran.err
