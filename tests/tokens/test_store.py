import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from st_llm_cli.errors import CacheError
from st_llm_cli.tokens import atomic
from st_llm_cli.tokens.entry import add_up, verify_entry
from st_llm_cli.tokens.store import TokenCache
from tests.tokens.keys import key, tokens


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    return TokenCache(tmp_path / "cache")


def files(cache: TokenCache) -> list[Path]:
    return [path for path in cache.root.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tokens_come_back_bit_for_bit(cache: TokenCache, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    cache.put(key(dtype=name), tokens(dtype=dtype))
    found = TokenCache(cache.root).get(key(dtype=name))
    assert found is not None
    assert found.dtype == dtype
    assert torch.equal(found, tokens(dtype=dtype))


def test_what_is_not_there_is_none(cache: TokenCache) -> None:
    assert cache.get(key()) is None
    assert not cache.has(key())
    assert not cache.root.exists()  # looking writes nothing


def test_notes_come_back(cache: TokenCache) -> None:
    cache.put(key(), tokens(), {"seconds": 2.5, "video": "ä.mp4"})
    entry = cache.find(key())
    assert entry is not None
    assert entry.about == {"seconds": 2.5, "video": "ä.mp4"}


def test_an_entry_is_a_safetensors_file(cache: TokenCache) -> None:
    cache.put(key(), tokens())
    with safe_open(cache.path(key()), framework="pt") as file:
        assert torch.equal(file.get_tensor("tokens"), tokens())
        metadata = file.metadata()
    assert metadata["format"] == "stllm tokens 1"
    assert json.loads(metadata["key"])["level"] == "queries"


def test_tokens_of_another_part_of_a_tensor_are_kept_whole(cache: TokenCache) -> None:
    wide = tokens(shape=(3, 4, 10))
    cache.put(key(), wide[:, :, ::2])
    found = cache.get(key())
    assert found is not None
    assert torch.equal(found, wide[:, :, ::2])


def test_type_must_be_the_one_of_the_key(cache: TokenCache) -> None:
    with pytest.raises(ValueError, match="tokens of type float32 under a key of type float16"):
        cache.put(key(), tokens(dtype=torch.float32))


def test_a_second_put_changes_nothing(cache: TokenCache) -> None:
    cache.put(key(), tokens(1))
    before = cache.path(key()).stat()
    cache.put(key(), tokens(1))
    assert cache.path(key()).stat() == before


def test_uses_are_counted(cache: TokenCache) -> None:
    cache.get(key(1))
    cache.put(key(1), tokens(1), {"seconds": 2.0})
    cache.get(key(1))
    cache.get(key(1))
    use = cache.use
    assert (use.hits, use.misses, use.damaged) == (2, 1, 0)
    assert (use.bytes_read, use.bytes_written, use.seconds_saved) == (240, 120, 4.0)


def test_nothing_but_entries_is_left(cache: TokenCache) -> None:
    for number in range(3):
        cache.put(key(number), tokens(number))
    assert {path.suffix for path in files(cache)} == {".safetensors"}
    assert (cache.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_cut_off_entry_is_set_aside_and_can_be_made_again(
    cache: TokenCache, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put(key(), tokens())
    path = cache.path(key())
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.get(key()) is None
    assert f"{path}: damaged: it" in caplog.text
    assert not path.exists()
    assert len(list(cache.damaged.iterdir())) == 1
    cache.put(key(), tokens())
    found = cache.get(key())
    assert found is not None
    assert torch.equal(found, tokens())
    assert cache.use.damaged == 1


def test_every_flipped_bit_is_found_by_a_read(cache: TokenCache) -> None:
    cache.put(key(), tokens(shape=(1, 2, 5)))
    path = cache.path(key())
    whole = path.read_bytes()
    for place in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        assert cache.get(key()) is None, f"byte {place}"
    path.write_bytes(whole)
    assert cache.get(key()) is not None


def test_entry_under_another_name_is_not_returned(
    cache: TokenCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put(key(1), tokens(1))
    cache.path(key(2)).parent.mkdir(exist_ok=True)
    cache.path(key(1)).rename(cache.path(key(2)))
    assert cache.get(key(2)) is None
    assert "it is about something else than its name says" in caplog.text


def test_swapped_words_are_found_by_verify(cache: TokenCache) -> None:
    # The sum that a read checks does not see them; no disk swaps words.
    cache.put(key(), tokens())
    path = cache.path(key())
    whole = path.read_bytes()
    path.write_bytes(whole[:-16] + whole[-8:] + whole[-16:-8])
    with pytest.raises(CacheError, match="its tokens are not those that were written"):
        verify_entry(path)


def test_sum_counts_a_rest_of_less_than_eight_bytes() -> None:
    data = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 3], dtype=torch.uint8).numpy()
    assert add_up(data) == 0x0100000000000003


def test_full_disk_is_an_error_and_damages_nothing(
    cache: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(key(1), tokens(1))
    before = files(cache)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(CacheError, match=r"no space left to write tokens \(free some space \(`stllm cache"):
        cache.put(key(2), tokens(2))
    assert files(cache) == before
    found = cache.get(key(1))
    assert found is not None
    assert torch.equal(found, tokens(1))


def test_root_that_may_not_be_written_is_an_error(cache: TokenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CacheError, match=r"tokens may not be written here \(keep the cache elsewhere"):
        cache.put(key(), tokens())


def test_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CacheError, match="is a file, not a folder of tokens"):
        TokenCache(file)


def test_reading_renews_the_last_use(cache: TokenCache) -> None:
    cache.put(key(), tokens())
    path = cache.path(key())
    os.utime(path, (0, 0))
    cache.get(key())
    assert path.stat().st_mtime > 1e9


def test_recent_use_is_not_written_down_again(cache: TokenCache) -> None:
    cache.put(key(), tokens())
    before = cache.path(key()).stat().st_mtime_ns
    cache.get(key())
    assert cache.path(key()).stat().st_mtime_ns == before


def test_the_room_loads_without_torch() -> None:
    code = "import sys, st_llm_cli.tokens.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
