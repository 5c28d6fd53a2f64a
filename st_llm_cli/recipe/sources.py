"""What a recipe may say about its data: how a clip is looked at, and where samples come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from st_llm_cli.recipe.block import Block, Positive, Share


class Video(Block):
    """How a clip becomes frames."""

    num_frames: Positive = 16
    """Frames taken from each clip."""
    sampler: Literal["uniform", "random", "released_middle", "released_random"] = "uniform"
    """Rule that chooses the frames in training. The random ones draw anew in every epoch."""
    crop: Literal["fixed", "random"] = "fixed"
    """`fixed`: the middle square; `random`: a part with half to all of the area, drawn anew for each clip in
    every epoch (released code)."""

    @property
    def same_every_epoch(self) -> bool:
        """Whether a clip is shown in the same way each time."""
        return self.crop == "fixed" and "random" not in self.sampler


class Tokens(Block):
    """Whether training takes the clips' tokens from the cache."""

    cache: Literal["auto", "off", "required"] = "auto"
    """`auto`: where the tokens would be the same each time; `required`: refuse the recipe where not."""
    level: Literal["auto", "frames", "queries"] = "auto"
    """`frames`: after the vision encoder; `queries`: after a Q-Former that does not read the question. `auto`
    takes the furthest that stays the same."""


class Shapes(Block):
    """Moving shapes, rendered in memory while training."""

    kind: Literal["images", "videos"] = "videos"
    """`images`: single frames; `videos`: clips of `video.num_frames` frames."""
    world: Literal["plain", "rich"] = "plain"
    """`plain`: one or two objects that move, stop and turn; `rich`: stories, textures and much besides."""
    num_objects: Literal[1, 2, 3, 4] | None = None
    """Objects in each scene, at most 2 in the plain world; drawn evenly if absent."""
    slots: Positive = 1
    """Rich world: what happens takes one of so many equal slots of its part; more make it briefer."""
    kinds: Annotated[tuple[str, ...] | None, Field(min_length=1, strict=False)] = None
    """Kinds of questions, drawn evenly from those a scene gives; a kind named twice comes twice as often. All
    kinds but descriptions if absent."""
    questions_per_clip: Positive = 4
    """Questions about each clip, caption included: each a sequence of its own, sharing the clip's tokens."""
    captions: Share = 0.5
    """Share of clips of which one question asks for a description."""
    exact_places: Share = 0.0
    """Share of images of which one question asks for the place on a fine grid."""
    choices: Share = 0.0
    """Share of questions asked by the released multiple-choice prompt."""
    talks: Share = 0.0
    """Share of questions that follow an earlier question and its answer."""

    @model_validator(mode="after")
    def _of_its_world(self) -> Self:
        if self.world == "plain" and (self.num_objects or 1) > 2:
            raise ValueError(
                f"the plain world has no scenes of {self.num_objects} objects; use 'world: rich'"
            )
        if self.world == "plain" and self.slots > 1:
            raise ValueError("'slots' is for the rich world; drop it, or add 'world: rich'")
        return self


class Annotations(Block):
    """Clips and pictures on disk, and a file of what is asked about them. Paths as on the command line."""

    annotations: str
    """The file."""
    media: str
    """Folder that the paths in the file start from."""
    questions_per_clip: Positive = 1
    """Questions drawn of those that an entry holds, in every epoch anew: each a sequence of its own, sharing
    the clip's tokens."""


class Data(Block):
    """One source of training data: exactly one of its kinds, and how often it comes."""

    shapes: Shapes | None = None
    """The world of moving shapes."""
    videochat2: Annotations | None = None
    """A JSON list of VideoChat2-IT: `{video|image, QA: [{i, q, a}], start, end}`."""
    conversations: Annotations | None = None
    """A JSON list in LLaVA's form: `{video|image, conversations: [{from, value}]}`."""
    jsonl: Annotations | None = None
    """A line each: `{video|image, question, answer, start, end}`."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How often a batch is drawn from this source, relative to the others; a batch has one source."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [name for name in SOURCES if getattr(self, name) is not None]
        if not named:
            raise ValueError(f"names no source; write one of: {', '.join(SOURCES)}")
        if len(named) > 1:
            raise ValueError(f"names {' and '.join(named)}; write each as an entry of its own")
        return self

    @property
    def files(self) -> tuple[str, Annotations] | None:
        """Format and place of a source on disk; None for one that is made while training."""
        formats = {"videochat2": self.videochat2, "conversations": self.conversations, "jsonl": self.jsonl}
        return next(((name, block) for name, block in formats.items() if block is not None), None)

    @property
    def questions_per_clip(self) -> int:
        """Questions drawn of each clip."""
        block = self.shapes if self.files is None else self.files[1]
        assert block is not None, "a source has one of the formats"
        return block.questions_per_clip


SOURCES = ("shapes", "videochat2", "conversations", "jsonl")
"""Kinds of sources, by their keys."""
