"""The configuration of an ST-LLM: three transformers configurations and the settings of the method."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, InstructBlipQFormerConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

VIDEO_TOKEN_ID = -200
"""Stands for one clip in `input_ids`; never looked up, replaced by the clip's video tokens."""

VIDEO_INPUTS = ("all", "mean", "residual")
POSITIONS = ("compact", "original")
MASKED_VIDEO_LOSSES = ("cosine", "mse")


class StllmConfig(PreTrainedConfig):
    """Everything a checkpoint must say about itself to be loaded and talked to.

    Source: ST-LLM (arXiv 2404.00308); the defaults are the released conversation model's.
    """

    model_type = "stllm"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="instructblip_vision_model"),
        "qformer_config": SubConfigSpec(config_class=AutoConfig, model_type="instructblip_qformer"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    # A dict or one of transformers' configurations going in, always a configuration after __post_init__.
    vision_config: Any = None
    """Vision encoder: InstructBLIP's EVA-CLIP tower, or any of transformers' vision models."""
    qformer_config: Any = None
    """`instructblip_qformer` reads the question, `blip_2_qformer` does not."""
    text_config: Any = None
    """Any causal language model."""

    num_queries: int = 32
    """Video tokens per frame."""
    vision_final_norm_eps: float = 1e-5
    """The released last vision norm keeps PyTorch's default, unlike the blocks of the tower."""
    bt_adapter_depth: int = 0
    """How many of the last vision blocks carry a BT-Adapter branch; 0 for none."""
    bt_adapter_positions: int = 64
    """Most frames the BT-Adapter can tell apart."""
    bt_adapter_drop_path: float = 0.1
    """Stochastic depth of the last BT-Adapter layer in training, rising from 0 in the first."""

    video_input: str = "residual"
    """What reaches the language model: `all` tokens, their `mean` over time, or `residual` (global-local)."""
    num_local_frames: int = 16
    """Frames whose tokens the global-local input keeps."""
    adapter_dim: int = 1024
    """Bottleneck width of the global-local adapter."""
    masked_video_decoder: bool = True
    """Whether a linear decoder stands between the student's hidden states and the masked-video loss."""
    masked_video_loss: str = "cosine"
    """`cosine` (released code: 2 - 2 cos) or `mse` (the paper's text)."""
    masked_video_weight: float = 1.0
    """Weight of the masked-video loss beside the language loss."""
    positions: str = "compact"
    """Position ids after dropping: `compact` closes the gaps (released), `original` leaves them."""

    prompt_format: str = "instructblip"
    """Name in `prompt.PROMPT_FORMATS`: how question and answer are written around the video."""
    chat_marks: dict[str, str] | None = None
    """With the prompt format `chat_template`: what the language model's own template writes around turns."""
    max_text_length: int = 256
    """Longest question (Q-Former tokens) and answer (language model tokens)."""
    bos_token_id: int | None = None
    """The token that opens a prompt; the released InstructBLIP variants use `</s>`."""
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    image_mean: list[float] | tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    """Per-channel mean of the pixels, 0 to 1 (CLIP's)."""
    image_std: list[float] | tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    """Per-channel standard deviation of the pixels (CLIP's)."""
    num_frames: int = 16
    """Frames sampled from a clip unless the caller says otherwise."""
    compat: str | None = None
    """`released` reproduces known defects of the released code, for comparison with published numbers."""
    trained_on: str | None = None
    """`shapes` marks the bundled model, which knows moving shapes only."""
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in the parts and refuse settings that cannot work together.

        Raises:
            ValueError: If a choice has no such value, or the parts do not fit together.
        """
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        _require(self.video_input, VIDEO_INPUTS, "video_input")
        _require(self.positions, POSITIONS, "positions")
        _require(self.masked_video_loss, MASKED_VIDEO_LOSSES, "masked_video_loss")
        _require(self.compat, (None, "released"), "compat")
        vision_dim = self.vision_config.hidden_size
        if self.qformer_config.encoder_hidden_size != vision_dim:
            self.qformer_config.encoder_hidden_size = vision_dim
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))

    @property
    def reads_question(self) -> bool:
        """Whether the Q-Former reads the question, so that video tokens belong to (clip, question)."""
        return self.qformer_config.model_type == InstructBlipQFormerConfig.model_type

    @property
    def mixes_frames(self) -> bool:
        """Whether the vision encoder lets frames see each other (BT-Adapter)."""
        return self.bt_adapter_depth > 0

    @property
    def image_size(self) -> int:
        """Side of the square pictures the vision encoder takes, in pixels."""
        return int(self.vision_config.image_size)

    def tokens_per_clip(self, num_frames: int) -> int:
        """Video tokens that reach the language model for a clip of `num_frames` frames."""
        if self.video_input == "mean":
            return self.num_queries
        if self.video_input == "residual":
            return self.num_queries * min(self.num_local_frames, num_frames)
        return self.num_queries * num_frames


def _require(value: object, allowed: tuple[object, ...], name: str) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it can be {', '.join(map(repr, allowed))}")


AutoConfig.register("stllm", StllmConfig, exist_ok=True)
