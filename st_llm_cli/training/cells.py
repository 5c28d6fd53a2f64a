"""Teach a new vision encoder and Q-Former to see, before a language model asks them anything.

Each query token has to say what is in its own cell of the picture: colour, shape and where in the cell. It
says so through linear heads that are thrown away afterwards. The paper's encoder and Q-Former come trained
(EVA-CLIP, BLIP-2); made from nothing, and taught through the language model alone, they take several times as
long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, StllmOutput
from st_llm_cli.recipe.schema import Train
from st_llm_cli.recipe.sources import Shapes
from st_llm_cli.shapes.render import render_frame
from st_llm_cli.shapes.scene import COLORS, SHAPES, Scene
from st_llm_cli.training.build import grid_shape
from st_llm_cli.training.data.example import sample_rng
from st_llm_cli.training.data.shapes import draw_antialias, draw_scene
from st_llm_cli.video.transform import normalize

NOTHING = len(COLORS)
"""Colour of an empty cell."""


@dataclass(frozen=True)
class Cells:
    """What is in each cell of a picture, on the grid that the queries stand on."""

    colors: tuple[int, ...]
    """Place in `COLORS`, or `NOTHING`; `IGNORED_LABEL` where two objects share the cell. [cells]."""
    shapes: tuple[int, ...]
    """Place in `SHAPES`; `IGNORED_LABEL` unless one object is in the cell. [cells]."""
    offsets: tuple[tuple[float, float, float], ...]
    """Place of the object from the cell's centre, x and y from -1 to 1 or a little more at the edge of the
    picture, and its width, 1 being as wide as the cell; 0 unless one is there. [cells, 3]."""


@dataclass(frozen=True)
class Picture:
    """One picture and what is in its cells."""

    frame: NDArray[np.uint8]
    """[resolution, resolution, 3]."""
    cells: Cells


class CellStream(Dataset[Picture]):
    """Moments of moving scenes, each a function of (seed, index).

    Args:
        train: The stage; its sources say which scenes, those of the plain world if it has none.
        num_queries: Queries of the Q-Former, one for each cell.
        resolution: Side of the pictures in pixels.
    """

    def __init__(self, train: Train, num_queries: int, resolution: int) -> None:
        self.train = train
        self.grid = grid_shape(num_queries)
        self.resolution = resolution
        shapes = [(source.shapes, source.weight) for source in train.data if source.shapes is not None]
        self._sources, self._weights = zip(*shapes or [(Shapes(), 1.0)], strict=True)

    def __len__(self) -> int:
        return self.train.steps * self.train.batch_size

    def __getitem__(self, index: int) -> Picture:
        rng = sample_rng(self.train.seed, "cells", index)
        source = self._sources[0] if len(self._sources) == 1 else rng.choices(self._sources, self._weights)[0]
        scene = draw_scene(source, rng)
        seconds = rng.uniform(0, scene.duration_seconds)
        antialias = draw_antialias(source, rng)
        frame = render_frame(scene, seconds, self.resolution, self.resolution, antialias=antialias)
        return Picture(frame, cells_of(scene, seconds, self.grid))


class Sight(NamedTuple):
    """How an object is seen at one moment."""

    cell: int
    """Number of the cell that holds its centre, row by row."""
    x: float
    """Its centre in the picture, 0 to 1."""
    y: float
    radius: float
    """Half its width, as a share of the picture's side."""
    color: str
    """Key of `COLORS`."""


def cells_of(scene: Scene, seconds: float, grid: tuple[int, int]) -> Cells:
    """Say what is in each cell of a scene at one moment.

    Args:
        scene: What is to be seen.
        seconds: The moment.
        grid: Rows and columns.
    """
    return cells_seen(scene, sights_of(scene, [seconds], grid)[0], grid)


