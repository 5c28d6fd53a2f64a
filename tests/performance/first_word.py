"""How long the bundled model lets one wait for the first word about a clip it has never seen.

    python tests/performance/first_word.py [--rounds 5] [--threads 1]

Each round is a fresh process for `chat` and one for `describe`, without a token cache, about a clip of 10 s,
640x480, 30 frames a second, H.264. The time counts from when everything is imported: loading the weights,
reading the clip, looking, answering up to the first piece of text.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 1.5
QUESTION = "What color is the object?"


def first_word_of_chat(video: Path) -> float:
    """Seconds to the first piece of an answer in a conversation."""
    from st_llm_cli.cli import chat_terminal  # noqa: F401
    from st_llm_cli.stages.chat import Chat, View
    from st_llm_cli.stages.video_model import load_model

    began = time.perf_counter()
    chat = Chat(load_model("tiny"))
    chat.watch(View(video))
    next(chat.ask(QUESTION))
    return time.perf_counter() - began


def first_word_of_describe(video: Path) -> float:
    """Seconds to the first piece of a description."""
    from st_llm_cli.cli import describe  # noqa: F401
    from st_llm_cli.stages.describe import Wish, look, parts_of
    from st_llm_cli.stages.video_model import load_model

    began = time.perf_counter()
    model = load_model("tiny", seed=0)
    wish = Wish("Describe the video.")
    (part,) = parts_of(video, wish)
    next(model.stream(look(model, part, wish), wish.prompt))
    return time.perf_counter() - began


def write_clip(path: Path) -> None:
    """Write the clip."""
    from tests.video.long_video import write_long_video

    write_long_video(path, 300, 640, 480, group=150, fps=30, encoded=300)


COMMANDS = {"chat": first_word_of_chat, "describe": first_word_of_describe}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--once", nargs=2, metavar=("COMMAND", "VIDEO"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        command, video = arguments.once
        sys.stdout.write(f"{COMMANDS[command](Path(video))}\n")
        return 0
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "PYTHONPATH": str(ROOT)}
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "clip.mp4")
        write_clip(video)
        for _ in range(arguments.rounds):
            for name, times in taken.items():
                words = [sys.executable, __file__, "--once", name, str(video)]
                ran = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
                times.append(float(ran.stdout))
    for name, times in taken.items():
        sys.stdout.write(
            f"{name:9} first word after {median(times):.2f} s  ({min(times):.2f}-{max(times):.2f})\n"
        )
    return int(max(median(times) for times in taken.values()) > LIMIT_SECONDS)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
