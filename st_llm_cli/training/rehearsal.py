"""A training step on tensors without contents: what would be alive in memory, and when.

The model's own modules run, forward and backward, on PyTorch's fake tensors: no weights, no arithmetic, but
every allocation. So the count holds for any language model, attention, precision, checkpointing or adapter.
Blocks of a language model are alike, so two shallow ones are rehearsed and the rest is a straight line.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.initialization import no_init_weights

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.sequence import Sequence
from st_llm_cli.model.st_llm import StllmForConditionalGeneration, masked_video_loss
from st_llm_cli.training.step import StepShape, patches_of

Prepare = Callable[[StllmForConditionalGeneration], Any]
"""Does to a model what training does before its first step: freezing, adapters, checkpointing."""

SHALLOW = (2, 4)
"""Depths of the language models that stand for a deep one."""


@dataclass(frozen=True)
class Precision:
    """Types of numbers."""

    trained: torch.dtype = torch.float32
    """Of the weights that learn."""
    frozen: torch.dtype = torch.float32
    """Of the others."""
    autocast: torch.dtype | None = None
    """Of automatic mixed precision; None without."""


@dataclass(frozen=True)
class Footprint:
    """Bytes alive during a forward and backward pass, weights left out, at the worst moment of each part."""

    encoding: float = 0
    """Until the video tokens are there."""
    forward: float = 0
    """From there to the loss."""
    early: float = 0
    """While the first half of the language model's gradients is made, gradients included."""
    late: float = 0
    """From there on, gradients included."""
    backward: float = 0
    """Of the backward pass, gradients left out."""
    gradients: float = 0
    """Of all weights that learn, in the end."""

    @property
    def together(self) -> float:
        """At the worst moment, with gradients that grow while activations go."""
        return max(self.encoding, self.forward, self.early, self.late)

    @property
    def activations(self) -> float:
        """At the worst moment, without gradients."""
        return max(self.encoding, self.forward, self.backward)


def without_contents(config: StllmConfig, prepare: Prepare) -> StllmForConditionalGeneration:
    """Make a model on the meta device, ready for training."""
    with torch.device("meta"), no_init_weights():
        model = StllmForConditionalGeneration(config)
        model.tie_weights()  # which transformers leaves out where there are no weights to begin with
        prepare(model)
    return model


def rehearse(
    config: StllmConfig,
    shape: StepShape,
    prepare: Prepare,
    precision: Precision,
) -> Footprint:
    """Run one step without contents.

    Args:
        config: Configuration of the model.
        shape: What goes through it.
        prepare: Gets a model without contents ready for training.
        precision: Types of weights and arithmetic.
    """
    depth = config.text_config.num_hidden_layers
    if depth <= max(SHALLOW):
        return _rehearse(config, shape, prepare, precision)
    few, more = (_rehearse(_shallow(config, layers), shape, prepare, precision) for layers in SHALLOW)
    steps = (depth - SHALLOW[0]) / (SHALLOW[1] - SHALLOW[0])
    line = {
        field.name: getattr(few, field.name) + steps * (getattr(more, field.name) - getattr(few, field.name))
        for field in fields(Footprint)
    }
    return Footprint(**line)


def _shallow(config: StllmConfig, layers: int) -> StllmConfig:
    config = copy.deepcopy(config)
    text = config.text_config
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return config


def _rehearse(config: StllmConfig, shape: StepShape, prepare: Prepare, precision: Precision) -> Footprint:
    model = without_contents(config, prepare)
    _leave_frozen_blocks(model)
    with FakeTensorMode():
        _pretend_contents(model, precision)
        model.train()
        watch = _Watch(model)
        mixed: AbstractContextManager[Any] = (
            nullcontext() if precision.autocast is None else torch.autocast("cpu", precision.autocast)
        )
        with watch:
            with mixed:
                loss = _loss(model, shape, watch)
            watch.part = "early"
            loss.backward()
        return Footprint(**watch.most, gradients=watch.gradients)


def _leave_frozen_blocks(model: StllmForConditionalGeneration) -> None:
    """Let a frozen vision tower have its last blocks only: it keeps nothing, whatever its depth."""
    vision: Any = model.vision_model
    if not any(weight.requires_grad for weight in vision.parameters()):
        vision.encoder.layers = vision.encoder.layers[-max(1, model.config.bt_adapter_depth) :]


def _pretend_contents(model: nn.Module, precision: Precision) -> None:
    """Exchange weights and buffers for fake ones of their types, as if they lay in memory."""
    made: dict[int, nn.Parameter] = {}  # tied weights stay one
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is None:
                continue
            if id(weight) not in made:
                dtype = precision.trained if weight.requires_grad else precision.frozen
                fake = torch.empty(weight.shape, dtype=dtype)
                made[id(weight)] = nn.Parameter(fake, requires_grad=weight.requires_grad)
            module._parameters[name] = made[id(weight)]
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else torch.empty(buffer.shape, dtype=buffer.dtype)


