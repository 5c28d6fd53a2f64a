"""Each fault is found by doing, and comes with what mends it."""

import shlex
import shutil
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import VideoError
from st_llm_cli.model import locate
from st_llm_cli.stages import doctor
from st_llm_cli.stages.doctor import Check, examine, is_true
from tests.micro import write_micro_checkpoint

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"))


def checks(model: str | Path, cache: str | Path = "off") -> dict[str, Check]:
    found = list(examine(str(model), device="cpu", cache=str(cache)))
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def test_a_whole_installation_has_nothing_broken(micro: Path, tmp_path: Path) -> None:
    found = checks(micro, tmp_path / "cache")
    assert [check for check in found.values() if check.state == "broken"] == []
    assert found["reader pyav"].found == "4 frames, the pictures that were encoded"
    assert "torch" in found["packages"].found
    assert "cores" in found["machine"].found
    assert "sdpa" in found["device"].found
    assert str(tmp_path / "cache") in found["cache"].found
    # Random weights do not know the answer, which is no fault of the machine.
    (model,) = (check for name, check in found.items() if name.startswith("model "))
    assert model.state == "warning"
    assert "(true: " in model.found


def test_a_model_that_should_know_and_does_not_is_broken(tmp_path: Path) -> None:
    wrong = write_micro_checkpoint(tmp_path / "wrong", trained_on="shapes")
    (model,) = (check for name, check in checks(wrong).items() if name.startswith("model "))
    assert model.state == "broken"
    assert model.fix == doctor._bring_back()


def test_a_true_answer_is_recognised() -> None:
    assert is_true("It is Red.", "red")
    assert not is_true("It is blue.", "red")


def test_a_missing_model_is_broken_with_its_own_remedy(tmp_path: Path) -> None:
    found = checks(tmp_path / "none")
    model = found[f"model {tmp_path / 'none'}"]
    assert model.state == "broken"
    assert model.fix


def test_a_cache_that_cannot_be_written_is_broken(micro: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = checks(micro, tmp_path / "file")["cache"]
    assert cache.state == "broken"
    assert str(tmp_path / "file") in cache.found
    assert cache.fix == "give --cache DIR, a folder you may write to, or --cache off"


def test_a_reader_that_shows_other_pictures_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    assert doctor._write_clip(clip).state == "ok"
    assert doctor._check_reader(clip, "pyav").state == "ok"
    monkeypatch.setattr(
        doctor, "CLIP_SEED", doctor.CLIP_SEED + 1
    )  # so that the file is not what it should be
    wrong = doctor._check_reader(clip, "pyav")
    assert wrong.state == "broken"
    assert "other pictures than were encoded" in wrong.found
    assert wrong.fix == "pip install --force-reinstall av"


@pytest.mark.parametrize(("reader", "state"), [("pyav", "broken"), ("decord", "warning")])
def test_only_the_reader_that_is_needed_can_break(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reader: str, state: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise VideoError("no decoder")

    monkeypatch.setattr("st_llm_cli.video.reader.read_clip", fail)
    monkeypatch.setattr(doctor, "READERS", {reader: "av"})
    check = doctor._check_reader(tmp_path / "clip.mp4", reader)
    assert (check.state, check.found) == (state, "no decoder")
    assert check.fix == "pip install --force-reinstall av"


def test_a_reader_that_is_not_there_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "READERS", {"torchcodec": "no_such_package"})
    assert doctor._check_reader(tmp_path / "clip.mp4", "torchcodec").state == "ok"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", {"torch": "torch", "no-such-package": "no_such_package"})
    check = doctor._check_packages()
    assert (check.state, check.fix) == ("broken", "pip install --force-reinstall no-such-package")


def test_a_package_that_is_there_and_cannot_be_imported_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "halfway.py").write_text("raise ImportError('libhalf.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "PACKAGES", {"transformers": "transformers", "half": "halfway"})
    check = doctor._check_packages()
    assert check.state == "broken"
    assert "half cannot be imported: libhalf.so" in check.found
    assert check.fix == "pip install --force-reinstall half"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_bundled_model_is_brought_back(
    monkeypatch: pytest.MonkeyPatch, micro: Path, tmp_path: Path, name: str
) -> None:
    broken = shutil.copytree(micro, tmp_path / "broken")
    (broken / name).write_bytes(b"{")
    monkeypatch.setitem(locate.BUNDLED, "tiny", broken)
    model = checks("tiny")["model tiny"]
    assert (model.state, model.fix) == ("broken", doctor._bring_back())


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ('{"url": "file:///src/it", "dir_info": {"editable": true}}', "git -C /src/it restore st_llm_cli"),
        ('{"url": "file:///src/it", "dir_info": {}}', "pip install --force-reinstall --no-deps /src/it"),
        (None, "pip install --force-reinstall --no-deps stllm"),
    ],
)
def test_the_package_is_brought_back_from_where_it_came(
    monkeypatch: pytest.MonkeyPatch, source: str | None, command: str
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return source if name == "direct_url.json" else None

    monkeypatch.setattr(doctor, "distribution", lambda name: Installed())
    assert doctor._bring_back() == command


def test_a_full_disk_is_made_room_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LITTLE_DISK_BYTES", 10**18)
    check = doctor._check_cache(str(tmp_path))
    assert (check.state, check.fix) == (
        "warning",
        f"stllm cache gc --budget 1GB --cache {shlex.quote(str(tmp_path))}",
    )


def test_a_device_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    found = {check.name: check for check in examine("tiny", device="cuda:9", cache="off")}
    for name in ("device", "model tiny"):
        assert found[name].state == "broken"
        assert found[name].fix == "stllm doctor --device auto"


def test_whatever_goes_wrong_is_in_the_report() -> None:
    def fail() -> Check:
        raise ZeroDivisionError("by zero")

    check = doctor._tried("thing", fail)
    assert (check.name, check.state, check.found) == ("thing", "broken", "ZeroDivisionError: by zero")
