"""How fast clips of moving shapes are drawn, beside how fast the bundled model's training takes them.

    python tests/performance/shapes.py training [--rounds 5]
    python tests/performance/shapes.py files [--clips 14]

One thread. `training` draws clips as training sees them (8 frames of 48 x 48, the scene and its questions
included) and takes the training step they are for; they take turns. `files` writes whole video files, by the
processor's seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))
import torch

from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import load_recipe
from st_llm_cli.recipe.sources import Shapes
from st_llm_cli.shapes.encode import MOST_PIXELS
from st_llm_cli.shapes.folder import read_clips, write_folder
from st_llm_cli.shapes.render import frame_count
from st_llm_cli.shapes.worlds import WORLDS
from st_llm_cli.stages.drawn_shapes import FILE_PIXELS
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.example import Example
from st_llm_cli.training.data.shapes import draw_shapes, shapes_vocabulary
from st_llm_cli.training.optimizer import build_optimizer, freeze
from st_llm_cli.training.ready import config_of_new
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.performance.turns import take_turns

BATCH = 24
FROZEN = ("vision", "qformer")


def drawn(world: str, first: int, num_frames: int, resolution: int) -> list[Example]:
    """A batch of clips with what is asked about them, as training has them drawn."""
    source = Shapes(world=world, questions_per_clip=4)  # type: ignore[arg-type]
    return [draw_shapes(source, Random(first + place), num_frames, resolution) for place in range(BATCH)]


def stepper(examples: Sequence[Example], *, frozen: Sequence[str]) -> Callable[[], None]:
    """A training step of the bundled model's size on a batch."""
    recipe = load_recipe("tiny/shapes")
    config = config_of_new(recipe)
    collator = Collator(Tokenizers(word_tokenizer(shapes_vocabulary()), None), config)
    torch.manual_seed(0)
    model = StllmForConditionalGeneration(config).train()
    freeze(model, frozen)
    optimizer = build_optimizer(model, recipe.training[0])
    inputs = {key: value for key, value in collator(examples).items() if key != "mask_seeds"}

    def step() -> None:
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def training(options: argparse.Namespace) -> None:
    """What drawing a batch takes beside training on it."""
    torch.set_num_threads(1)
    recipe = load_recipe("tiny/shapes")
    size = (recipe.video.num_frames or 8, config_of_new(recipe).image_size)
    examples = drawn("plain", 0, *size)
    whole, frozen = stepper(examples, frozen=()), stepper(examples, frozen=FROZEN)
    contenders: dict[str, Callable[[int], object]] = {
        f"a step on {BATCH} clips": lambda _: whole(),
        "a step, vision and Q-Former frozen": lambda _: frozen(),
        "drawing them, plain world": lambda number: drawn("plain", BATCH * number, *size),
        "drawing them, rich world": lambda number: drawn("rich", BATCH * number, *size),
    }
    medians = list(take_turns(options.rounds, contenders, unit="s").values())
    for name, seconds in zip(("a step", "a frozen step", *WORLDS), medians, strict=True):
        sys.stdout.write(f"{name:44} {BATCH * size[0] / seconds:8.0f} frames a second\n")


def files(options: argparse.Namespace) -> None:
    """How many frames a second go into video files."""
    kinds = {name: (name, MOST_PIXELS) for name in WORLDS} | {"benchmark": ("rich", FILE_PIXELS["rich"])}
    for kind, (world, pixels) in kinds.items():
        with tempfile.TemporaryDirectory() as name:
            began = time.process_time()
            write_folder(Path(name), options.clips, world=world, most_pixels=pixels)
            seconds = time.process_time() - began
            clips = read_clips(Path(name))
        frames = sum(frame_count(clip.scene.duration_seconds, clip.encoding.fps) for clip in clips)
        shown = sum(clip.scene.duration_seconds for clip in clips)
        sys.stdout.write(
            f"{kind:10} {len(clips)} clips, {frames / seconds:6.0f} frames a second, "
            f"{seconds / len(clips):5.2f} s a clip, {shown / seconds:5.1f} times as fast as they play\n"
        )
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=14)
    options = parser.parse_args()
    FIGURES[options.figure](options)


FIGURES = {"training": training, "files": files}

if __name__ == "__main__":
    main()
