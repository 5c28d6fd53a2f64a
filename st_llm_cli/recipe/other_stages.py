"""What a recipe may say about the stages beside training: filling the token cache, and measuring."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from st_llm_cli.recipe.block import Block, NotNegative, Positive


class ExtractFeatures(Block):
    """Encode the clips of the training data once and keep their tokens; names as on the command line."""

    workers: Positive = 2
    """Clips decoded at a time; on a processor, also batches encoded at a time."""
    batch_frames: Positive | None = None
    """Frames encoded at once; if absent, 16 on a processor and 64 elsewhere."""
    deadline: Annotated[float, Field(gt=0)] = 120.0
    """Seconds after which a clip is given up."""
    max_failures: NotNegative | None = None
    """End when more clips than this have failed; all may if absent."""


class Evaluate(Block):
    """Measure the trained model on a benchmark; names as on the command line."""

    bench: str
    """Name of the benchmark, see `stllm eval --list`."""
    data: str
    """The benchmark's folder."""
    world: Literal["plain", "rich"] | None = None
    """Benchmark `shapes`: the world to draw where the folder holds no clips; rich if absent."""
    tasks: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Only these tasks; all if empty."""
    limit: Positive | None = None
    """Only so many questions, drawn by `seed`."""
    answer: Literal["options", "generate"] | None = None
    """Multiple choice: `options` scores the letters, `generate` has the answer written."""
    released: bool = False
    """As the released scripts: written answers, their frames and beams."""
    frames: Positive | None = None
    """Frames per clip; the model's own number if absent."""
    max_new_tokens: Positive | None = None
    """Longest answer; the benchmark's own if absent."""
    seed: NotNegative = 0
    """Of what is drawn."""