def _loss(model: StllmForConditionalGeneration, shape: StepShape, watch: _Watch) -> Tensor:
    """The model's forward pass with labels, step by step: there are no contents to decide anything by."""
    config = model.config
    copies = 1 if config.reads_question else shape.rows // shape.clips
    queries = _queries(model, shape)
    if not shape.language:
        return torch.stack(queries).float().square().mean()
    video = [tokens for tokens in model.video_input(queries) for _ in range(copies)]  # [tokens, hidden] each
    watch.part = "forward"
    text = model.get_input_embeddings()(torch.zeros(shape.rows, shape.text.length, dtype=torch.long))
    kept = torch.arange(shape.kept_tokens)
    hidden = model.decode(_joined([tokens[kept] for tokens in video], text))  # [rows, sequence, hidden]
    answers = hidden[:, -shape.text.answer - 1 : -1].flatten(0, 1)  # [answer tokens, hidden]
    logits = model.get_output_embeddings()(answers).float()
    loss = cross_entropy(logits, torch.zeros(len(answers), dtype=torch.long))
    if not shape.teacher:
        return loss
    whole = _joined(video, text)
    with torch.no_grad():
        teacher = model.decode(whole.up_to(shape.video_tokens)).flatten(0, 1)  # [all video tokens, hidden]
    student = hidden[:, : shape.kept_tokens].flatten(0, 1)  # [kept video tokens, hidden]
    if model.masked_video_decoder is not None:
        student = model.masked_video_decoder(student)
    target = teacher[torch.arange(len(student))]
    return loss + masked_video_loss(student, target, config.masked_video_loss)


def _queries(model: StllmForConditionalGeneration, shape: StepShape) -> list[Tensor]:
    """Q-Former output of each clip, or of each row where it reads the question."""
    config = model.config
    rows = shape.rows if config.reads_question else shape.clips
    if shape.source == "queries":
        size = (shape.frames, config.num_queries, config.qformer_config.hidden_size)
        return [torch.zeros(size) for _ in range(rows)]
    if shape.source == "features":
        size = (shape.frames, patches_of(config), config.vision_config.hidden_size)
        features = [torch.zeros(size) for _ in range(shape.clips)]
    else:
        side = config.image_size
        features = model.encode_vision(torch.zeros(shape.clips, shape.frames, 3, side, side))
    if not config.reads_question:
        return model.encode_queries(features)
    features = [clip for clip in features for _ in range(rows // shape.clips)]
    return model.encode_queries(features, torch.zeros(rows, shape.text.question, dtype=torch.long))


def _joined(video: list[Tensor], text: Tensor) -> Sequence:
    embeds = torch.stack([torch.cat([clip, row]) for clip, row in zip(video, text, strict=True)])
    ones = torch.ones(embeds.shape[:2], dtype=torch.long)
    return Sequence(embeds, ones, ones, ones, ones.bool(), ~ones.bool())


class _Watch(TorchDispatchMode):
    """Adds up the storages that are alive, gradients apart from all else; weights are not counted."""

    def __init__(self, model: StllmForConditionalGeneration) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part = "encoding"
        self.most = {"encoding": 0, "forward": 0, "early": 0, "late": 0, "backward": 0}
        self.activations = self.gradients = 0
        self._gradients: set[int] = set()
        weights = [*model.parameters(), *model.buffers()]
        # What belongs to the model is known from the start, so that views of it do not count.
        self._known = {each.untyped_storage()._cdata: 0 for each in weights}
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._note_gradient)
        layers = model.language_model.get_decoder().layers
        middle = [each for each in layers[len(layers) // 2].parameters() if each.requires_grad]
        if middle:
            middle[0].register_post_accumulate_grad_hook(self._half_through)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        self._raise(self.part, self.activations + self.gradients)
        if self.part in ("early", "late"):
            self._raise("backward", self.activations)
        return result

    def _raise(self, part: str, count: int) -> None:
        self.most[part] = max(self.most[part], count)

    def _half_through(self, parameter: Tensor) -> None:
        self.part = "late"

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.activations += storage.nbytes()
            weakref.finalize(storage, self._forget, key)

    def _note_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        key = parameter.grad.untyped_storage()._cdata
        if key in self._known and key not in self._gradients:
            self._gradients.add(key)
            self.activations -= self._known[key]
            self.gradients += self._known[key]

    def _forget(self, key: int) -> None:
        size = self._known.pop(key)
        if key in self._gradients:
            self._gradients.discard(key)
            self.gradients -= size
        else:
            self.activations -= size
