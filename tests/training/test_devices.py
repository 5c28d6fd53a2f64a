import pytest
import torch

from st_llm_cli.errors import UsageError
from st_llm_cli.training import devices
from st_llm_cli.training.devices import CPU_OVERHEAD, named_device, peak_here, slowness_here


def test_a_device_is_known_by_name_or_said_in_numbers() -> None:
    assert named_device("a100-80g", "bfloat16").memory == 80e9
    assert named_device("A100-80G", "bfloat16") == named_device("a100-80g", "bfloat16")
    said = named_device("80GB,312TF", "bfloat16")
    assert (said.memory, said.flops) == (80e9, 312e12)


def test_the_cpu_here_is_measured() -> None:
    here = named_device("cpu", "float32")
    assert here.memory > 1e9 and here.flops > 1e8 and here.overhead == CPU_OVERHEAD


def test_computing_in_16_bits_takes_more_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_seconds", lambda left, right: 1.0)  # which can be a second each
    assert named_device("cpu", "bfloat16").overhead == CPU_OVERHEAD + devices.CPU_OVERHEAD_16_BITS


@pytest.mark.parametrize("name", ["a100-80", "0GB,312TF", "fast"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no device"):
        named_device(name, "bfloat16")


def test_only_a_known_gpu_has_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        name, total_memory = "NVIDIA A100-SXM4-80GB", 80e9

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert peak_here() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: Card)
    assert peak_here() == 312e12
    Card.name = "Some other card"
    assert peak_here() is None


def test_slowness_is_measured_against_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slowness_here("float32") == 1
    seconds = {torch.float32: 0.5, torch.bfloat16: 2.0}
    monkeypatch.setattr(devices, "_seconds", lambda left, right: seconds[left.dtype])
    assert slowness_here("bfloat16") == 4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert slowness_here("bfloat16") == 1
