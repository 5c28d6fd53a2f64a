"""Teach a new language model to follow objects through a clip, and to judge options.

Each video token that shows an object has to say, halfway up the language model, what the object is doing,
what it did first and in which cell it began, through linear heads that are thrown away afterwards. To know it
a token must find the earlier tokens of the same object, and questions about one of two objects rest on that.
Behind each option of a multiple-choice question the layer before the last has to say whether it is the true
one: then the last layer only has to find that option's letter.

A large language model comes able to do both. One made from nothing hardly finds out from answers alone:
naming what either object does, or any letter, is right too often.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm
from torch.utils.data import Dataset

from st_llm_cli.model import sequence
from st_llm_cli.model.prompt import choice_prompt
from st_llm_cli.model.sequence import IGNORED_LABEL, VideoTokens
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, StllmOutput
from st_llm_cli.recipe.schema import Train
from st_llm_cli.shapes.render import sample_frames, sample_times
from st_llm_cli.shapes.scene import ACTS, COLORS, MOVEMENTS, SHAPES, MovingShape, Scene
from st_llm_cli.shapes.textures import PLAIN, TEXTURES
from st_llm_cli.shapes.world import TRAIN_SEEDS, make_scene
from st_llm_cli.training.build import grid_shape
from st_llm_cli.training.cells import NOTHING, cells_seen, sights_of
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
        scene = make_scene(rng.choice(TRAIN_SEEDS), num_objects=rng.choice((1, 2, 2)))
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
    sights = sights_of(scene, times, grid)
    labels: dict[str, list[int]] = {question: [] for question in QUESTIONS}
    for frame, seen in enumerate(sights):
        cells = cells_seen(scene, seen, grid)
        labels["color"] += cells.colors
        labels["shape"] += cells.shapes
        labels["texture"] += [_texture(scene, times[frame])] * len(cells.colors)
        told = {question: [IGNORED_LABEL] * len(cells.colors) for question in OF_OBJECTS}
        for item, sight, begun in zip(scene.objects, seen, sights[0], strict=True):
            if sight is None or cells.shapes[sight.cell] == IGNORED_LABEL:
                continue  # two objects share its cell
            told["began"][sight.cell] = IGNORED_LABEL if begun is None else begun.cell
            for question, movement in _known(item, scene, times[: frame + 1]).items():
                told[question][sight.cell] = DOINGS.index(movement)
        for question, answers in told.items():
            labels[question] += answers
    return labels


def _known(item: MovingShape, scene: Scene, times: Sequence[float]) -> dict[str, str]:
    """What can be known of an object's doings once frames of some moments have been seen."""
    if scene.parts > 1:
        begun = range(scene.part_of(times[-1]) + 1)
        return {IN_PART[part]: _in_part(item, scene, part) for part in begun}
    recent = {item.movement_at(moment) for moment in times[-2:]}
    known = {"first": item.movements[0]} if len(times) > 2 else {}
    # Unknown if it turned in between, and at a first frame.
    return {**known, "doing": recent.pop()} if len(times) > 1 and len(recent) == 1 else known


def _texture(scene: Scene, seconds: float) -> int:
    """Number of the texture that is behind everything at a moment."""
    begun = [backdrop.texture for backdrop in scene.backdrops if backdrop.start_seconds <= seconds]
    return BACKDROPS.index(begun[-1] if begun else PLAIN)


def _in_part(item: MovingShape, scene: Scene, part: int) -> str:
    """What an object does in a part of a story, "still" if nothing."""
    done = [
        segment.movement
        for segment in item.segments
        if segment.movement != "still"
        and scene.part_of((segment.start_seconds + segment.end_seconds) / 2) == part
    ]
    return done[0] if done else "still"