def sights_of(scene: Scene, times: Sequence[float], grid: tuple[int, int]) -> list[list[Sight | None]]:
    """Say how each object is seen at each of some moments, None where it is not: [times][objects].

    Args:
        scene: What is to be seen.
        times: The moments, in seconds.
        grid: Rows and columns of the cells.
    """
    rows, columns = grid
    shifts = scene.view_shift(times)
    told: list[list[Sight | None]] = [[] for _ in times]
    for item in scene.objects:
        states = item.states(times)
        for moment, (x, y) in enumerate((states.centers - shifts).tolist()):
            row, column = (
                min(max(int(place), 0), most - 1)
                for place, most in ((y * rows, rows), (x * columns, columns))
            )
            sight = Sight(row * columns + column, x, y, float(states.radii[moment]), states.colors[moment])
            told[moment].append(sight if states.shown[moment] else None)
    return told


def cells_seen(scene: Scene, sights: Sequence[Sight | None], grid: tuple[int, int]) -> Cells:
    """Say what is in each cell, from how each object is seen.

    Args:
        scene: What is to be seen.
        sights: One for each object.
        grid: Rows and columns.
    """
    rows, columns = grid
    colors = [NOTHING] * (rows * columns)
    shapes = [IGNORED_LABEL] * (rows * columns)
    offsets = [(0.0, 0.0, 0.0)] * (rows * columns)
    for item, sight in zip(scene.objects, sights, strict=True):
        if sight is None:
            continue
        if colors[sight.cell] != NOTHING:
            colors[sight.cell] = shapes[sight.cell] = IGNORED_LABEL
            continue
        colors[sight.cell] = list(COLORS).index(sight.color)
        shapes[sight.cell] = SHAPES.index(item.shape)
        row, column = divmod(sight.cell, columns)
        x, y = 2 * (sight.x * columns - column) - 1, 2 * (sight.y * rows - row) - 1
        offsets[sight.cell] = (x, y, 2 * sight.radius * rows)
    return Cells(tuple(colors), tuple(shapes), tuple(offsets))


@dataclass(frozen=True)
class CellCollator:
    """Pictures with their cells → one batch of tensors, the arguments of `CellReader.forward`."""

    config: StllmConfig

    def __call__(self, examples: Sequence[Picture]) -> dict[str, Tensor]:
        """Stack: `frames` [batch, 1, 3, side, side]; `colors`, `shapes` [batch, cells]; `offsets` [.., 3]."""
        frames = np.stack([example.frame for example in examples])
        return {
            "frames": normalize(frames, self.config.image_mean, self.config.image_std)[:, None],
            "colors": torch.tensor([example.cells.colors for example in examples]),
            "shapes": torch.tensor([example.cells.shapes for example in examples]),
            "offsets": torch.tensor([example.cells.offsets for example in examples], dtype=torch.float32),
        }


class CellReader(nn.Module):
    """A model's eyes, with heads that name what each query token stands for."""

    def __init__(self, model: StllmForConditionalGeneration) -> None:
        super().__init__()
        dim = model.config.qformer_config.hidden_size
        self.model = model
        self.color = nn.Linear(dim, len(COLORS) + 1)
        self.shape = nn.Linear(dim, len(SHAPES))
        self.offset = nn.Linear(dim, 3)

    def forward(self, frames: Tensor, colors: Tensor, shapes: Tensor, offsets: Tensor) -> StllmOutput:
        """Name what is in each cell; the loss is the sum of the three heads' losses."""
        queries: Any = torch.cat(self.model.encode_queries(self.model.encode_vision(frames)))
        there = (shapes != IGNORED_LABEL).flatten()  # [batch*cells]
        queries = queries.flatten(0, 1)  # [batch*cells, dim]
        color = cross_entropy(self.color(queries).float(), colors.flatten(), ignore_index=IGNORED_LABEL)
        # Empty cells are most of a picture: the colour loss is about them first, and has to be raised.
        color = color * len(queries) / there.sum().clamp_min(1)
        shape = cross_entropy(self.shape(queries).float()[there], shapes.flatten()[there])
        offset = (self.offset(queries).float()[there] - offsets.flatten(0, 1)[there]).square().mean()
        return StllmOutput(loss=color + shape + offset, video_tokens=torch.tensor(len(queries)))
