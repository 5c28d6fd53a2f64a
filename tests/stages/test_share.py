import pytest
import torch

from st_llm_cli.errors import UsageError
from st_llm_cli.stages.share import Share, device_of, share_of

ITEMS = list(range(11))


def test_shares_are_disjoint_and_together_the_whole() -> None:
    shares = [share_of(f"{number}/3", {}) for number in (1, 2, 3)]
    assert sorted(item for share in shares if share for item in share.of(ITEMS)) == ITEMS


def test_without_a_launcher_there_is_no_share() -> None:
    assert share_of(None, {}) is None


def test_torchrun_says_which_share() -> None:
    assert share_of(None, {"RANK": "1", "WORLD_SIZE": "4"}) == Share(1, 4, "torchrun")


def test_slurm_says_which_share_in_a_step_only() -> None:
    assert share_of(None, {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}) == Share(2, 4, "SLURM")
    assert share_of(None, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None


def test_option_comes_before_the_launcher() -> None:
    assert share_of("2/2", {"RANK": "0", "WORLD_SIZE": "8"}) == Share(1, 2, "--shard")


@pytest.mark.parametrize("given", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_what_is_no_share_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"--shard: '.*' is not a share \(write 2/8 for the second of 8\)"):
        share_of(given, {})


def test_each_process_of_a_machine_gets_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    share = Share(5, 8, "torchrun")
    assert device_of(share, "auto", {"LOCAL_RANK": "1"}) == "cuda:1"
    assert device_of(share, "auto", {"SLURM_LOCALID": "6"}) == "cuda:2"
    assert device_of(share, "cpu", {"LOCAL_RANK": "1"}) == "cpu"
    assert device_of(None, "auto", {"LOCAL_RANK": "1"}) == "auto"
