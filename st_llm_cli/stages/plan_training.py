"""Say what a recipe's training would take, before any weight is loaded or any clip is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from st_llm_cli.errors import PlanError
from st_llm_cli.model.checkpoint import read_config
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.facts import PARTS
from st_llm_cli.model.locate import BUNDLED, locate
from st_llm_cli.model.published import published_config
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe import Recipe
from st_llm_cli.recipe.schema import Train
from st_llm_cli.stages.train import without_training
from st_llm_cli.stages.training_tokens import training_level, why_not_in_training
from st_llm_cli.training.attention import choose_attention
from st_llm_cli.training.costs import StepFlops, step_flops
from st_llm_cli.training.deepen import deeper_config
from st_llm_cli.training.devices import Device, named_device
from st_llm_cli.training.memory import Memory, Setup, memory_of, setup_of
from st_llm_cli.training.method import apply_method
from st_llm_cli.training.ready import config_of_start, prepare, seen_text
from st_llm_cli.training.rehearsal import Prepare, rehearse, without_contents
from st_llm_cli.training.scale import casts_weights
from st_llm_cli.training.step import StepShape, TextSizes, patches_of, step_shape

SUGGESTED_SHARE = 0.9
"""Share of the memory that a suggested batch may fill."""


@dataclass(frozen=True)
class PartPlan:
    """One part of the model."""

    name: str
    trained: int
    """Parameters that learn."""
    frozen: int


@dataclass(frozen=True)
class Knob:
    """A setting that would take less memory."""

    setting: str
    """As one would write it."""
    peak: float
    """Bytes per device with it."""


@dataclass(frozen=True)
class StagePlan:
    """What one training stage would take."""

    name: str
    parts: tuple[PartPlan, ...]
    shape: StepShape
    flops: StepFlops
    """Of one pass on one device."""
    samples: int
    """Clips seen in the whole stage, with repetitions."""
    memory: Memory
    """Per device."""
    fits: bool
    batch: int | None
    """Largest `batch_size` that fits; None where none does."""
    knobs: tuple[Knob, ...]
    """Where it does not fit: what would take less, the best first."""
    cached: str | None
    """`frames` or `queries`: what comes from the token cache; None for nothing."""
    cache_bytes_per_clip: float
    """What a clip takes in the cache; 0 without one."""
    hours: float


@dataclass(frozen=True)
class TrainingPlan:
    """What a recipe's training would take."""

    device: Device
    processes: int
    sizes_from: str
    """Where the sizes of the model were found."""
    stages: tuple[StagePlan, ...]

    @property
    def fits(self) -> bool:
        """Whether each stage does."""
        return all(stage.fits for stage in self.stages)

    @property
    def hours(self) -> float:
        """Of all stages."""
        return sum(stage.hours for stage in self.stages)


def plan(recipe: Recipe, *, device: str | None = None, processes: int = 1) -> TrainingPlan:
    """Plan every training stage of a recipe.

    Args:
        recipe: The recipe.
        device: Name in `DEVICES`, `cpu`, or `80GB,312TF`; what is here if None.
        processes: Devices that share the work.

    Raises:
        CheckpointError: If the checkpoint is not there, and nothing says how large it is.
        RecipeError: If the recipe trains nothing, or the checkpoint lacks what it asks for.
        UsageError: If there is no such device.
    """
    if not recipe.training:
        raise without_training()
    config, sizes_from = planned_config(recipe)
    stages = []
    for stage in recipe.training:
        config = deeper_config(config, stage.add_layers)
        place = named_device(device, stage.precision)
        stages.append(_Planned(recipe, stage, config, place, processes).plan())
    return TrainingPlan(place, processes, sizes_from, tuple(stages))


