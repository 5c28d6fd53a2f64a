"""ST-LLM, the method: every spatial-temporal token of a clip goes to the language model.

Source: "Large Language Models Are Effective Temporal Learners" (arXiv 2404.00308). In the order of the paper:
what of the video reaches the language model (all tokens, their mean, or global-local), dynamic masking,
masked video modelling, and the model that puts them together. The rest of this room serves this file.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    GenerationMixin,
    PreTrainedModel,
)
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from st_llm_cli.model import sequence
from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig
from st_llm_cli.model.qformer import QFormer
from st_llm_cli.model.sequence import IGNORED_LABEL, VideoTokens
from st_llm_cli.model.vision import build_bt_adapter, build_vision, encode_clips

Clips = Tensor | Sequence[Tensor]
"""[clips, frames, …], or one tensor [frames, …] per clip when their numbers of frames differ."""


# ---------------------------------------- what of the video reaches the language model


def local_frame_indices(num_local: int, num_frames: int, *, released: bool = False) -> list[int]:
    """Choose evenly spaced frames whose own tokens are kept by the global-local input.

    Args:
        num_local: Frames to keep, the middles of as many equal parts of the clip.
        num_frames: Frames of the clip. One of at most `num_local` frames keeps each of them, once.
        released: Let short clips repeat frames by the released formula, as far as that stays within the clip.

    Source: released code, `get_residual_index`.
    """
    segment = num_frames / num_local
    indices = [int(segment / 2 + round(segment * i)) for i in range(num_local)]
    if num_frames > num_local or (released and max(indices) < num_frames):
        return indices
    return list(range(num_frames))


class GlobalLocal(nn.Module):
    """Local tokens of a few frames, each shifted by what all frames say on average.

    `up` starts at zero, so training starts from the local frames alone.

    Source: ST-LLM, global-local input.
    """

    def __init__(self, hidden_dim: int, adapter_dim: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_dim, adapter_dim)
        self.up = nn.Linear(adapter_dim, hidden_dim)

    def forward(self, tokens: Tensor, local: list[int]) -> Tensor:
        """[frames, queries, hidden], indices of the local frames → [local frames, queries, hidden]."""
        shift = self.up(torch.relu(self.down(tokens.mean(dim=0))))  # [queries, hidden]
        return tokens[local] + shift


# ---------------------------------------- dynamic masking


def draw_mask_ratio(
    generator: torch.Generator | None = None,
    mean: float = 0.5,
    std: float = 0.1,
    low: float = 0.1,
    high: float = 0.7,
) -> float:
    """Draw the share of video tokens to drop in one training step: normal, clipped to [low, high].

    Source: ST-LLM, dynamic masking. The released code clips to [0.1, 0.7]; the paper's text says [0.3, 0.7].
    """
    ratio = mean + std * float(torch.randn((), generator=generator))
    return min(max(ratio, low), high)


def draw_drop_mask(num_tokens: int, ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Choose which of a clip's tokens to drop: exactly `int(ratio * num_tokens)`, uniformly.

    Returns:
        [tokens], True where dropped, on the CPU.

    Raises:
        ValueError: If the ratio leaves no token.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"a mask ratio of {ratio} is not in [0, 1)")
    mask = torch.zeros(num_tokens, dtype=torch.bool)
    mask[torch.randperm(num_tokens, generator=generator)[: int(ratio * num_tokens)]] = True
    return mask


# ---------------------------------------- masked video modelling


class MaskedVideoDecoder(nn.Module):
    """From the student's hidden states to a guess at the teacher's, [tokens, hidden] → [tokens, hidden]."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(hidden_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-5)

    def forward(self, hidden: Tensor) -> Tensor:
        """Guess the teacher's hidden states."""
        guess: Tensor = self.norm(self.head(hidden))
        return guess


def masked_video_loss(student: Tensor, teacher: Tensor, kind: str = "cosine") -> Tensor:
    """Compare hidden states of the kept video tokens with and without the dropped ones in sight.

    Args:
        student: From the masked pass, [tokens, hidden].
        teacher: From the unmasked pass, [tokens, hidden]; no gradient flows into it.
        kind: `cosine`, 2 - 2 cos (released code), or `mse` (the paper's text).
    """
    student, teacher = student.float(), teacher.detach().float()
    if kind == "mse":
        return (student - teacher).square().mean()
    return (2 - 2 * cosine_similarity(student, teacher, dim=-1)).mean()


# ---------------------------------------- the model


