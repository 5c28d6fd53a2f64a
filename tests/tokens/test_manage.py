import os
import random
from pathlib import Path

import pytest

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.manage import collect, contents, stored, verify
from st_llm_cli.tokens.store import TokenCache
from tests.tokens.keys import key, tokens


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    """A cache of five entries; the higher the number, the later it was used."""
    cache = TokenCache(tmp_path / "cache")
    for number in range(5):
        cache.put(key(number), tokens(number))
        os.utime(cache.path(key(number)), (1e9 + number, 1e9 + number))
    return cache


def numbers(cache: TokenCache) -> set[int]:
    return {number for number in range(5) if cache.has(key(number))}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(path.name).randrange(len(content))] ^= 0x10
    path.write_bytes(content)


def test_entries_are_listed_last_used_first(cache: TokenCache) -> None:
    assert [entry.path for entry in stored(cache)] == [cache.path(key(n)) for n in (4, 3, 2, 1, 0)]


def test_missing_cache_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"no: no cache here yet \(name another folder as `cache`\)"):
        stored(TokenCache(tmp_path / "no"))


def test_contents_are_counted(cache: TokenCache) -> None:
    damage(cache.path(key(0)))
    assert cache.get(key(0)) is None
    found = contents(cache)
    assert (found.entries, found.by_level, found.by_encoder) == (4, {"queries": 4}, {"sha256:ee": 4})
    assert (found.damaged, found.abandoned) == (1, 0)
    assert found.bytes == sum(entry.bytes for entry in stored(cache))


def test_verify_names_and_sets_aside_what_is_damaged(cache: TokenCache) -> None:
    damage(cache.path(key(2)))
    wrong = [(path, error) for path, error in verify(cache) if error is not None]
    assert [path for path, _ in wrong] == [cache.path(key(2))]
    assert wrong[0][1] is not None and wrong[0][1].what.startswith("damaged: ")
    assert numbers(cache) == {0, 1, 3, 4}
    assert all(error is None for _, error in verify(cache))


def test_entry_that_another_process_set_aside_first_is_out_of_the_way(cache: TokenCache) -> None:
    path = cache.path(key(2))
    assert cache.set_aside(path)
    assert cache.set_aside(path)


def test_least_recently_used_goes_first(cache: TokenCache) -> None:
    one = stored(cache)[0].bytes
    done = collect(cache, budget=2 * one + 1)
    assert numbers(cache) == {3, 4}
    assert (done.removed, done.entries_left, done.bytes_left, done.bytes_freed) == (3, 2, 2 * one, 3 * one)


def test_reading_an_entry_keeps_it_longer(cache: TokenCache) -> None:
    cache.get(key(0))
    collect(cache, budget=stored(cache)[0].bytes)
    assert numbers(cache) == {0}


def test_what_fits_stays(cache: TokenCache) -> None:
    assert collect(cache, budget=10**9).removed == 0
    assert numbers(cache) == {0, 1, 2, 3, 4}


def test_damaged_and_abandoned_files_go_whatever_the_budget(cache: TokenCache) -> None:
    damage(cache.path(key(1)))
    cache.get(key(1))
    folder = cache.path(key(0)).parent
    old, new = folder / ".a.safetensors.1-x.part", folder / ".b.safetensors.2-y.part"
    old.write_bytes(b"half")
    new.write_bytes(b"half")  # its process may still be at work
    os.utime(old, (1e9, 1e9))
    assert contents(cache).abandoned == 1
    assert collect(cache, budget=10**9).removed == 2
    assert not old.exists()
    assert new.exists()
    assert numbers(cache) == {0, 2, 3, 4}


def test_hundred_flipped_bytes_are_hundred_found_and_none_returned(tmp_path: Path) -> None:
    for reader in ("get", "verify"):
        cache = TokenCache(tmp_path / reader)
        for number in range(100):
            cache.put(key(number), tokens(number))
            damage(cache.path(key(number)))
        if reader == "get":
            assert [cache.get(key(number)) for number in range(100)] == [None] * 100
        else:
            assert sum(error is not None for _, error in verify(cache)) == 100
        assert len(list(cache.damaged.iterdir())) == 100
