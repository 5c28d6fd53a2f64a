import tarfile
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.archive import bring_in, export
from st_llm_cli.tokens.store import TokenCache
from tests.tokens.keys import key, tokens


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    cache = TokenCache(tmp_path / "cache")
    for number in range(6):
        cache.put(key(number), tokens(number), {"seconds": 1.0})
        cache.views.remember(f"view {number}", {"indices": [number]})
    return cache


def test_what_is_exported_can_be_imported(cache: TokenCache, tmp_path: Path) -> None:
    done = export(cache, tmp_path / "tars", shard_bytes=2000)
    assert len(done.shards) > 2
    assert done.entries == 6
    other = TokenCache(tmp_path / "other")
    assert sum(bring_in(other, shard).added for shard in done.shards) == 6
    for number in range(6):
        found = other.get(key(number))
        assert found is not None
        assert torch.equal(found, tokens(number))
        assert other.views.recall(f"view {number}") == {"indices": [number]}


def test_entries_that_are_there_are_left_alone(cache: TokenCache, tmp_path: Path) -> None:
    (shard,) = export(cache, tmp_path / "tars", shard_bytes=10**9).shards
    done = bring_in(cache, shard)
    assert (done.added, done.present, done.damaged) == (0, 6, [])


def test_damaged_entry_is_not_exported(cache: TokenCache, tmp_path: Path) -> None:
    path = cache.path(key(0))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert export(cache, tmp_path / "tars", shard_bytes=10**9).entries == 5


def test_damage_on_the_way_is_named_and_left_out(cache: TokenCache, tmp_path: Path) -> None:
    (shard,) = export(cache, tmp_path / "tars", shard_bytes=10**9).shards
    with tarfile.open(shard) as tar:
        member = next(member for member in tar if member.name.endswith(".safetensors"))
    content = bytearray(shard.read_bytes())
    content[member.offset_data + member.size - 1] ^= 1
    shard.write_bytes(content)
    other = TokenCache(tmp_path / "other")
    done = bring_in(other, shard)
    assert (done.added, done.damaged) == (5, [member.name])
    assert not (other.root / member.name).exists()


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "entries/aa/short.safetensors", "notes.txt"])
def test_foreign_members_are_left_out(tmp_path: Path, name: str) -> None:
    shard = tmp_path / "foreign.tar"
    with tarfile.open(shard, "w") as tar:
        (tmp_path / "content").write_text("x")
        tar.add(tmp_path / "content", name)
    done = bring_in(TokenCache(tmp_path / "other"), shard)
    assert (done.added, len(done.damaged)) == (0, 1)
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "escaped").exists()


def test_cut_off_tar_file_is_an_error(cache: TokenCache, tmp_path: Path) -> None:
    (shard,) = export(cache, tmp_path / "tars", shard_bytes=10**9).shards
    shard.write_bytes(shard.read_bytes()[:1500])
    with pytest.raises(CacheError, match="cannot be read as a tar file"):
        bring_in(TokenCache(tmp_path / "other"), shard)


def test_missing_tar_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"no\.tar: no such file \(check the path\)"):
        bring_in(TokenCache(tmp_path / "other"), tmp_path / "no.tar")


def test_second_export_into_a_folder_is_refused(cache: TokenCache, tmp_path: Path) -> None:
    export(cache, tmp_path / "tars", shard_bytes=10**9)
    with pytest.raises(CacheError, match="holds an export already"):
        export(cache, tmp_path / "tars", shard_bytes=10**9)
