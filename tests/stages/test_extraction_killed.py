"""An extraction that is killed again and again."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.tokens.manage import stored, verify
from st_llm_cli.tokens.store import TokenCache
from tests.micro import write_micro_checkpoint

KILLS = 20
CLIPS = 300

NURSERY = """
import os, sys
from pathlib import Path
import torch
from st_llm_cli.stages.extract_features import Wish, extract, request_for
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.transform import ResizeCenterCrop

videos, checkpoint, cache = map(Path, sys.argv[1:])
tokens = load_model(str(checkpoint), cache=TokenCache(cache)).tokens
wish = Wish(batch_frames=8)
requests = [request_for(path, wish, 4, ResizeCenterCrop(28)) for path in sorted(videos.iterdir())]
for _ in sys.stdin:  # each line asks for one more extraction
    child = os.fork()
    if child == 0:
        torch.set_num_threads(2)  # two batches are encoded at once
        tally = extract(tokens, requests, wish, lambda outcome: None)
        print(tally.encoded, tally.present, tally.skipped, flush=True)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""
"""Loads the model once, and extracts in a fork of itself as often as it is asked to."""


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Clips of different content, few different pictures: what follows the video in a file is not read."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed in range(4):
        write_video(make_scene(seed), folder / f"{seed}.mp4", Encoding(64, 48, 10))
    for number in range(4, CLIPS):
        copy = shutil.copy(folder / f"{number % 4}.mp4", folder / f"{number}.mp4")
        with open(copy, "ab") as file:
            file.write(b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return folder


@pytest.fixture
def nursery(tmp_path: Path, videos: Path) -> Iterator[subprocess.Popen[str]]:
    checkpoint = write_micro_checkpoint(tmp_path / "micro")
    command = [sys.executable, "-c", NURSERY, str(videos), str(checkpoint), str(tmp_path / "cache")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the extraction runs in a fork")
def test_twenty_kills_repeat_nothing_that_is_finished(nursery: subprocess.Popen[str], tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache")
    generator = random.Random(0)
    before: dict[str, tuple[int, int]] = {}
    for _ in range(KILLS):
        child = int(ask(nursery))
        wait_for_more(cache, len(before) + generator.randrange(6))
        time.sleep(generator.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        assert hear(nursery) == "gone", "the extraction ended by itself"
        assert all(error is None for _, error in verify(cache)), "an entry is damaged"
        after = identities(cache)
        assert before.items() <= after.items(), "an entry was lost or made again"
        before = after
    assert len(before) < CLIPS, "every kill came while there was work to do"
    ask(nursery)
    encoded, present, skipped = map(int, hear(nursery).split())
    assert (encoded + present, skipped) == (CLIPS, 0)
    # An entry whose frames were not yet noted down is looked at again: one clip is written at a time.
    assert len(before) - present <= KILLS
    assert before.items() <= identities(cache).items()
    assert len(identities(cache)) == CLIPS


def ask(nursery: subprocess.Popen[str]) -> str:
    """Start one more extraction; the id of its process."""
    assert nursery.stdin is not None
    nursery.stdin.write("again\n")
    nursery.stdin.flush()
    return hear(nursery)


def hear(nursery: subprocess.Popen[str]) -> str:
    assert nursery.stdout is not None
    return nursery.stdout.readline().strip()


def identities(cache: TokenCache) -> dict[str, tuple[int, int]]:
    """What changes when an entry is written anew, by its name."""
    if not cache.entries.exists():
        return {}
    found = [(entry.path.name, entry.path.stat()) for entry in stored(cache)]
    return {name: (status.st_ino, status.st_ctime_ns) for name, status in found}


def wait_for_more(cache: TokenCache, count: int) -> None:
    """Wait until there are more entries than so many."""
    ends = time.monotonic() + 300
    while len(identities(cache)) <= count:
        assert time.monotonic() < ends, "the extraction makes no progress"
        time.sleep(0.005)
