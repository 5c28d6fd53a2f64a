"""What other processes and the machine can do to a cache. Children are forks: they start at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens.manage import stored, verify
from st_llm_cli.tokens.store import TokenCache
from tests.tokens.keys import key, tokens

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

MEGABYTE = (8, 32, 2048)
"""Shape of 1 MB of float16."""


def child(work: Callable[[], None]) -> int:
    """Do something in another process; its id."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return process


def whole(cache: TokenCache) -> dict[str, bytes]:
    """Content of every entry by its name, after each was found whole."""
    assert [error for _, error in verify(cache) if error is not None] == []
    return {entry.path.name: entry.path.read_bytes() for entry in stored(cache)}


def test_twenty_kills_leave_no_damaged_entry_and_lose_none(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache")
    generator = random.Random(0)
    before: dict[str, int] = {}
    for kill in range(20):

        def write(first: int = kill * 1000) -> None:
            torch.set_num_threads(1)
            value = tokens(0, shape=MEGABYTE)
            for number in range(first, first + 1000):
                cache.put(key(number), value)

        process = child(write)
        time.sleep(generator.uniform(0.02, 0.2))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert all(error is None for _, error in verify(cache))
        after = {entry.path.name: entry.path.stat().st_ino for entry in stored(cache)}
        assert before.items() <= after.items()
        before = after
    assert len(before) >= 20
    for entry in stored(cache):  # room on the disk of whoever runs the tests
        entry.path.unlink()


def test_four_writers_leave_what_one_leaves(tmp_path: Path) -> None:
    def fill(cache: TokenCache, seed: int) -> None:
        torch.set_num_threads(1)
        numbers = list(range(60))
        random.Random(seed).shuffle(numbers)
        for number in numbers:
            cache.put(key(number), tokens(number, shape=(4, 8, 64)), {"seconds": 1.0})
            cache.views.remember(f"view {number}", {"indices": [number]})
            found = cache.get(key(numbers[0]))
            assert found is not None and torch.equal(found, tokens(numbers[0], shape=(4, 8, 64)))

    one, four = TokenCache(tmp_path / "one"), TokenCache(tmp_path / "four")
    fill(one, seed=0)
    children = [child(lambda seed=seed: fill(four, seed)) for seed in range(4)]  # type: ignore[misc]
    assert [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in children] == [0] * 4
    assert whole(four) == whole(one)
    assert [four.views.recall(f"view {number}") for number in range(60)] == [
        {"indices": [number]} for number in range(60)
    ]
    assert not list(four.root.rglob("*.part"))


def test_collecting_while_others_read_and_write_harms_nobody(tmp_path: Path) -> None:
    from st_llm_cli.tokens.manage import collect

    cache = TokenCache(tmp_path / "cache")
    cache.put(key(0), tokens(0))

    def use(seed: int) -> None:
        torch.set_num_threads(1)
        for step in range(200):
            number = (step * 7 + seed) % 40
            found = cache.get(key(number))
            if found is None:
                cache.put(key(number), tokens(number))
            else:
                assert torch.equal(found, tokens(number))

    children = [child(lambda seed=seed: use(seed)) for seed in range(2)]  # type: ignore[misc]
    done: list[int] = []
    while len(done) < 2:
        collect(cache, budget=5000)
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            assert process in children
            done.append(os.waitstatus_to_exitcode(status))
    assert done == [0, 0]
    assert not cache.damaged.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"no disk may be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_says_so_and_damages_nothing(small_disk: Path) -> None:
    cache = TokenCache(small_disk / "cache")
    kept = 0
    with pytest.raises(CacheError) as full:
        for number in range(10):
            cache.put(key(number), tokens(number, shape=MEGABYTE))
            kept += 1
    assert "no space left to write tokens" in full.value.what
    assert "stllm cache gc" in (full.value.fix or "")
    assert 0 < kept < 2
    assert len(whole(cache)) == kept
    assert not list(cache.root.rglob("*.part"))
    cache.path(key(0)).unlink()
    cache.put(key(9), tokens(9, shape=MEGABYTE))  # there is room again
    assert len(whole(cache)) == 1


def test_cache_that_may_only_be_read_can_be_read(small_disk: Path) -> None:
    cache = TokenCache(small_disk / "cache")
    cache.put(key(1), tokens(1))
    cache.put(key(2), tokens(2))
    damaged = cache.path(key(2))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    found = cache.get(key(1))
    assert found is not None and torch.equal(found, tokens(1))
    assert cache.get(key(2)) is None  # it cannot be set aside, and is not returned either
    with pytest.raises(CacheError, match=r"tokens may not be written here \(keep the cache elsewhere"):
        cache.put(key(3), tokens(3))