def refuse_what_cannot_fit(planned: TrainingPlan) -> None:
    """Raise what is wrong with a plan.

    Raises:
        PlanError: If a stage does not fit, with what would help most.
    """
    for stage in planned.stages:
        if stage.fits:
            continue
        need, have = (f"{size / 1e9:.1f} GB" for size in (stage.memory.peak, planned.device.memory))
        what = f"needs {need} on each device, and a {planned.device.name} has {have}"
        if not stage.knobs:
            fix = "nothing that a recipe can say makes it fit; take a smaller model or a larger device"
        else:
            best, *others = stage.knobs
            fix = f"{best.setting} takes it to {best.peak / 1e9:.1f} GB"
            for other in others[:2]:
                fix += f", {other.setting} to {other.peak / 1e9:.1f}"
        raise PlanError(what, where=f"stage '{stage.name}'", fix=fix)


def planned_config(recipe: Recipe) -> tuple[StllmConfig, str]:
    """Find out how large the model is, and say where that was found.

    Raises:
        CheckpointError: If the checkpoint is not there, and the recipe names no variant.
    """
    if recipe.model.checkpoint is None:
        auto = recipe.model.auto
        where = "the recipe" if auto is None else f"{auto.vision} and {auto.language}"
        return config_of_start(recipe), where
    name, variant = recipe.model.checkpoint, recipe.model.variant
    if variant is not None and name not in BUNDLED and not Path(name).is_dir():
        config, sizes_from = published_config(variant), f"variant {variant} as published"
    else:
        config, sizes_from = read_config(locate(name)), name
    apply_method(config, recipe)
    return config, sizes_from


