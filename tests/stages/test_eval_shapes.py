"""The bundled model on the world it knows; where it is not there, a model of random weights."""

from pathlib import Path

import pytest

import st_llm_cli
from st_llm_cli.bench.gain import gain_of
from st_llm_cli.shapes.folder import write_folder
from st_llm_cli.stages.controls import run_control
from st_llm_cli.stages.eval import Result, run
from st_llm_cli.stages.eval_plan import Plan
from st_llm_cli.stages.video_model import VideoModel, load_model
from tests.micro import write_micro_checkpoint

NUM_CLIPS = 10
BUNDLED = Path(st_llm_cli.__file__).parent / "assets" / "tiny" / "config.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    if BUNDLED.exists():
        return load_model("tiny", seed=0)
    return load_model(str(write_micro_checkpoint(tmp_path_factory.mktemp("micro"))), seed=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_folder(folder, NUM_CLIPS)
    return folder


@pytest.fixture(scope="module")
def options(model: VideoModel, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(model, Plan("shapes", data), tmp_path_factory.mktemp("options"))


@pytest.mark.slow
def test_scored_letters_and_written_answers_agree(
    model: VideoModel, data: Path, options: Result, tmp_path: Path
) -> None:
    written = run(model, Plan("shapes", data, "generate", max_new_tokens=16), tmp_path)
    pairs = list(zip(options.predictions, written.predictions, strict=True))
    assert len(pairs) > 5 * NUM_CLIPS
    if BUNDLED.exists():
        differ = [
            (a.sample.id, a.reply, b.reply)
            for a, b in pairs
            if not (b.reply or "").lstrip("( ").startswith((a.reply or "?")[0])
        ]
        assert len(differ) <= max(1, len(pairs) / 100), differ


@pytest.mark.slow
def test_score_of_the_bundled_model_needs_time(
    model: VideoModel, data: Path, options: Result, tmp_path: Path
) -> None:
    controlled = {
        name: run_control(model, Plan("shapes", data), tmp_path, name).predictions
        for name in ("blind", "shuffle")
    }
    gain = gain_of(options.predictions, controlled)
    assert 0 <= gain.scores[gain.best] <= 1
    if BUNDLED.exists():
        assert gain.against_best.differs and gain.against_best.difference > 0.1
