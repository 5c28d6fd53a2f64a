from pathlib import Path

import pytest

from st_llm_cli.errors import CheckpointError
from st_llm_cli.stages.weights import weights_digest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_copy_elsewhere_is_the_same_model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for path in checkpoint.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert weights_digest(copy) == weights_digest(checkpoint)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "added.json"])
def test_change_of_weights_or_settings_is_another_model(name: str, checkpoint: Path) -> None:
    before = weights_digest(checkpoint)
    (checkpoint / name).write_text("changed")
    assert weights_digest(checkpoint) != before


def test_files_of_training_do_not_matter(checkpoint: Path) -> None:
    before = weights_digest(checkpoint)
    (checkpoint / "optimizer.pt").write_bytes(b"state")
    assert weights_digest(checkpoint) == before


def test_contents_that_change_places_are_another_model(checkpoint: Path) -> None:
    before = weights_digest(checkpoint)
    (checkpoint / "model.safetensors").write_text("{}")
    (checkpoint / "config.json").write_bytes(b"weights")
    assert weights_digest(checkpoint) != before


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        weights_digest(tmp_path)