@dataclass(frozen=True)
class TrackCollator:
    """Clips of moving shapes → one batch, the arguments of `TrackReader.forward`."""

    collator: Collator
    """Writes what is asked about the clips."""

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Put clips together: `frames`, all that asks about them, and `tracks`, [clips, tokens] each."""
        asked = any(example.tasks for example in examples)
        batch = self.collator(examples) if asked else self.collator.video(examples)
        if asked:
            batch["verdicts"] = self._verdicts(examples, batch["input_ids"])
        grid = grid_shape(self.collator.config.num_queries)
        num_frames = batch["frames"].shape[1]
        known = [tracks_of(e.scene, grid, num_frames) for e in examples if e.scene and not e.is_picture]
        if known:
            batch["tracks"] = {name: torch.tensor([each[name] for each in known]) for name in QUESTIONS}
        return batch

    def _verdicts(self, examples: Sequence[Example], input_ids: Tensor) -> Tensor:
        """At the last token of each option whether it is the true one, [rows, length]."""
        verdicts = torch.full_like(input_ids, IGNORED_LABEL)
        tasks = [task for example in examples for task in example.tasks]
        for row, task in enumerate(tasks):
            if task.choice:
                ends = self._option_ends(task.question)
                verdicts[row, ends] = 0
                verdicts[row, ends["ABCDE".index(task.answer[0])]] = 1
        return verdicts

    def _option_ends(self, question: str) -> list[int]:
        """Place of each option's last token in its row."""
        tokenizer, config = self.collator.tokenizers.language, self.collator.config
        asked = choice_prompt(question)
        lead = len(replace(asked, after="").ids(tokenizer, config))
        spans = tokenizer(asked.after, add_special_tokens=False, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        ends = [end for _, end in spans]
        begin = asked.after.index(question)
        lines = question.split("\n")  # the question, "Options:" and the options
        cuts = [begin + len("\n".join(lines[: last + 1])) for last in range(2, len(lines))]
        return [lead + bisect_right(ends, cut) - 1 for cut in cuts]


class TrackReader(nn.Module):
    """A model with heads in its language model: for the `QUESTIONS` to video tokens, and for verdicts."""

    def __init__(self, model: StllmForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        text = model.config.text_config
        classes = {"began": model.config.num_queries, **CLASSES}
        self.heads = nn.ModuleDict({name: nn.Linear(text.hidden_size, classes[name]) for name in QUESTIONS})
        self.verdict = nn.Linear(text.hidden_size, 2)
        self.middle = text.num_hidden_layers // 2
        self.late = max(text.num_hidden_layers - 1, 1)

    def forward(
        self,
        frames: Tensor,
        tracks: dict[str, Tensor] | None = None,
        verdicts: Tensor | None = None,
        **asked: Any,
    ) -> StllmOutput:
        """Add the questions' losses to that of the answers; without answers they are all there is.

        Args:
            frames: [clips, frames, 3, side, side].
            tracks: Right answers of the video tokens, [clips, tokens] each; None for pictures.
            verdicts: 1 behind true options, 0 behind false ones, `IGNORED_LABEL` elsewhere, [rows, length].
            asked: The other arguments of the model, if anything is asked about the clips.
        """
        decoder: Any = self.model.language_model.get_decoder()
        with (
            _listen(decoder.layers[self.middle - 1]) as middle,
            _listen(decoder.layers[self.late - 1]) as late,
        ):
            output = self.model(frames=frames, **asked) if asked else self._look(decoder, frames)
        assert output.loss is not None
        if tracks is not None:
            # A sequence begins with its clip: nothing stands before it in the prompts of new models.
            output.loss = output.loss + self._ask(middle[0][:, : tracks["color"].shape[1]], tracks)
        if verdicts is not None and (verdicts != IGNORED_LABEL).any():
            output.loss = output.loss + self._judge(late[0], verdicts, frames, asked)
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
            loss = loss + losses.sum() / max(len(losses), 1)
        return loss

    def _judge(self, hidden: Tensor, verdicts: Tensor, frames: Tensor, asked: dict[str, Any]) -> Tensor:
        """Loss of the verdicts at states of all tokens, [clips, length, hidden]."""
        right = self._as_laid(verdicts, frames, asked)  # [clips, length]
        known = right != IGNORED_LABEL
        states = rms_norm(hidden[known], hidden.shape[-1:])  # [options, hidden]
        return cross_entropy(self.verdict(states).float(), right[known])

    @torch.no_grad()
    def _as_laid(self, marks: Tensor, frames: Tensor, asked: dict[str, Any]) -> Tensor:
        """Put marks of the rows, [rows, length], where the model's sequences have them, [clips, length]."""
        ids, owners = asked["input_ids"], asked["clip_of_row"].tolist()
        tokens = self.model.config.tokens_per_clip(frames.shape[1])
        # Ids do for embeddings, and any clip for any other: it is only asked what comes to stand where.
        blank = VideoTokens(ids.new_zeros(tokens, 1).float(), torch.arange(tokens, device="cpu"))

        def join(labels: Tensor) -> sequence.Sequence:
            return sequence.join(
                ids,
                ids[..., None].float(),
                [blank],
                owners=[0] * len(owners),
                attention_mask=asked["attention_mask"],
                labels=labels,
                pad_embed=ids.new_zeros(1).float(),
            )

        source = sequence.share_clips(join(asked["labels"]), owners).source
        assert source is not None
        return join(marks).labels.flatten()[source.clamp_min(0)].masked_fill(source < 0, IGNORED_LABEL)


@contextmanager
def _listen(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer of the language model puts out, [batch, length, hidden] a pass."""
    states: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, given, result: states.append(result))
    try:
        yield states
    finally:
        handle.remove()


IN_PART = ("first", "second", "third", "fourth")
"""A question for each part of a story: what the token's object does in it, asked once the part has begun."""
OF_OBJECTS = ("began", "doing", *IN_PART)
"""Questions that only a token that shows an object can answer."""
QUESTIONS = ("color", "shape", "texture", *OF_OBJECTS)
"""What each video token is asked: the texture behind everything, and of the object in its cell colour, shape,
in which cell it began and, where scenes have no parts, what it has done since the frame before and what it
did first."""
DOINGS = (*MOVEMENTS, *ACTS)
BACKDROPS = (PLAIN, *TEXTURES)
CLASSES = {
    "color": len(COLORS) + 1,
    "shape": len(SHAPES),
    "texture": len(BACKDROPS),
    **dict.fromkeys(("doing", *IN_PART), len(DOINGS)),
}
"""Number of answers to each; `began` has one per cell."""
