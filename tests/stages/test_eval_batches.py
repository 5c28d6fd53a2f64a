"""Predictions depend neither on the size of batches nor on what questions share."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.shapes.words import vocabulary
from st_llm_cli.stages.eval import run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.prediction_file import NAME
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens.store import TokenCache
from tests.bench.golden import mini_folder
from tests.micro import micro_checkpoint, write_micro_checkpoint

WORDS = sorted(vocabulary())
CLIPS = sorted((mini_folder() / "tvbench" / "video" / "action_count").glob("*.mp4"))
SIZES = (1, 3, 8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several questions about one clip, and one about each other; of different lengths and kinds."""
    folder = tmp_path_factory.mktemp("data")
    rows: list[dict[str, Any]] = []
    for clip in range(6):
        shutil.copy(CLIPS[clip % len(CLIPS)], folder / f"{clip}.mp4")
        for number in range(4 if clip in (0, 3) else 1):
            begin = 7 * clip + 3 * number
            options = WORDS[begin : begin + 2 + number]
            row = {"video": f"{clip}.mp4", "question": " ".join(WORDS[begin : begin + 2 + 2 * number])}
            free = number == 1
            rows.append({**row, "answer": options[0], **({} if free else {"candidates": options})})
    file = folder / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture(scope="module", params=["plain", "mixes frames", "reads the question"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    folder = tmp_path_factory.mktemp("micro")
    if request.param == "reads the question":
        micro_checkpoint(folder, reads_question=True)
    else:
        mixing = {"bt_adapter_depth": 1, "bt_adapter_positions": 8} if "mixes" in request.param else {}
        write_micro_checkpoint(folder, **mixing)
    return load_model(str(folder), seed=0)


def predictions(model: VideoModel, plan: Plan, folder: Path, size: int) -> bytes:
    run(model, plan, folder, batch_size=size)
    return (folder / NAME).read_bytes()


@pytest.mark.parametrize("answer", ["options", "generate"])
def test_sizes_of_batches_give_the_same_file(
    answer: str, model: VideoModel, data: Path, tmp_path: Path
) -> None:
    if answer == "options" and model.model.config.reads_question:
        pytest.skip("that checkpoint's few words have no letters")
    plan = Plan("custom", data, answer, max_new_tokens=6)
    files = [predictions(model, plan, tmp_path / str(size), size) for size in SIZES]
    assert files[0] == files[1] == files[2]
    replies = {json.loads(line)["reply"] for line in files[0].splitlines()}
    assert len(replies) > 4  # else all of this would show nothing


def test_clip_is_looked_at_once_for_all_its_questions(
    model: VideoModel, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    encode = model.model.encode_vision

    def watch(frames: Any) -> Any:
        looked.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(model.model, "encode_vision", watch)
    run(model, Plan("custom", data, "generate", max_new_tokens=2), tmp_path, batch_size=3)
    assert looked == [1] * 6


def test_tokens_from_the_cache_give_the_same_file(model: VideoModel, data: Path, tmp_path: Path) -> None:
    plan = Plan("custom", data, "generate", max_new_tokens=4)
    cached = load_model(str(model.folder), seed=0, cache=TokenCache(tmp_path / "cache"))
    files = [
        predictions(model, plan, tmp_path / "plain", 3),
        predictions(cached, plan, tmp_path / "filling", 3),
        predictions(cached, plan, tmp_path / "filled", 2),
    ]
    assert files[0] == files[1] == files[2]