@dataclass
class StllmOutput(ModelOutput):
    """What a forward pass gives back."""

    loss: Tensor | None = None
    """Language loss + weighted masked-video loss."""
    language_loss: Tensor | None = None
    masked_video_loss: Tensor | None = None
    logits: Tensor | None = None
    """Without labels: next-token logits after each row's last token, [batch, vocabulary]."""
    video_tokens: Tensor | None = None
    """Video tokens the language model read in this batch, after dropping."""
    padding: Tensor | None = None
    """With labels: share of the positions it read that only made sequences equally long."""


class StllmForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Vision encoder → Q-Former → projection → video input → any causal language model."""

    config: StllmConfig
    config_class = StllmConfig
    base_model_prefix = "stllm"
    main_input_name = "frames"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: StllmConfig) -> None:
        super().__init__(config)
        _check_language_model(config)
        hidden_dim = config.text_config.hidden_size
        self.vision_model = build_vision(config)
        self.bt_adapter = build_bt_adapter(config)
        self.qformer = QFormer(config)
        self.projection = nn.Linear(config.qformer_config.hidden_size, hidden_dim)
        residual = config.video_input == "residual"
        self.global_local = GlobalLocal(hidden_dim, config.adapter_dim) if residual else None
        self.masked_video_decoder = MaskedVideoDecoder(hidden_dim) if config.masked_video_decoder else None
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> StllmForConditionalGeneration:
        """Set the mode, except of an encoder that does not learn: dropout there would only be noise."""
        super().train(mode)
        for part in (self.vision_model, self.bt_adapter, self.qformer):
            if part is not None and not any(weight.requires_grad for weight in part.parameters()):
                part.eval()
        return self

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        # transformers passes over modules without parameters of their own, so `up` itself is looked for.
        if self.global_local is not None and module is self.global_local.up:
            init.zeros_(module.weight)
        elif isinstance(module, QFormer):
            init.normal_(module.query_tokens, std=self.config.initializer_range)

    # ---- frames → video tokens

    def encode_vision(self, frames: Clips) -> list[Tensor]:
        """Normalised frames → features after the last vision norm.

        Args:
            frames: One entry per clip, each [frames, 3, height, width].

        Returns:
            One entry per clip, each [frames, patches(+1), vision_dim].
        """
        clips = [clip.to(self.vision_model.dtype) for clip in frames]
        return encode_clips(self.vision_model, self.bt_adapter, clips)

    def encode_queries(
        self, features: Clips, question_ids: Tensor | None = None, question_mask: Tensor | None = None
    ) -> list[Tensor]:
        """Features, each [frames, patches, dim] → Q-Former output, each [frames, queries, qformer_dim].

        Args:
            features: One entry per clip.
            question_ids: Each clip's question for a Q-Former that reads it, [clips, length].
            question_mask: [clips, length], 0 at padding.

        Raises:
            ValueError: If the Q-Former reads questions and none is given.
        """
        return self.qformer(list(features), question_ids, question_mask)

    def video_input(self, queries: Clips, kind: str | None = None) -> list[Tensor]:
        """Choose what the language model may see.

        Args:
            queries: Q-Former output, each [frames, queries, qformer_dim].
            kind: `all`, `mean` or `residual`; the configuration's if None. Single pictures stay as they are.

        Returns:
            Video tokens of each clip, [tokens, hidden].
        """
        kind = kind or self.config.video_input
        inputs = []
        together = torch.cat(list(queries)).to(self.projection.weight.dtype)
        projected = self.projection(together).split([len(clip) for clip in queries])
        for tokens in projected:  # [frames, queries, hidden]
            if len(tokens) > 1 and kind == "mean":
                tokens = tokens.mean(dim=0, keepdim=True)  # [1, queries, hidden]
            elif len(tokens) > 1 and kind == "residual":
                assert self.global_local is not None
                released = self.config.compat == "released"
                local = local_frame_indices(self.config.num_local_frames, len(tokens), released=released)
                tokens = self.global_local(tokens, local)  # [local, queries, hidden]
            inputs.append(tokens.flatten(0, 1))  # [tokens, hidden]
        return inputs

    def encode_video(
        self,
        frames: Clips | None = None,
        features: Clips | None = None,
        queries: Clips | None = None,
        question_ids: Tensor | None = None,
        question_mask: Tensor | None = None,
        video_input: str | None = None,
    ) -> tuple[list[Tensor], list[int]]:
        """Start from frames, vision features or Q-Former output, whichever is given.

        Returns:
            Video tokens, each [tokens, hidden], and the number of frames of each clip.

        Raises:
            ValueError: If not exactly one of the three is given.
        """
        given = [x for x in (frames, features, queries) if x is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of frames, features and queries")
        if frames is not None:
            features = self.encode_vision(frames)
        if features is not None:
            queries = self.encode_queries(features, question_ids, question_mask)
        assert queries is not None
        return self.video_input(queries, video_input), [len(clip) for clip in queries]

    # ---- video tokens + text → hidden states

    def join(
        self,
        input_ids: Tensor,
        video: list[Tensor],
        *,
        owners: list[int] | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        dropped: list[Tensor] | None = None,
        padding_side: str = "right",
    ) -> sequence.Sequence:
        """Put each clip's tokens, less the dropped ones, where its placeholder stands in the text.

        `owners` says which clip that is for each placeholder; if None they come in their order.
        """
        tokens = [_kept(clip) for clip in video]
        if dropped is not None:
            tokens = [_kept(clip, mask) for clip, mask in zip(video, dropped, strict=True)]
        embedding = self.get_input_embeddings()
        pad_id = torch.tensor(self.config.pad_token_id or 0, device=input_ids.device)
        return sequence.join(
            input_ids,
            embedding(input_ids.masked_fill(input_ids == VIDEO_TOKEN_ID, 0)),
            tokens,
            owners=owners,
            attention_mask=attention_mask,
            labels=labels,
            # Nothing that is learnt looks at padding: a gradient of the whole table would be zeros.
            pad_embed=embedding(pad_id).detach(),
            positions=self.config.positions,
            padding_side=padding_side,
        )

    def decode(self, joined: sequence.Sequence) -> Tensor:
        """Run the language model without its head, [batch, length, hidden] after the final norm.

        Args:
            joined: Rows padded on the right; what comes out at padding means nothing.
        """
        own_numbers = self.config.positions == "original" or joined.attention_mask.ndim == 4
        output = self.language_model.get_decoder()(
            inputs_embeds=joined.embeds,
            # Plain numbering is every language model's own default, and some take no other. Padding on the
            # right needs no mask: causal attention never looks there, and is faster and smaller without one.
            attention_mask=joined.attention_mask if own_numbers else None,
            **({"position_ids": joined.position_ids} if own_numbers else {}),
            use_cache=False,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        frames: Clips | None = None,
        features: Clips | None = None,
        queries: Clips | None = None,
        question_ids: Tensor | None = None,
        question_mask: Tensor | None = None,
        clip_of_row: Tensor | None = None,
        mask_ratio: float | None = None,
        drop_mask: Clips | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        masked_video: bool = True,
        num_items_in_batch: Tensor | int | None = None,
    ) -> StllmOutput:
        """Read clips and text; with labels, learn.

        Args:
            input_ids: Text, [batch, length], with `VIDEO_TOKEN_ID` where a clip stands.
            attention_mask: [batch, length], 0 at padding.
            labels: [batch, length], -100 where nothing is to be predicted.
            frames: Normalised frames, [clips, frames, 3, height, width] or one tensor per clip.
            features: Vision features instead, each [frames, patches, vision_dim].
            queries: Q-Former output instead, each [frames, queries, qformer_dim].
            question_ids: Question of each clip for the Q-Former, [clips, length].
            question_mask: [clips, length], 0 at padding.
            clip_of_row: Which clip each row asks about, [batch], rising from 0, when several share one: it
                is encoded once, and read once by the language model too, unless the Q-Former reads questions;
                these are then one per row, and so are drop masks.
            mask_ratio: Share of each video's tokens to drop; None or single pictures drop nothing.
            drop_mask: Which tokens to drop instead, one [tokens] per clip, True where dropped.
            generator: Source of randomness of the drop masks, or one for each; the global one if None.
            masked_video: Whether to add the masked-video loss when tokens are dropped.
            num_items_in_batch: Label tokens over all devices and accumulation steps: the loss's divisor.

        Raises:
            ValueError: If inputs contradict each other.
        """
        if self.config.compat == "released" and self.bt_adapter is not None and labels is not None:
            frames = _released_three_frame_clips(frames)
        owners = None if clip_of_row is None else clip_of_row.tolist()
        if owners is not None and self.config.reads_question:
            features = self.encode_vision(frames) if frames is not None else features
            frames, features, queries = None, _spread(features, owners), _spread(queries, owners)
            owners = None
        video, num_frames = self.encode_video(frames, features, queries, question_ids, question_mask)
        dropped = self._choose_dropped(video, num_frames, mask_ratio, drop_mask, generator)
        if owners is not None and (labels is None or not self._takes_any_mask()):
            video, dropped, owners = _spread(video, owners), _spread(dropped, owners), None
        joined = self.join(
            input_ids,
            video,
            owners=owners,
            attention_mask=attention_mask,
            labels=labels,
            dropped=dropped,
        )
        if owners is not None:
            joined = sequence.share_clips(joined, owners)
        hidden = self.decode(joined)  # [batch, length, hidden]
        if labels is None:
            last = (joined.attention_mask * torch.arange(hidden.shape[1], device=hidden.device)).argmax(dim=1)
            logits = self.get_output_embeddings()(hidden[torch.arange(len(hidden)), last])
            return StllmOutput(logits=logits, video_tokens=joined.is_video.sum())
        language_loss = self._language_loss(hidden, joined.labels, num_items_in_batch)
        loss, video_loss = language_loss, None
        if masked_video and dropped is not None and bool(torch.cat(dropped).any()):
            one_each = slice(None) if owners is None else [owners.index(clip) for clip in range(len(video))]
            mask = None if attention_mask is None else attention_mask[one_each]
            with torch.no_grad():
                whole = self.join(input_ids[one_each], video, attention_mask=mask)
            video_loss = self._masked_video_loss(hidden, joined, whole, dropped)
            loss = loss + self.config.masked_video_weight * video_loss
        return StllmOutput(
            loss=loss,
            language_loss=language_loss.detach(),
            masked_video_loss=None if video_loss is None else video_loss.detach(),
            video_tokens=joined.is_video.sum(),
            padding=joined.is_padding.float().mean(),
        )

    def _takes_any_mask(self) -> bool:
        """Whether the language model can be told position by position what it may attend to."""
        plain = set(getattr(self.config.text_config, "layer_types", None) or ()) <= {"full_attention"}
        kernel = self.language_model.config._attn_implementation
        return plain and kernel in ("eager", "sdpa") and self.config.compat != "released"

    def _choose_dropped(
        self,
        video: list[Tensor],
        num_frames: list[int],
        mask_ratio: float | None,
        drop_mask: Clips | None,
        generator: torch.Generator | Sequence[torch.Generator] | None,
    ) -> list[Tensor] | None:
        """Say of each video token whether it is dropped, one [tokens] mask per clip; None drops nothing.

        Masks stay in main memory: what follows from them costs a device no waiting there.
        """
        if drop_mask is not None:
            masks = [mask.to("cpu", torch.bool) for mask in drop_mask]
            if list(map(len, masks)) != list(map(len, video)):
                raise ValueError("drop masks are not one for each clip, of as many tokens as it has")
            if any(bool(mask.all()) for mask in masks):
                raise ValueError("a drop mask leaves nothing of its clip")
            return masks
        if mask_ratio is None:
            return None
        one_each = list(generator) if isinstance(generator, Sequence) else [generator] * len(video)
        return [
            # A single picture has no other frame to guess its tokens from.
            draw_drop_mask(len(clip), mask_ratio if frames > 1 else 0.0, own)
            for clip, frames, own in zip(video, num_frames, one_each, strict=True)
        ]

    def _language_loss(self, hidden: Tensor, labels: Tensor, num_items: Tensor | int | None) -> Tensor:
        """Cross-entropy over the answers; logits exist for answer positions only."""
        answered = labels[:, 1:] != IGNORED_LABEL
        logits = self.get_output_embeddings()(hidden[:, :-1][answered]).float()  # [answer tokens, vocabulary]
        total = cross_entropy(logits, labels[:, 1:][answered], reduction="sum")
        count = answered.sum() if num_items is None else num_items
        return total / count

    def _masked_video_loss(
        self, hidden: Tensor, joined: sequence.Sequence, whole: sequence.Sequence, dropped: list[Tensor]
    ) -> Tensor:
        """Let the masked pass guess, at the kept tokens, what the model thinks when it sees all of them."""
        at_kept, at_all = joined.is_video, whole.is_video
        if self.config.compat == "released":
            at_kept, at_all = (
                _released_window(mask, self.config.prompt_format) for mask in (at_kept, at_all)
            )
        end = int(at_all.any(dim=0).nonzero().max()) + 1
        with torch.no_grad(), _no_dropout(self.language_model):
            # Nothing after the last video token can change the teacher there: attention is causal.
            teacher = self.decode(whole.up_to(end))[at_all[:, :end]]  # [all video tokens, hidden]
        student = hidden[at_kept]  # [kept video tokens, hidden]
        if self.masked_video_decoder is not None:
            student = self.masked_video_decoder(student)
        kept = (~torch.cat(dropped)).nonzero().flatten().to(teacher.device)
        return masked_video_loss(student, teacher[kept], self.config.masked_video_loss)

    # ---- talking

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        input_ids: Tensor,
        video: list[Tensor] | None = None,
        attention_mask: Tensor | None = None,
        *,
        frames: Clips | None = None,
        features: Clips | None = None,
        queries: Clips | None = None,
        question_ids: Tensor | None = None,
        question_mask: Tensor | None = None,
        **generation: Any,
    ) -> Tensor:
        """Let the language model continue each row.

        Args:
            input_ids: Text, [batch, length], with `VIDEO_TOKEN_ID` where a clip stands.
            video: Video tokens of each clip, as `encode_video` gives them, if they are there already.
            attention_mask: [batch, length], 0 at padding.
            frames: Normalised frames of each clip, and so on: as in `forward`.
            features: As in `forward`.
            queries: As in `forward`.
            question_ids: As in `forward`.
            question_mask: As in `forward`.
            generation: transformers' own options: `max_new_tokens`, `num_beams`, `temperature` …

        Returns:
            The new token ids only, [batch, new].

        Raises:
            ValueError: If a clip is given in no way or in several.
        """
        if video is None:
            video, _ = self.encode_video(frames, features, queries, question_ids, question_mask)
        elif any(given is not None for given in (frames, features, queries)):
            raise ValueError("give the clip by its video tokens or by what they are made of, not both")
        joined = self.join(input_ids, video, attention_mask=attention_mask, padding_side="left")
        return self.continue_from(joined.embeds, joined.attention_mask, **generation)

    @torch.no_grad()
    def continue_from(self, embeds: Tensor, attention_mask: Tensor, **generation: Any) -> Tensor:
        """Continue sequences of embeddings, [batch, length, hidden] → new token ids, [batch, new]."""
        generation.setdefault("eos_token_id", self.config.eos_token_id)
        generation.setdefault("pad_token_id", self.config.pad_token_id)
        with warnings.catch_warnings():
            # A repetition penalty counts the answer's own tokens here, as in the released code; transformers
            # warns that it cannot count those of a prompt given as embeddings.
            warnings.filterwarnings("ignore", message=".*repetition_penalty.*|.*RepetitionPenalty.*")
            new_ids: Tensor = self.language_model.generate(
                inputs_embeds=embeds, attention_mask=attention_mask, **generation
            )
        return new_ids

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embedding."""
        embedding: nn.Module = self.language_model.get_input_embeddings()
        return embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embedding."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        head: nn.Module = self.language_model.get_output_embeddings()
        return head

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's head."""
        self.language_model.set_output_embeddings(value)


