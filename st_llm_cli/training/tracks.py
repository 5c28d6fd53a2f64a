"""Teach the lower half of a new language model to follow objects through a clip, before any question.

Each video token that shows an object has to say, halfway up the language model, what the object is doing,
what it did first and in which cell it began, through linear heads that are thrown away afterwards. To know it
a token must find the earlier tokens of the same object, and questions about one of two objects rest on that.
A large language model comes able to do so. One made from nothing hardly finds out from answers alone: naming
what either object does is right too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm
from torch.utils.data import Dataset

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, StllmOutput
from st_llm_cli.recipe.schema import Train
from st_llm_cli.shapes.render import sample_frames, sample_times
from st_llm_cli.shapes.world import COLORS, MOVEMENTS, SHAPES, TRAIN_SEEDS, MovingShape, Scene, make_scene
from st_llm_cli.training.build import grid_shape
from st_llm_cli.training.cells import NOTHING, cell_of, cells_of
from st_llm_cli.training.data.example import sample_rng
from st_llm_cli.video.transform import normalize


@dataclass(frozen=True)
class Tracks:
    """One clip and what its objects do, seen from each cell of each frame; `IGNORED_LABEL` where unknown."""

    frames: NDArray[np.uint8]
    """[frames, resolution, resolution, 3]."""
    labels: dict[str, list[int]]
    """For each of `QUESTIONS` the right class at each video token, [frames*cells]."""


class TrackStream(Dataset[Tracks]):
    """Clips of moving shapes, each a function of (seed, index)."""

    def __init__(self, train: Train, num_queries: int, num_frames: int, resolution: int) -> None:
        self.train = train
        self.grid = grid_shape(num_queries)
        self.num_frames = num_frames
        self.resolution = resolution

    def __len__(self) -> int:
        return self.train.steps * self.train.batch_size

    def __getitem__(self, index: int) -> Tracks:
        rng = sample_rng(self.train.seed, "tracks", index)
        scene = make_scene(rng.randrange(len(TRAIN_SEEDS)), num_objects=rng.choice((1, 2, 2)))
        return tracks_of(scene, self.grid, self.num_frames, self.resolution)


def tracks_of(scene: Scene, grid: tuple[int, int], num_frames: int, resolution: int) -> Tracks:
    """Draw a clip of a scene and say what is known at each of its video tokens.

    Args:
        scene: What to draw.
        grid: Rows and columns of the cells that the queries stand on.
        num_frames: Frames of the clip.
        resolution: Side of the frames in pixels.
    """
    times = sample_times(scene.duration_seconds, num_frames)
    labels: dict[str, list[int]] = {question: [] for question in QUESTIONS}
    for frame, seconds in enumerate(times):
        cells = cells_of(scene, seconds, grid)
        labels["color"] += cells.colors
        labels["shape"] += cells.shapes
        told = {question: [IGNORED_LABEL] * len(cells.colors) for question in QUESTIONS[2:]}
        for item in scene.objects:
            cell = cell_of(item, seconds, grid)
            if cells.shapes[cell] == IGNORED_LABEL:
                continue  # two objects share it
            told["doing"][cell] = _doing(item, times[max(frame - 1, 0) : frame + 1])
            told["first"][cell] = IGNORED_LABEL if frame < 2 else _movement(item.movements[0])
            told["began"][cell] = cell_of(item, times[0], grid)
        for question, answers in told.items():
            labels[question] += answers
    return Tracks(sample_frames(scene, num_frames, resolution), labels)


def _doing(item: MovingShape, moments: Sequence[float]) -> int:
    """What an object did between two moments; unknown if it turned in between, and at a first frame."""
    seen = {item.movement_at(moment) for moment in moments}
    return _movement(seen.pop()) if len(moments) == 2 and len(seen) == 1 else IGNORED_LABEL


def _movement(name: str) -> int:
    return list(MOVEMENTS).index(name)


@dataclass(frozen=True)
class TrackCollator:
    """Clips with their tracks → one batch of tensors, the arguments of `TrackReader.forward`."""

    config: StllmConfig

    def __call__(self, examples: Sequence[Tracks]) -> dict[str, Tensor]:
        """Stack: `frames` [clips, frames, 3, side, side]; a tensor of labels per question [clips, tokens]."""
        clips = [
            normalize(example.frames, self.config.image_mean, self.config.image_std) for example in examples
        ]
        labels = {
            question: torch.tensor([example.labels[question] for example in examples])
            for question in QUESTIONS
        }
        return {"frames": torch.stack(clips), **labels}


class TrackReader(nn.Module):
    """A model up to the middle of its language model, with heads that ask each video token `QUESTIONS`."""

    def __init__(self, model: StllmForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        hidden = model.config.text_config.hidden_size
        classes = {"began": model.config.num_queries, **CLASSES}
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, classes[name]) for name in QUESTIONS})

    def forward(self, frames: Tensor, **labels: Tensor) -> StllmOutput:
        """Ask every video token; the loss is the sum of the questions' losses."""
        video, _ = self.model.encode_video(frames)
        decoder: Any = self.model.language_model.get_decoder()
        middle = self.model.config.text_config.num_hidden_layers // 2
        states = decoder(inputs_embeds=torch.stack(video), use_cache=False, output_hidden_states=True)
        hidden = states.hidden_states[middle].flatten(0, 1)  # [clips*tokens, hidden]
        hidden = rms_norm(hidden, hidden.shape[-1:])
        loss = hidden.new_zeros(())
        for question, head in self.heads.items():
            right = labels[question].flatten()  # [clips*tokens]
            asked = right != IGNORED_LABEL
            losses = cross_entropy(head(hidden[asked]).float(), right[asked], reduction="none")
            if question == "color":
                # Empty cells are most of a clip: what the others hold has to count as much.
                losses = losses * (1 + 3 * (right[asked] != NOTHING)) / 2
            loss = loss + losses.mean()
        return StllmOutput(loss=loss, video_tokens=torch.tensor(len(hidden)))


QUESTIONS = ("color", "shape", "doing", "first", "began")
"""What each video token is asked of the object in its cell: colour, shape, what it has done since the frame
before, what it did first, and in which cell it began."""
CLASSES = {"color": len(COLORS) + 1, "shape": len(SHAPES), "doing": len(MOVEMENTS), "first": len(MOVEMENTS)}
"""Number of answers to each; `began` has one per cell."""
