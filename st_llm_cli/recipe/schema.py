"""What a recipe may say, block by block. Defaults live here and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from st_llm_cli.recipe.block import Block, NotNegative, Positive, Share
from st_llm_cli.recipe.other_stages import Evaluate, ExtractFeatures
from st_llm_cli.recipe.sources import Data, Tokens, Video

Part = Literal["vision", "qformer", "projection", "language"]
Variant = Literal[
    "instructblip_vicuna0",
    "instructblip_vicuna0_btadapter",
    "minigpt4_vicuna0_btadapter",
    "instructblip_vicuna0_btadapter_mean",
    "minigpt4_vicuna0_btadapter_mean",
    "instructblip_vicuna0_all",
    "instructblip_vicuna0_plain",
]
DEEPSPEED = ("zero2", "zero3", "zero2_offload", "zero3_offload")
"""DeepSpeed configurations that come with the program."""


def _preset(table: str) -> BeforeValidator:
    """Let a block be given by the name of a preset of the table at the end of this file."""

    def look_up(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        presets = PRESETS[table]
        if value not in presets:
            raise ValueError(f"unknown preset '{value}'; known: {', '.join(presets)}")
        return presets[value]

    return BeforeValidator(look_up)


def _named_or_json(value: str | None) -> str | None:
    if value is not None and value not in DEEPSPEED and not value.endswith(".json"):
        raise ValueError(
            f"no DeepSpeed configuration '{value}'; {', '.join(DEEPSPEED)} or a path ending in .json"
        )
    return value


class NewVision(Block):
    """Vision encoder of a model made from nothing (EVA-CLIP layout)."""

    image_size: Positive = 48
    """Side of the square input, pixels."""
    patch_size: Positive = 8
    """Side of a patch, pixels; divides image_size."""
    hidden_dim: Positive = 128
    """Width of the encoder."""
    num_layers: Positive = 4
    """Transformer blocks."""
    num_heads: Positive = 4
    """Attention heads; divides hidden_dim."""


class NewQFormer(Block):
    """Q-Former of a model made from nothing."""

    hidden_dim: Positive = 128
    """Width of the Q-Former."""
    num_layers: Positive = 2
    """Transformer blocks, each with cross-attention to the frame."""
    num_heads: Positive = 4
    """Attention heads; divides hidden_dim."""
    num_queries: Positive = 8
    """Tokens that stand for one frame."""
    reads_question: bool = False
    """Whether the Q-Former sees the question beside the frame (InstructBLIP does, BLIP-2 does not)."""


class NewLanguage(Block):
    """Causal language model (Llama) of a model made from nothing."""

    hidden_dim: Positive = 192
    """Width of the language model."""
    num_layers: Positive = 4
    """Transformer blocks."""
    num_heads: Positive = 4
    """Attention heads; divides hidden_dim."""


class NewModel(Block):
    """A small model with random weights."""

    vision: NewVision = NewVision()
    """Vision encoder."""
    qformer: NewQFormer = NewQFormer()
    """Q-Former."""
    language: NewLanguage = NewLanguage()
    """Language model."""


class AutoModel(Block):
    """A pair of published parts, as transformers' Auto classes load them; the Q-Former between is new."""

    vision: str
    """Vision encoder: folder or Hub id, such as `google/siglip2-base-patch16-256`."""
    language: str
    """Causal language model with a chat template: folder or Hub id, such as `Qwen/Qwen3-1.7B`."""
    qformer: NewQFormer = NewQFormer(hidden_dim=768, num_layers=6, num_heads=12, num_queries=32)
    """Q-Former."""


class Masking(Block):
    """Dynamic masking of video tokens during training: the share dropped is drawn anew at every step."""

    mean: Share = 0.5
    """Mean share of video tokens dropped, 0 to 1."""
    std: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of the share."""
    low: Share = 0.1
    """Smallest share; smaller draws are raised to it."""
    high: Annotated[float, Field(ge=0, lt=1)] = 0.7
    """Largest share, below 1; larger draws are lowered to it."""


class MaskedVideo(Block):
    """Masked video modelling: what is left of the video must predict what the whole video looked like."""

    loss: Literal["cosine", "mse"] = "cosine"
    """Distance between prediction and target: `cosine` is 2 - 2·cos (released code), `mse` is the paper's."""
    decoder: bool = True
    """Whether a linear decoder stands between the masked pass and the loss."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of this loss beside the language loss."""
    every: Positive = 1
    """Steps from one use to the next; 1 for every step."""


class Lora(Block):
    """Train small matrices beside the language model's own (LoRA), by peft; its own weights stay frozen."""

    rank: Positive = 16
    """Inner width of the added matrices."""
    alpha: Annotated[float, Field(gt=0)] = 32
    """What is learnt counts alpha / rank times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the inputs to the added matrices that is dropped while training."""
    targets: Annotated[tuple[str, ...] | None, Field(min_length=1, strict=False)] = None
    """Ends of the names of the layers they are added to, such as `q_proj`; every linear layer of the language
    model but its head if absent."""
    quantize: Literal["4bit"] | None = None
    """`4bit`: keep the language model's own weights in four bits (QLoRA); needs bitsandbytes."""


