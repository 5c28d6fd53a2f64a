import json
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model.locate import remedy
from st_llm_cli.model.weight_files import Header, headers, paths, read_json, tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.float16)}
HEADERS = {"a": Header((2, 3), torch.float32), "b": Header((4,), torch.float16)}


def write_sharded(folder: Path, suffix: str) -> None:
    names = {name: f"part-{name}{suffix}" for name in TENSORS}
    for name, tensor in TENSORS.items():
        if suffix == ".bin":
            torch.save({name: tensor}, folder / names[name])
        else:
            save_file({name: tensor}, folder / names[name])
    stem = "pytorch_model.bin" if suffix == ".bin" else "model.safetensors"
    (folder / f"{stem}.index.json").write_text(json.dumps({"weight_map": names}))


def refusal(source: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        headers(source)
    return raised.value


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_shards_are_read_as_one(tmp_path: Path, suffix: str) -> None:
    write_sharded(tmp_path, suffix)
    assert headers(tmp_path) == HEADERS
    read = {name: tensor for path in paths(tmp_path) for name, tensor in tensors(path)}
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())


def test_a_single_bin_is_read(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    assert headers(tmp_path) == HEADERS


def test_a_single_safetensors_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert headers(tmp_path) == HEADERS
    assert headers(tmp_path / "model.safetensors") == HEADERS


def test_an_ordered_dict_is_read(tmp_path: Path) -> None:
    torch.save(OrderedDict(TENSORS), tmp_path / "state.pth")
    assert headers(tmp_path / "state.pth") == HEADERS


def test_tensors_one_level_down_are_read(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "epoch": 3, "config": {"lr": 1e-5}}, tmp_path / "lavis.pth")
    assert headers(tmp_path / "lavis.pth") == HEADERS


def test_a_file_from_before_zip_archives_is_read(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert headers(tmp_path / "old.pth") == HEADERS


def test_size_follows_shape_and_type() -> None:
    assert Header((2, 3), torch.float16).num_bytes == 12


def test_missing_path(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nothing")
    assert (error.what, error.where) == ("no such file or folder", str(tmp_path / "nothing"))


def test_folder_without_weights(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.what == "no weights in this folder"
    assert error.fix is not None
    assert "pytorch_model.bin.index.json" in error.fix


def test_missing_shard_is_named(tmp_path: Path) -> None:
    write_sharded(tmp_path, ".bin")
    (tmp_path / "part-b.bin").unlink()
    error = refusal(tmp_path)
    assert error.what == "1 of 2 shards are missing: part-b.bin"
    assert error.fix == "download them again, or copy the whole folder"


def test_index_without_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert refusal(tmp_path).what == "names no weight files"


def test_same_name_in_two_shards(tmp_path: Path) -> None:
    write_sharded(tmp_path, ".bin")
    torch.save(TENSORS, tmp_path / "part-b.bin")
    assert refusal(tmp_path).what == "a is in more than one weight file"


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_file_that_is_cut_short(tmp_path: Path, suffix: str, share: float) -> None:
    write_sharded(tmp_path, suffix)
    path = tmp_path / f"part-a{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    error = refusal(tmp_path)
    assert error.what.startswith("damaged, cut short or no weight file: ")
    assert (error.where, error.fix) == (str(path), remedy(path))


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    write_sharded(tmp_path, suffix)
    (tmp_path / f"part-b{suffix}").write_bytes(b"")
    assert refusal(tmp_path).what == "an empty file"


def test_text_that_is_called_weights(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_text("<html>404</html>\n" * 50)
    assert refusal(tmp_path).what.startswith("damaged, cut short or no weight file: ")


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": Code(f"touch {trace}")}, path, _use_new_zipfile_serialization=zipped)
    error = refusal(path)
    assert "asks to run code when it is read" in error.what
    assert "which is never done" in error.what
    assert "weights_only" not in str(error)  # no advice to run it after all
    assert not trace.exists()


def test_something_else_than_tensors(tmp_path: Path) -> None:
    torch.save([TENSORS["a"]], tmp_path / "list.bin")
    assert refusal(tmp_path / "list.bin").what == "holds something else than named tensors"


def test_broken_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1,')
    with pytest.raises(CheckpointError, match=r"config\.json: not JSON: .* \(copy or download it again, "):
        read_json(tmp_path / "config.json")


def test_json_that_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        read_json(tmp_path / "config.json")


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_json(tmp_path / "config.json")
