import shutil
from pathlib import Path

import pytest

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import locate as locating
from st_llm_cli.model.locate import locate, remedy
from tests.model.hub import REPOSITORY, locate_with, serve_hub


def make_checkpoint(folder: Path, *more: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", *more):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(str(folder))
    return folder


def refusal(name: str | Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        locate(str(name))
    return raised.value


def test_a_checkpoint_folder_is_itself(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "mine")
    assert locate(str(folder)) == folder


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = make_checkpoint(tmp_path / "mine")
    assert locate("~/mine") == folder


def test_a_run_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    for name in ("images-2", "video-10", "video-9"):
        make_checkpoint(tmp_path / "run" / "checkpoints" / name)
    make_checkpoint(tmp_path / "run" / "checkpoints" / ".video-11.unfinished")
    (tmp_path / "run" / "checkpoints" / "video-12").mkdir()
    assert locate(str(tmp_path / "run")).name == "video-10"


def test_a_folder_of_the_trainer_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    for step in (50, 100, 9):
        make_checkpoint(tmp_path / f"checkpoint-{step}")
    assert locate(str(tmp_path)).name == "checkpoint-100"


def test_a_finished_checkpoint_comes_before_those_on_the_way(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint-500")
    make_checkpoint(tmp_path / "checkpoint")
    assert locate(str(tmp_path)).name == "checkpoint"


def test_results_of_stages_come_before_those_on_the_way(tmp_path: Path) -> None:
    on_the_way = make_checkpoint(tmp_path / "work" / "images" / "checkpoint-500")
    assert locate(str(tmp_path)) == on_the_way
    finished = make_checkpoint(tmp_path / "checkpoints" / "images-1")
    assert locate(str(tmp_path)) == finished


def test_bundled_model_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(locating.BUNDLED, "tiny", make_checkpoint(tmp_path / "tiny"))
    assert locate("tiny") == tmp_path / "tiny"


def test_folder_of_the_same_name_does_not_hide_a_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(locating.BUNDLED, "tiny", make_checkpoint(tmp_path / "assets" / "tiny"))
    make_checkpoint(tmp_path / "here" / "tiny")
    monkeypatch.chdir(tmp_path / "here")
    assert locate("tiny") == tmp_path / "assets" / "tiny"
    assert locate("./tiny") == Path("tiny")


def test_bundled_model_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(locating.BUNDLED, "tiny", tmp_path / "tiny")
    error = refusal("tiny")
    assert error.what == "the bundled model 'tiny' is missing from this installation"
    assert (error.where, error.fix) == (str(tmp_path / "tiny"), "install stllm again")


def test_folder_without_checkpoint(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.what == "no checkpoint: neither config.json nor a run's checkpoints"
    assert error.where == str(tmp_path)


def test_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert refusal(tmp_path / "model.safetensors").what == "a file, and a checkpoint is a folder"


def test_unknown_name(tmp_path: Path) -> None:
    error = refusal("vicuna")
    assert error.what == "no model 'vicuna'"
    assert error.fix is not None
    assert "stllm models list" in error.fix


def test_name_that_comes_near_a_bundled_one() -> None:
    assert refusal("tinny").what == "no model 'tinny'; did you mean 'tiny'?"


def test_name_that_comes_near_a_folder(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "conversation")
    (tmp_path / "convesatio").mkdir()  # nearer, and no model
    meant = str(tmp_path / "conversation")
    assert refusal(tmp_path / "convesation").what.endswith(f"did you mean {meant!r}?")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkpoint at the top, another in a folder, and what no one asked for."""
    folder = make_checkpoint(tmp_path / "repository", "qformer_tokenizer/tokenizer.json", "optimizer.pt")
    make_checkpoint(folder / "weights" / "chat")
    return folder


def test_hub_id(tmp_path: Path, repository: Path) -> None:
    with serve_hub(repository) as endpoint:
        found = Path(locate_with(endpoint, tmp_path / "home", REPOSITORY))
    assert found.is_relative_to(tmp_path / "home")
    assert (found / "config.json").read_text() == str(repository)
    assert (found / "qformer_tokenizer" / "tokenizer.json").exists()
    assert not (found / "optimizer.pt").exists()
    assert not (found / "weights" / "chat" / "model.safetensors").exists()


def test_hub_id_with_a_subfolder(tmp_path: Path, repository: Path) -> None:
    with serve_hub(repository) as endpoint:
        found = Path(locate_with(endpoint, tmp_path / "home", f"{REPOSITORY}:weights/chat"))
    assert (found / "model.safetensors").read_text() == str(repository / "weights" / "chat")
    assert not (found.parents[1] / "model.safetensors").exists()


def test_hub_id_found_in_the_cache_when_the_hub_is_gone(tmp_path: Path, repository: Path) -> None:
    with serve_hub(repository) as endpoint:
        first = locate_with(endpoint, tmp_path / "home", REPOSITORY)
    assert locate_with(endpoint, tmp_path / "home", REPOSITORY) == first


def test_damaged_file_of_the_hub_is_fetched_again_once_what_is_there_is_removed(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    with serve_hub(repository) as endpoint:
        path = Path(locate_with(endpoint, tmp_path / "home", REPOSITORY)) / "model.safetensors"
        path.write_text("damaged")
        locate_with(endpoint, tmp_path / "home", REPOSITORY)
        assert path.read_text() == "damaged"
        fetched = tmp_path / "home" / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
        assert remedy(path) == f"remove {fetched}, and it is downloaded again"
        shutil.rmtree(fetched)
        locate_with(endpoint, tmp_path / "home", REPOSITORY)
    assert path.read_text() == str(repository)


def test_damaged_file_of_ones_own_has_others_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoint" / "model.safetensors"
    assert remedy(path) == "copy or download it again, or take another checkpoint"


def test_damaged_file_of_a_bundled_model_comes_with_the_package() -> None:
    assert remedy(locate("tiny") / "model.safetensors") == "install stllm again"


def test_hub_that_cannot_be_reached(tmp_path: Path, repository: Path) -> None:
    with serve_hub(repository) as endpoint:
        pass
    assert locate_with(endpoint, tmp_path / "home", REPOSITORY) == (
        f"{REPOSITORY}: no such folder here, not in the Hub's cache ({tmp_path}/home/hub), "
        f"and {endpoint} cannot be reached (check the path, or connect and try again)"
    )


def test_hub_id_that_does_not_exist(tmp_path: Path, repository: Path) -> None:
    with serve_hub(repository) as endpoint:
        said = locate_with(endpoint, tmp_path / "home", "someone/other")
    assert said == (
        f"someone/other: no such folder here, and no such repository on {endpoint} "
        "(check the name; a private repository needs HF_TOKEN)"
    )


def test_subfolder_that_does_not_exist(tmp_path: Path, repository: Path) -> None:
    with serve_hub(repository) as endpoint:
        said = locate_with(endpoint, tmp_path / "home", f"{REPOSITORY}:wieghts")
    assert said == f"{REPOSITORY}:wieghts: the Hub repository has no wieghts (check owner/name:subfolder)"
