"""What one training step looks like from the outside: counts and settings, before there is any tensor.

The planner's formulas (`costs`, `memory`) and its rehearsal all start from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.recipe.schema import Model, Train


@dataclass(frozen=True)
class TextSizes:
    """How long questions and answers are."""

    length: int
    """Tokens of a whole sequence beside the video: prompt, question, answer."""
    answer: int
    """Those of it that are learnt."""
    rows_per_clip: int = 1
    """Questions asked about each clip at once."""
    question: int = 32
    """Tokens of the question that a Q-Former reads."""


TYPICAL_TEXT = TextSizes(length=96, answer=32)
"""Of instruction data whose files are not looked into."""


@dataclass(frozen=True)
class StepShape:
    """How much goes through the model in one forward pass on one device."""

    clips: int
    frames: int
    """Of each clip."""
    text: TextSizes
    video_tokens: int
    """Of each clip, as they reach the language model when none is dropped."""
    kept_tokens: int
    """Of each clip, after dropping."""
    teacher: bool
    """Whether masked video modelling has the language model read the whole video too."""
    language: bool = True
    """Whether the language model is run at all."""
    source: str = "frames"
    """What is read of a clip: `frames`, or from the cache `features` or `queries`."""

    @property
    def rows(self) -> int:
        """Sequences."""
        return self.clips * self.text.rows_per_clip

    @property
    def sequence(self) -> int:
        """Tokens of one sequence, after dropping."""
        return self.kept_tokens + self.text.length


def step_shape(
    config: StllmConfig, model: Model, stage: Train, clips: int, text: TextSizes, source: str = "frames"
) -> StepShape:
    """Say what one step on clips looks like, with the mean share of their tokens dropped.

    Args:
        config: Configuration of the model.
        model: The recipe's model block.
        stage: The training stage.
        clips: Clips of a forward pass.
        text: How long the texts are.
        source: What is read of a clip.
    """
    if not config.reads_question:  # then all questions about a clip stand in one sequence
        length, answer = text.length * text.rows_per_clip, text.answer * text.rows_per_clip
        text = TextSizes(length, answer, question=text.question)
    frames = frames_of(config, stage)
    tokens = config.tokens_per_clip(frames)
    masks = model.masking is not None and stage.mask and frames > 1 and stage.objective == "answers"
    mean = model.masking.mean if masks and model.masking is not None else 0.0
    return StepShape(
        clips=clips,
        frames=frames,
        text=text,
        video_tokens=tokens,
        kept_tokens=tokens - int(mean * tokens),
        teacher=masks and model.mvm is not None,
        language=stage.objective != "cells",
        source=source,
    )


def frames_of(config: StllmConfig, stage: Train) -> int:
    """Frames of a stage's clips: one where all it learns from is pictures."""
    pictures = [source.shapes is not None and source.shapes.kind == "images" for source in stage.data]
    single = stage.objective == "cells" or (pictures and all(pictures))
    return 1 if single else config.num_frames


def patches_of(config: StllmConfig) -> int:
    """Feature vectors that a vision encoder makes of one frame, its class token among them if it has one."""
    vision = config.vision_config
    class_token = not vision.model_type.startswith("siglip")
    return int(vision.image_size // vision.patch_size) ** 2 + class_token
