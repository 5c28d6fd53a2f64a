import os
import shutil
import time
from pathlib import Path

import pytest

from st_llm_cli.errors import NotAVideoError, VideoNotFoundError
from st_llm_cli.tokens import media
from st_llm_cli.tokens.media import MediaDigests, content_digest
from st_llm_cli.tokens.memo import Memo


@pytest.fixture
def digests(tmp_path: Path) -> MediaDigests:
    return MediaDigests(Memo(tmp_path / "memo"))


def old(path: Path, content: bytes) -> Path:
    """A file that was written long enough ago for its digest to be remembered."""
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "SETTLED_SECONDS", 0.0)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths of the files that are read from now on."""
    seen: list[Path] = []

    def count(path: Path) -> str:
        seen.append(path)
        return content_digest(path)

    monkeypatch.setattr(media, "content_digest", count)
    return seen


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    # sha256 of nothing, a number everybody knows
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert content_digest(old(tmp_path / "empty.mp4", b"")) == empty


def test_copies_are_one_video(tmp_path: Path, digests: MediaDigests) -> None:
    one = old(tmp_path / "one.mp4", b"film")
    two = old(tmp_path / "two.mkv", b"film")
    assert digests.of(one) == digests.of(two)


def test_moved_file_keeps_its_digest(tmp_path: Path, digests: MediaDigests) -> None:
    one = old(tmp_path / "one.mp4", b"film")
    before = digests.of(one)
    assert digests.of(one.rename(tmp_path / "elsewhere.mp4")) == before


def test_unchanged_file_is_read_once(
    tmp_path: Path, digests: MediaDigests, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = reads(monkeypatch)
    one = old(tmp_path / "one.mp4", b"film")
    assert digests.of(one) == digests.of(one)
    assert seen == [one]


def test_file_changed_in_place_gets_a_new_digest(tmp_path: Path, digests: MediaDigests) -> None:
    one = old(tmp_path / "one.mp4", b"film")
    before = digests.of(one)
    time.sleep(0.02)  # the grain of ext4's times
    with one.open("r+b") as file:
        file.write(b"pict")
    assert digests.of(one) != before


def test_change_hidden_by_an_old_time_is_seen(tmp_path: Path, digests: MediaDigests) -> None:
    one = old(tmp_path / "one.mp4", b"film")
    before, status = digests.of(one), one.stat()
    time.sleep(0.02)
    with one.open("r+b") as file:
        file.write(b"pict")
    os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digests.of(one) != before


def test_file_written_just_now_is_not_remembered(
    tmp_path: Path, digests: MediaDigests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "SETTLED_SECONDS", 60.0)
    seen = reads(monkeypatch)
    one = old(tmp_path / "one.mp4", b"film")
    digests.of(one)
    digests.of(one)
    assert seen == [one, one]


def test_folder_of_frames_is_known_by_names_and_contents(tmp_path: Path, digests: MediaDigests) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    old(folder / "1.jpg", b"a")
    old(folder / "2.jpg", b"b")
    before = digests.of(folder)
    moved = shutil.copytree(folder, tmp_path / "copy")
    assert digests.of(moved) == before
    (moved / "2.jpg").rename(moved / "0.jpg")  # the pictures are in another order now
    assert digests.of(moved) != before


def test_missing_file_is_an_error_that_says_so(tmp_path: Path, digests: MediaDigests) -> None:
    with pytest.raises(VideoNotFoundError, match=r"no\.mp4: no such file or folder \(check the path\)"):
        digests.of(tmp_path / "no.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_refused_before_it_is_read(tmp_path: Path, digests: MediaDigests) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    for digest in (content_digest, digests.of):
        with pytest.raises(NotAVideoError, match="is neither a file nor a folder"):
            digest(pipe)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
def test_device_is_refused_before_it_is_read() -> None:
    with pytest.raises(NotAVideoError, match="is neither a file nor a folder"):
        content_digest(Path("/dev/zero"))