class _Planned:
    """One stage of a recipe on a device; `with_` says how the same would be with other settings."""

    def __init__(
        self, recipe: Recipe, stage: Train, config: StllmConfig, device: Device, processes: int
    ) -> None:
        self.recipe, self.stage, self.config = recipe, stage, config
        self.device, self.processes = device, processes

    @cached_property
    def text(self) -> TextSizes:
        return seen_text(self.recipe, self.stage, self.config)

    @cached_property
    def setup(self) -> Setup:
        lora = self.recipe.model.lora
        quantized = lora is not None and lora.quantize is not None
        on_cpu = self.device.name == "cpu"
        return setup_of(self.stage, processes=self.processes, quantized=quantized, cpu=on_cpu)

    @cached_property
    def cached(self) -> str | None:
        return cached_level(self.recipe, self.stage, self.config)

    @cached_property
    def get_ready(self) -> Prepare:
        made_ready = prepare(self.recipe, self.stage)

        def get_ready(model: StllmForConditionalGeneration) -> None:
            made_ready(model)
            choose_attention(model, self.stage.precision, cpu=self.device.name == "cpu")

        return get_ready

    @cached_property
    def model(self) -> StllmForConditionalGeneration:
        return without_contents(self.config, self.get_ready)

    def shape(self, clips: int) -> StepShape:
        source = {None: "frames", "frames": "features", "queries": "queries"}[self.cached]
        return step_shape(self.config, self.recipe.model, self.stage, clips, self.text, source)

    def memory(self, clips: int) -> Memory:
        footprint = rehearse(self.config, self.shape(clips), self.get_ready, self.setup.numbers)
        lost = self.device.overhead + self.device.holes * footprint.activations + self._encoder_beside()
        return memory_of(self.model, footprint, self.setup, lost)

    def _encoder_beside(self) -> float:
        """Bytes of the encoder's copy in 32 bits that makes what is not in the cache, see `TokensBeside`."""
        if self.cached is None or not casts_weights(self.stage):
            return 0.0
        parts = [self.model.vision_model, self.model.bt_adapter, self.model.qformer]
        weights = [weight for part in parts if part is not None for weight in part.parameters()]
        return 4.0 * sum(weight.numel() for weight in weights)

    def plan(self) -> StagePlan:
        batch, stage = self.stage.batch_size, self.stage
        memory = self.memory(batch)
        fits = memory.peak <= self.device.memory
        shape = self.shape(batch)
        flops = step_flops(self.model, shape, checkpointing=stage.gradient_checkpointing)
        passes = stage.steps * stage.accumulate
        pace = self.device.flops * self.device.efficiency
        return StagePlan(
            name=stage.name,
            parts=tuple(_parts(self.model)),
            shape=shape,
            flops=flops,
            samples=passes * batch * self.processes,
            memory=memory,
            fits=fits,
            batch=self._largest_batch(memory),
            knobs=() if fits else tuple(self._knobs(memory.peak)),
            cached=self.cached,
            cache_bytes_per_clip=_cache_bytes(self.config, self.cached),
            hours=passes * flops.total / pace / 3600,
        )

    def _largest_batch(self, memory: Memory) -> int | None:
        """Draw a line through what this batch takes and what a smaller one does."""
        batch = self.stage.batch_size
        other = max(1, batch // 2) if batch > 1 else 2
        slope = (memory.peak - self.memory(other).peak) / (batch - other)
        free = SUGGESTED_SHARE * self.device.memory - (memory.peak - slope * batch)
        largest = int(free // max(slope, 1.0))
        return largest if largest >= 1 else None

    def _knobs(self, now: float) -> Iterator[Knob]:
        """What would take less memory, of what can be said in a recipe; the best first."""
        found = []
        for setting, changed in self._alternatives():
            recipe = self.recipe.model_copy(update=changed[0])
            stage = self.stage.model_copy(update=changed[1])
            other = _Planned(recipe, stage, self.config, self.device, self.processes)
            found.append(Knob(setting, other.memory(stage.batch_size).peak))
        yield from sorted((knob for knob in found if knob.peak < now), key=lambda knob: knob.peak)

    def _alternatives(self) -> Iterator[tuple[str, tuple[dict[str, Any], dict[str, Any]]]]:
        from st_llm_cli.recipe.schema import Lora

        stage, model = self.stage, self.recipe.model
        if not stage.gradient_checkpointing:
            yield "gradient_checkpointing: true", ({}, {"gradient_checkpointing": True})
        if stage.batch_size > 1:
            fix = {"batch_size": 1, "accumulate": stage.accumulate * stage.batch_size}
            yield f"batch_size: 1 with accumulate: {fix['accumulate']}", ({}, fix)
        if stage.precision == "float32" and self.device.name != "cpu":
            yield "precision: bfloat16", ({}, {"precision": "bfloat16"})
        lora = Lora() if model.lora is None else model.lora
        if stage.deepspeed is None and stage.optimizer == "adamw":
            kind = "zero3" if self.processes > 1 else "zero3_offload"
            yield f"deepspeed: {kind}", ({}, {"deepspeed": kind, "precision": "bfloat16"})
        if model.lora is None and "language" not in stage.freeze:
            yield "model.lora: {}", ({"model": model.model_copy(update={"lora": lora})}, {})
        if lora.quantize is None and self.device.name != "cpu" and "language" not in stage.freeze:
            four = model.model_copy(update={"lora": lora.model_copy(update={"quantize": "4bit"})})
            all_at_once = {"batch_size": 1, "gradient_checkpointing": True}
            yield (
                "model.lora: {quantize: 4bit} with batch_size: 1 and gradient_checkpointing: true",
                ({"model": four}, all_at_once),
            )


def cached_level(recipe: Recipe, stage: Train, config: StllmConfig) -> str | None:
    """What of a clip comes from the token cache: `frames`, `queries`, or nothing."""
    on_disk = any(source.files is not None for source in stage.data)
    if recipe.tokens.cache == "off" or stage.objective != "answers" or not on_disk:
        return None
    level = training_level(recipe, stage, config)
    return None if why_not_in_training(recipe, stage, config, level) else level


def _cache_bytes(config: StllmConfig, level: str | None) -> float:
    """Of one clip, in 16 bits."""
    per_frame = {
        None: 0,
        "frames": patches_of(config) * config.vision_config.hidden_size,
        "queries": config.num_queries * config.qformer_config.hidden_size,
    }[level]
    return 2.0 * config.num_frames * per_frame


def _parts(model: StllmForConditionalGeneration) -> Iterator[PartPlan]:
    trained: Counter[str] = Counter()
    frozen: Counter[str] = Counter()
    for name, weight in model.named_parameters():
        (trained if weight.requires_grad else frozen)[name.split(".")[0]] += weight.numel()
    for part, about in PARTS.items():
        if trained[part] or frozen[part]:
            yield PartPlan(about, trained[part], frozen[part])
