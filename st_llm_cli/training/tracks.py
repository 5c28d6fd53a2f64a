"""Teach the lower half of a new language model to follow objects through a clip.

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

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm
from torch.utils.data import Dataset

from st_llm_cli.model.sequence import IGNORED_LABEL
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, StllmOutput
from st_llm_cli.recipe.schema import Train
from st_llm_cli.shapes.render import sample_frames, sample_times
from st_llm_cli.shapes.world import COLORS, MOVEMENTS, SHAPES, TRAIN_SEEDS, MovingShape, Scene, make_scene
from st_llm_cli.training.build import grid_shape
from st_llm_cli.training.cells import NOTHING, cell_of, cells_of
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.example import Example, sample_rng


class TrackStream(Dataset[Example]):
    """Clips of moving shapes about which nothing is asked, each a function of (seed, index)."""

    def __init__(self, train: Train, num_frames: int, resolution: int) -> None:
        self.train = train
        self.num_frames = num_frames
        self.resolution = resolution

    def __len__(self) -> int:
        return self.train.steps * self.train.batch_size

    def __getitem__(self, index: int) -> Example:
        rng = sample_rng(self.train.seed, "tracks", index)
        scene = make_scene(rng.randrange(len(TRAIN_SEEDS)), num_objects=rng.choice((1, 2, 2)))
        return Example(sample_frames(scene, self.num_frames, self.resolution), tasks=(), scene=scene)


def tracks_of(scene: Scene, grid: tuple[int, int], num_frames: int) -> dict[str, list[int]]:
    """Say what is known at each video token of a clip.

    Args:
        scene: What the clip shows.
        grid: Rows and columns of the cells that the queries stand on.
        num_frames: Frames of the clip.

    Returns:
        For each of `QUESTIONS` the right class at each token, [frames*cells]; `IGNORED_LABEL` where unknown.
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
    return labels


def _doing(item: MovingShape, moments: Sequence[float]) -> int:
    """What an object did between two moments; unknown if it turned in between, and at a first frame."""
    seen = {item.movement_at(moment) for moment in moments}
    return _movement(seen.pop()) if len(moments) == 2 and len(seen) == 1 else IGNORED_LABEL


def _movement(name: str) -> int:
    return list(MOVEMENTS).index(name)


@dataclass(frozen=True)
class TrackCollator:
    """Clips of moving shapes → one batch, the arguments of `TrackReader.forward`."""

    collator: Collator
    """Writes what is asked about the clips."""

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Put clips together: `frames`, all that asks about them, and `tracks`, [clips, tokens] each."""
        asked = any(example.tasks for example in examples)
        batch = self.collator(examples) if asked else self.collator.video(examples)
        grid = grid_shape(self.collator.config.num_queries)
        num_frames = batch["frames"].shape[1]
        known = [tracks_of(e.scene, grid, num_frames) for e in examples if e.scene and not e.is_picture]
        if known:
            batch["tracks"] = {name: torch.tensor([each[name] for each in known]) for name in QUESTIONS}
        return batch


class TrackReader(nn.Module):
    """A model with heads halfway up its language model that ask each video token `QUESTIONS`."""

    def __init__(self, model: StllmForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        text = model.config.text_config
        classes = {"began": model.config.num_queries, **CLASSES}
        self.heads = nn.ModuleDict({name: nn.Linear(text.hidden_size, classes[name]) for name in QUESTIONS})
        self.middle = text.num_hidden_layers // 2

    def forward(self, frames: Tensor, tracks: dict[str, Tensor] | None = None, **asked: Any) -> StllmOutput:
        """Add the questions' losses to that of the answers; without answers they are all there is.

        Args:
            frames: [clips, frames, 3, side, side].
            tracks: Right answers of the video tokens, [clips, tokens] each; None for pictures.
            asked: The other arguments of the model, if anything is asked about the clips.
        """
        states: list[Tensor] = []
        decoder: Any = self.model.language_model.get_decoder()
        layer = decoder.layers[self.middle - 1]
        handle = layer.register_forward_hook(lambda module, given, result: states.append(result))
        try:
            output = self.model(frames=frames, **asked) if asked else self._look(decoder, frames)
        finally:
            handle.remove()
        if tracks is not None:
            # A sequence begins with its clip: nothing stands before it in the prompts of new models.
            hidden = states[0][:, : tracks["color"].shape[1]]
            assert output.loss is not None
            output.loss = output.loss + self._ask(hidden, tracks)
        return output

    def _look(self, decoder: Any, frames: Tensor) -> StllmOutput:
        """Show clips to the language model and say nothing."""
        video = torch.stack(self.model.encode_video(frames)[0])  # [clips, tokens, hidden]
        decoder(inputs_embeds=video, use_cache=False)
        return StllmOutput(loss=video.new_zeros(()), video_tokens=torch.tensor(video[..., 0].numel()))

    def _ask(self, hidden: Tensor, tracks: dict[str, Tensor]) -> Tensor:
        """Sum of the questions' losses at states of the video tokens, [clips, tokens, hidden]."""
        hidden = rms_norm(hidden.flatten(0, 1), hidden.shape[-1:])  # [clips*tokens, hidden]
        loss = hidden.new_zeros(())
        for question, head in self.heads.items():
            right = tracks[question].flatten()  # [clips*tokens]
            known = right != IGNORED_LABEL
            losses = cross_entropy(head(hidden[known]).float(), right[known], reduction="none")
            if question == "color":
                # Empty cells are most of a clip: what the others hold has to count as much.
                losses = losses * (1 + 3 * (right[known] != NOTHING)) / 2
            loss = loss + losses.mean()
        return loss


QUESTIONS = ("color", "shape", "doing", "first", "began")
"""What each video token is asked of the object in its cell: colour, shape, what it has done since the frame
before, what it did first, and in which cell it began."""
CLASSES = {"color": len(COLORS) + 1, "shape": len(SHAPES), "doing": len(MOVEMENTS), "first": len(MOVEMENTS)}
"""Number of answers to each; `began` has one per cell."""
