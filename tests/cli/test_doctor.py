import json
from pathlib import Path

from tests.cli.conftest import Stllm


def test_the_report_ends_in_a_verdict(stllm: Stllm, micro: Path, tmp_path: Path) -> None:
    ran = stllm("doctor", "-m", micro, "--cache", tmp_path / "cache")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.splitlines()[-1] == "everything needed works"


def test_what_is_broken_is_named_with_its_remedy_and_exits_1(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("doctor", "-m", tmp_path / "none", "--cache", "off", "--json")
    assert ran.code == 1
    (broken,) = [check for check in json.loads(ran.out) if check["state"] == "broken"]
    assert broken["name"] == f"model {tmp_path / 'none'}"
    assert broken["fix"]
