from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from st_llm_cli.errors import DecodeTimeoutError, UsageError, VideoError
from st_llm_cli.video import worker
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.request import Request
from tests.video.bad_transforms import Chatter, Crash, Fail, Report, SleepForever
from tests.video.stripe import numbers_in, small_copy

CLIP = small_copy("gray.mp4")


def child_id(num_frames: int = 1) -> int:
    """Process id of the child that reads the next clip."""
    red, green, blue = read_clip(CLIP, num_frames=num_frames, transform=Report()).frames[0, 0, 1].tolist()
    return int(red << 16 | green << 8 | blue)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_reader_that_sleeps_for_ever_is_killed_and_the_clip_is_named() -> None:
    child = child_id()
    started = time.monotonic()
    with pytest.raises(DecodeTimeoutError) as caught:
        read_clip(CLIP, transform=SleepForever(), deadline=0.5)
    assert time.monotonic() - started < 5
    assert "the reader 'pyav' did not finish within 0.5 s and was stopped" in str(caught.value)
    assert caught.value.where == str(CLIP)
    assert "raise the deadline" in (caught.value.fix or "")
    assert not is_running(child)


def test_after_a_timeout_the_next_clip_is_read() -> None:
    with pytest.raises(DecodeTimeoutError):
        read_clip(CLIP, transform=SleepForever(), deadline=0.2)
    assert numbers_in(read_clip(CLIP, num_frames=3).frames) == [10, 30, 50]


def test_a_crash_costs_one_clip() -> None:
    with pytest.raises(VideoError, match=r"the reader 'pyav' crashed \(signal 11") as caught:
        read_clip(CLIP, transform=Crash())
    assert caught.value.where == str(CLIP)
    assert numbers_in(read_clip(CLIP, num_frames=3).frames) == [10, 30, 50]


def test_a_mistake_in_a_transform_is_told() -> None:
    with pytest.raises(VideoError, match="ZeroDivisionError: a mistake in a transform"):
        read_clip(CLIP, transform=Fail())


def test_what_a_library_prints_does_not_get_into_the_pictures() -> None:
    assert numbers_in(read_clip(CLIP, num_frames=3, transform=Chatter()).frames) == [10, 30, 50]


def test_a_transform_that_cannot_travel_is_refused() -> None:
    with pytest.raises(UsageError, match="the transform cannot be sent to the decoding process"):
        read_clip(CLIP, transform=lambda frame: frame)


def test_the_child_imports_neither_torch_nor_transformers() -> None:
    assert read_clip(CLIP, num_frames=1, transform=Report()).frames[0, 0, 0, 0] == 0


def test_the_child_is_kept_for_the_next_clip() -> None:
    assert child_id() == child_id()


def test_a_child_is_replaced_after_many_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CLIPS_PER_CHILD", 1)
    assert child_id() != child_id()


def test_relative_paths_follow_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    child_id()
    monkeypatch.chdir(CLIP.parent)
    assert read_clip(CLIP.name, num_frames=1).source.path == CLIP.name


def test_an_interrupt_ends_the_child_and_leaves_no_answer_behind() -> None:
    child = child_id()
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        read_clip(CLIP, transform=SleepForever())
    assert not is_running(child)
    assert numbers_in(read_clip(CLIP, num_frames=3).frames) == [10, 30, 50]


def test_threads_read_at_the_same_time() -> None:
    with ThreadPoolExecutor(3) as threads:
        clips = list(threads.map(lambda wanted: read_clip(CLIP, num_frames=wanted), [1, 2, 3, 4, 5, 6]))
    assert [len(clip.frames) for clip in clips] == [1, 2, 3, 4, 5, 6]


def test_a_forked_process_has_a_child_of_its_own() -> None:
    ours = child_id()
    forked = os.fork()
    if forked == 0:
        os._exit(0 if child_id() != ours else 1)
    assert os.waitpid(forked, 0)[1] == 0
    assert child_id() == ours


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from st_llm_cli.video.reader import read_clip\n"
        f"print(len(read_clip({str(CLIP)!r}, num_frames=5).frames))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "5", "")


def test_a_child_ends_with_its_parent() -> None:
    program = (
        "import os, signal, sys\n"
        "from tests.video.test_worker import child_id\n"
        "print(child_id(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    child = int(done.stdout)
    ends = time.monotonic() + 10
    while is_running(child) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not is_running(child)


@pytest.mark.slow
def test_a_child_that_hangs_ends_itself_when_its_parent_is_gone() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "st_llm_cli.video.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    request = Request(CLIP, transform=SleepForever())
    child.stdin.write(pickle.dumps((os.getcwd(), 0.5, request)))
    child.stdin.flush()
    assert child.wait(timeout=30) == -signal.SIGALRM


def test_a_child_that_died_while_it_waited_is_no_clip_s_fault() -> None:
    child = child_id()
    os.kill(child, signal.SIGKILL)
    while is_running(child):
        time.sleep(0.01)
    assert child_id() != child


def test_a_time_limit_that_is_lifted_does_not_kill() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    limit = worker._TimeLimit(child, 0.3)
    assert limit.lift() is False
    time.sleep(0.5)
    assert child.poll() is None
    late = worker._TimeLimit(child, 0.05)
    assert child.wait(timeout=5) == -signal.SIGKILL
    assert late.lift() is True


def test_warming_up_starts_the_child_that_reads() -> None:
    while worker._idle:
        worker._idle.pop().stop()
    worker.warm_up()
    assert len(worker._idle) == 1
    child = worker._idle[0]._child
    assert child is not None
    assert child_id() == child.pid
