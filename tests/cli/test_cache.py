import json
from pathlib import Path

import pytest

from st_llm_cli.tokens.store import TokenCache
from tests.cli.conftest import Stllm
from tests.tokens.keys import key, tokens


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a cache with three entries, the one that `STLLM_CACHE` names."""
    cache = TokenCache(tmp_path / "cache")
    for number in range(3):
        cache.put(key(number), tokens(number), {"seconds": 1.0, "video": f"{number}.mp4"})
    monkeypatch.setenv("STLLM_CACHE", str(cache.root))
    return cache.root


def damage_one(root: Path) -> Path:
    path = TokenCache(root).path(key(1))
    path.write_bytes(path.read_bytes()[:-1])
    return path


def test_ls_names_every_entry(stllm: Stllm, root: Path) -> None:
    ran = stllm("cache", "ls")
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 3
    assert "queries" in ran.out and "[3, 4, 5]" in ran.out and "2.mp4" in ran.out
    rows = json.loads(stllm("cache", "ls", "--json").out)
    assert {row["video"] for row in rows} == {"0.mp4", "1.mp4", "2.mp4"}
    assert {row["entry"] for row in rows} == {key(number).digest for number in range(3)}


def test_ls_shows_damage_instead_of_failing(stllm: Stllm, root: Path) -> None:
    damage_one(root)
    ran = stllm("cache", "ls")
    assert ran.code == 0
    assert "damaged: it is" in ran.out


def test_info_counts(stllm: Stllm, root: Path) -> None:
    assert stllm("cache", "info").out.startswith(f"{root}\n3 entries, ")
    found = json.loads(stllm("cache", "info", "--json").out)
    assert (found["root"], found["entries"], found["by_level"]) == (str(root), 3, {"queries": 3})


def test_info_counts_what_was_set_aside(stllm: Stllm, root: Path) -> None:
    damage_one(root)
    stllm("cache", "verify")
    assert "1 were damaged and lie in damaged/; `stllm cache gc` removes them" in stllm("cache", "info").out


def test_a_cache_that_is_off_cannot_be_looked_after(stllm: Stllm) -> None:
    ran = stllm("cache", "info", "--cache", "off")
    assert (ran.code, ran.err) == (1, "stllm: error: the cache is turned off (name a folder)\n")


def test_verify_says_by_its_exit_code_whether_all_is_whole(stllm: Stllm, root: Path) -> None:
    whole = stllm("cache", "verify")
    assert (whole.code, whole.out) == (0, "3 entries are whole, 0 are damaged\n")
    path = damage_one(root)
    damaged = stllm("cache", "verify", "--json")
    assert damaged.code == 1
    (row,) = json.loads(damaged.out)["damaged"]
    assert row["file"] == str(path)
    aside = f"1 set aside in {root / 'damaged'}, to be made anew when needed; `stllm cache gc` removes them"
    assert f"stllm: {aside}\n" in damaged.err
    again = stllm("cache", "verify")
    assert (again.code, again.out) == (0, "2 entries are whole, 0 are damaged\n")
    assert "set aside" not in again.err


def test_verify_says_what_cannot_be_set_aside(stllm: Stllm, root: Path) -> None:
    path = damage_one(root)
    (root / "damaged").write_text("a file where the folder would be")
    ran = stllm("cache", "verify")
    assert ran.code == 1 and "set aside in" not in ran.err
    assert ran.out.startswith(f"{path}: damaged: ") and "; it cannot be set aside\n" in ran.out


def test_gc_keeps_to_the_budget(stllm: Stllm, root: Path) -> None:
    ran = stllm("cache", "gc", "--budget", "1.5KB")
    assert ran.code == 0, ran.err
    left = sum(path.stat().st_size for path in root.rglob("*.safetensors"))
    assert 0 < left <= 1500


def test_gc_needs_a_budget_that_is_a_size(stllm: Stllm, root: Path) -> None:
    assert stllm("cache", "gc").code == 2
    ran = stllm("cache", "gc", "--budget", "much")
    assert (ran.code, ran.err) == (
        2,
        "stllm: error: --budget: 'much' is not a size (write 200GB, 1.5TB or 500MB)\n",
    )


def test_export_and_import_carry_a_cache(stllm: Stllm, root: Path, tmp_path: Path) -> None:
    (shard,) = stllm("cache", "export", tmp_path / "tars").out.splitlines()
    ran = stllm("cache", "import", shard, "--cache", tmp_path / "other", "--json")
    assert json.loads(ran.out) == {"added": 3, "present": 0, "damaged": []}
    assert TokenCache(tmp_path / "other").get(key(2)) is not None


def test_cache_that_is_not_there_is_an_error(stllm: Stllm, tmp_path: Path) -> None:
    for command in (
        ("ls",),
        ("info",),
        ("verify",),
        ("gc", "--budget", "1GB"),
        ("export", tmp_path / "tars"),
    ):
        ran = stllm("cache", *command, "--cache", tmp_path / "no")
        assert ran.code == 1
        assert "no cache here yet" in ran.err