class Model(Block):
    """The model: its weights to start from, and how the clip's tokens reach the language model."""

    checkpoint: str | None = None
    """Folder or name of a model to start from. Exactly one of `checkpoint`, `new` and `auto` is given."""
    variant: Variant | None = None
    """What the checkpoint is, of the variants that `stllm models list` names. It is refused if it is another,
    and `--dry-run` knows its sizes before it is there."""
    new: NewModel | None = None
    """A small model with random weights."""
    auto: AutoModel | None = None
    """A published vision encoder and a published language model, joined anew."""
    video_input: Literal["all", "mean", "residual"] = "all"
    """`all`: every token of every frame; `mean`: averaged over frames; `residual`: global-local, local
    frames with the mean of all frames added."""
    num_local_frames: Positive | None = None
    """Local frames of the `residual` input; given with that input only."""
    positions: Literal["compact", "original"] = "compact"
    """Position ids of the video tokens that masking leaves: `compact` closes the gaps (released code),
    `original` keeps them, so that a token's position says which frame it is of."""
    masking: Annotated[Masking | None, _preset("masking")] = None
    """Dynamic masking: a block, or the name of a preset (`released`, `paper`)."""
    mvm: Annotated[MaskedVideo | None, _preset("mvm")] = None
    """Masked video modelling: a block, or the name of a preset (`released`, `paper`). Needs masking."""
    lora: Lora | None = None
    """Train the language model by low-rank matrices beside its own; all of it if absent."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if [self.checkpoint, self.new, self.auto].count(None) != 2:
            raise ValueError("give exactly one of 'checkpoint', 'new' and 'auto' (`new: null` unsets it)")
        if self.variant is not None and self.checkpoint is None:
            raise ValueError("'variant' says what 'checkpoint' is, and there is none")
        return self


class Train(Block):
    """One training stage."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "train"
    """Name of the stage; its folder in the run is called so."""
    objective: Literal["answers", "cells", "tracks"] = "answers"
    """`answers`: what the language model says. For new models, on moving shapes and by heads that are thrown
    away: `cells`, each query token says what is in its cell of a picture, of the scenes of `data` if there is
    any; `tracks`, each video token says halfway up the language model what the object in its cell is doing
    and what it did before, beside the answers if `data` asks for some."""
    data: Annotated[tuple[Data, ...], Field(strict=False)] = ()
    """Where samples come from."""
    max_failures: Share = 0.01
    """Share of the clips and pictures that may prove unreadable; above it the stage stops with the list."""
    steps: Positive
    """Optimiser steps."""
    batch_size: Positive = 32
    """Samples that one process sees at once; an optimiser step has `batch_size * accumulate` of each."""
    accumulate: Positive = 1
    """Passes whose gradients are added up for one optimiser step."""
    lr: Annotated[float, Field(gt=0)] = 3e-4
    """Peak learning rate."""
    part_lr: dict[Part, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Peak learning rate of single parts, where it is not `lr`."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon`: orthogonal updates for matrices, AdamW for all else; learns a new model in far fewer steps."""
    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.9, 0.999)
    """AdamW's decay rates of the mean gradient and its square."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of matrices."""
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    """Longer gradients are shortened to this."""
    warmup_steps: NotNegative = 0
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after the warm-up."""
    schedule_steps: Positive | None = None
    """Steps over which the learning rate runs its course, to stop in the middle of it; `steps` if absent."""
    freeze: Annotated[tuple[Part, ...], Field(strict=False)] = ()
    """Parts that are not trained."""
    add_layers: NotNegative = 0
    """Layers put on top of the language model before this stage; they change nothing until trained."""
    mask: bool = True
    """Whether this stage uses the model's masking and masked video modelling; false for images."""
    seed: NotNegative = 0
    """Seed of weights, data and masks."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """`bfloat16`, `float16`: automatic mixed precision; weights that are trained stay in float32."""
    gradient_checkpointing: bool = False
    """Compute activations again for the backward pass instead of keeping them: less memory, more work."""
    deepspeed: Annotated[str | None, AfterValidator(_named_or_json)] = None
    """Share optimiser state and gradients (`zero2`), and weights too (`zero3`), among the processes;
    `…_offload` keeps them in main memory. Or the path of a DeepSpeed configuration, `*.json`."""
    report_to: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Where metrics go beside `metrics.jsonl`: `tensorboard`, or another logger that transformers knows."""
    threads: Positive | None = None
    """CPU threads; PyTorch's choice if absent. Another number of them changes the last bits of a run."""
    log_every: Positive = 10
    """Steps between two lines of metrics."""
    save_every: NotNegative = 500
    """Steps between two checkpoints on the way, from which an interrupted run goes on; 0 for none."""


class Stage(Block):
    """One entry of `stages`: a mapping with a single key, the stage's kind."""

    extract_features: ExtractFeatures | None = None
    """Fill the token cache with the clips of the training stages."""
    train: Train | None = None
    """A training stage."""
    eval: Evaluate | None = None
    """Measure what has been trained so far."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [getattr(self, kind) is None for kind in type(self).model_fields].count(False) != 1:
            raise ValueError(f"is not one stage; write one of: {', '.join(type(self).model_fields)}")
        return self


class Recipe(Block):
    """A recipe: what is done to which model with which data."""

    description: str = ""
    """One sentence for `stllm recipes list`."""
    video: Video = Video()
    """How a clip becomes frames."""
    tokens: Tokens = Tokens()
    """Whether training takes the clips' tokens from the cache."""
    model: Model
    """The model to start from and how it reads a clip."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, strict=False)]
    """What is done, in order."""

    @property
    def training(self) -> tuple[Train, ...]:
        """The training stages, in order."""
        return tuple(stage.train for stage in self.stages if stage.train is not None)


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "masking": {
        "released": {"mean": 0.5, "std": 0.1, "low": 0.1, "high": 0.7},
        "paper": {"mean": 0.5, "std": 0.1, "low": 0.3, "high": 0.7},
    },
    "mvm": {
        "released": {"loss": "cosine", "decoder": True, "weight": 1.0},
        "paper": {"loss": "mse", "decoder": False, "weight": 1.0},
    },
}
"""Blocks that can be given by name: what the released code does, and what the paper's text says."""