def _check_language_model(config: StllmConfig) -> None:
    for setting in (
        "final_logit_softcapping",
        "logit_scale",
        "logits_scaling",
        "use_bidirectional_attention",
    ):
        if getattr(config.text_config, setting, None):
            # The head is applied to answer positions only, and the teacher to the video prefix only.
            raise ValueError(f"language models with `{setting}` are not supported")


@contextmanager
def _no_dropout(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode and give each part its own mode back after."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _spread(clips: Clips | None, owners: list[int]) -> Any:
    """Hand each row the entry of its clip."""
    return None if clips is None else [clips[owner] for owner in owners]


def _kept(clip: Tensor, dropped: Tensor | None = None) -> VideoTokens:
    """A clip's tokens, [tokens, hidden], and which of them are left without the dropped ones, [tokens]."""
    if dropped is None:
        return VideoTokens(clip, torch.arange(len(clip), device="cpu"))
    return VideoTokens(clip, (~dropped.cpu()).nonzero().flatten())


# ---------------------------------------- known defects of the released code, by request


def _released_three_frame_clips(frames: Clips | None) -> Clips | None:
    """Swap time and colour of three-frame clips, as the released BT-Adapter does with a training batch."""
    if isinstance(frames, Tensor) and frames.shape[1] == 3:
        return frames.transpose(1, 2)
    return frames


def _released_window(is_video: Tensor, prompt_format: str) -> Tensor:
    """Where the released code takes the video tokens to be: from a fixed start, whatever stands before."""
    start = {"instructblip": 0, "minigpt4": 8}[prompt_format]
    window = torch.zeros_like(is_video)
    window[:, start : start + int(is_video[0].sum())] = True
    return window


for kind in (AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM):
    kind.register(StllmConfig, StllmForConditionalGeneration, exist_ok=True)
