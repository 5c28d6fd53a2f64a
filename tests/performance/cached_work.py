"""What kept tokens are worth: work on clips with and without the cache, on the 'wide' model.

    python tests/performance/cached_work.py [--rounds 3] [--clips 4] [--work question step residual]

A training step at 16 frames, one of the global-local input at 64 frames, and an evaluation question, all with
decoding, on one torch thread. Both ways take turns; the medians are compared. A step is a forward and a
backward pass with masking and masked video modelling, without the optimiser: that one's work depends on how
many weights are trained. The cache is warm, and the model was loaded before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.stages.clip_tokens import ClipTokens
from st_llm_cli.stages.familiar import looks_like_shapes
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens import media
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.example import Example, Task
from st_llm_cli.training.optimizer import freeze
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.request import Request
from tests.performance.wide import RESIDUAL, wide_checkpoint
from tests.video.long_video import write_long_video

QUESTION = "Question: What does the object do first?\nOptions:\n(A) up\n(B) down\n(C) left\n(D) right"
WORK = ("question", "step", "residual")
WORDS = " ".join(["It moves left and then stops."] * 12)
"""As long as the text of a training sample: about 96 tokens with the question."""


def write_clips(folder: Path, count: int) -> list[Path]:
    """Clips of 10 s, 640x480, each of its own content."""
    first = folder / "0.mp4"
    write_long_video(first, 300, width=640, height=480, group=150, fps=30, encoded=300)
    paths = [first]
    for number in range(1, count):
        paths.append(folder / f"{number}.mp4")
        paths[-1].write_bytes(first.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return paths


class Contest:
    """The same work with and without kept tokens.

    Args:
        checkpoint: The model.
        clips: Videos, looked at in turn.
        root: Folder of the cache.
    """

    def __init__(self, checkpoint: Path, clips: list[Path], root: Path) -> None:
        self.plain = load_model(str(checkpoint))
        model = self.plain.model
        tokens = ClipTokens(model, TokenCache(root), looks_like_shapes, self.plain.folder)
        self.cached = VideoModel(model, self.plain.tokenizers, self.plain.folder, tokens=tokens)
        self.requests = [
            Request(path, num_frames=self.plain.num_frames, transform=self.plain.transform) for path in clips
        ]
        freeze(model, ("vision", "qformer"))
        self.collate = Collator(self.plain.tokenizers, model.config)
        self.reading: list[float] = []
        """Seconds that reading kept tokens took."""

    def look(self, asked: VideoModel, number: int) -> object:
        """Get a clip: decoded, or its tokens."""
        began = time.perf_counter()
        ((_, clip),) = asked.read_clips([self.requests[number % len(self.requests)]])
        if asked is self.cached:
            self.reading.append(time.perf_counter() - began)
        return clip

    def step(self, asked: VideoModel, number: int) -> None:
        """Forward and backward pass of one sample."""
        clip = self.look(asked, number)
        task = (Task("What does it do?", WORDS),)
        if isinstance(clip, Clip):
            example = Example(clip.frames, task)
        else:
            example = Example(None, task, clip.tokens, clip.level)  # type: ignore[attr-defined]
        model = asked.model.train()
        generator = torch.Generator().manual_seed(number)
        batch = self.collate([example])
        batch.pop("mask_seeds", None)
        model(**batch, mask_ratio=0.5, generator=generator).loss.backward()
        model.zero_grad(set_to_none=True)

    def question(self, asked: VideoModel, number: int) -> None:
        """Choose an option of a multiple-choice question."""
        asked.model.eval()
        asked.choose(self.look(asked, number), QUESTION, "ABCD")  # type: ignore[arg-type]


def compare(name: str, contest: Contest, work: Callable[[VideoModel, int], None], rounds: int) -> None:
    """Print the medians of both ways, and what share of the work reading tokens is."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(len(contest.requests)):
        contest.look(contest.cached, number)  # fills the cache
    contest.reading.clear()
    for number in range(rounds + 1):
        for kept, asked in ((False, contest.plain), (True, contest.cached)):
            began = time.perf_counter()
            work(asked, number)
            times[kept].append(time.perf_counter() - began)
    plain, cached = median(times[False][1:]), median(times[True][1:])
    reading = median(contest.reading[1:])
    sys.stdout.write(
        f"{name:32} {plain:7.2f} s without, {cached:7.2f} s with: {plain / cached:5.2f} times as fast; "
        f"reading tokens {reading * 1000:5.1f} ms, {reading / cached:.2%}\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clips = write_clips(Path(folder), arguments.clips)
        time.sleep(media.SETTLED_SECONDS + 0.5)  # what was written just now is digested each time
        short = Contest(wide_checkpoint(), clips, Path(folder) / "cache")
        if "question" in arguments.work:
            compare("evaluation question, 16 frames", short, short.question, arguments.rounds)
        if "step" in arguments.work:
            compare("training step, 16 frames", short, short.step, arguments.rounds)
        if "residual" in arguments.work:
            long = Contest(wide_checkpoint(*RESIDUAL), clips, Path(folder) / "cache")
            compare("training step, 64 → 16 residual", long, long.step, arguments.rounds)


if __name__ == "__main__":
    main()
