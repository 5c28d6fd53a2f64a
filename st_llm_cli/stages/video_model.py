"""A model that can be asked about clips: the checkpoint with the video room in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.model import answer as answering
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.prompt import Prompt, chat_prompt, choice_prompt
from st_llm_cli.stages.clip_tokens import ClipTokens, Look, SeenClip
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop, normalize

if TYPE_CHECKING:
    from torch import Tensor

    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.model.tokenizers import Tokenizers
    from st_llm_cli.tokens.store import TokenCache

OUT_OF_ITS_DEPTH = (
    "the bundled model knows moving shapes only, and this clip shows something else: "
    "for real footage use real weights (--model, see `stllm models --help`)"
)


def load_model(
    name: str = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    seed: int | None = None,
    cache: TokenCache | None = None,
    compat: str | None = None,
) -> VideoModel:
    """Load a model to ask about clips.

    Args:
        name: `tiny` (bundled), a checkpoint folder, a run folder, or a Hub id `owner/name[:subfolder]`.
        device: `auto` (cuda, else mps, else cpu), or one by name.
        dtype: `auto` (as stored), `float32`, `bfloat16` or `float16`.
        seed: Seed of sampled answers.
        cache: Where the tokens of clips are kept, for `VideoModel.read_clips`.
        compat: `released` answers as the released code does, its known defects included; None as the
            checkpoint's configuration says.

    Raises:
        CheckpointError: If there is no such model, or its files are missing, damaged or do not fit.
        UsageError: If `compat` is something else.
    """
    if compat not in (None, "released"):
        raise UsageError(f"no compatibility '{compat}'", where="--compat", fix="it can be `released`")
    model, tokenizers, folder = load_checkpoint(name, device=device, dtype=dtype)
    model.config.compat = compat or model.config.compat
    tokens = None if cache is None else ClipTokens(model, cache, looks_like_shapes, folder)
    return VideoModel(model, tokenizers, folder, seed=seed, tokens=tokens)


class VideoModel:
    """Answers questions about clips.

    Args:
        model: The checkpoint's model, in evaluation mode.
        tokenizers: Its tokenizers.
        folder: Where it came from.
        seed: Seed of sampled answers; each answer starts from it.
        tokens: Tokens of clips that were looked at before; None looks at each clip anew.
    """

    def __init__(
        self,
        model: StllmForConditionalGeneration,
        tokenizers: Tokenizers,
        folder: Path,
        *,
        seed: int | None = None,
        tokens: ClipTokens | None = None,
    ) -> None:
        self.model = model
        self.tokenizers = tokenizers
        self.folder = folder
        self.seed = seed
        self.tokens = tokens

    @property
    def num_frames(self) -> int:
        """Frames it looks at unless told otherwise."""
        return self.model.config.num_frames

    @property
    def transform(self) -> ResizeCenterCrop:
        """What it needs done to each picture."""
        return ResizeCenterCrop(self.model.config.image_size)

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Look | StllmError]]:
        """Read clips to ask about; with a cache, those seen before come as tokens, and no video is opened.

        Args:
            requests: Asking for this model's `transform`; the clips come in their order.

        Yields:
            Each request, with its clip or with the error that stands for it.
        """
        return read_clips(requests) if self.tokens is None else self.tokens.clips(requests)

    def answer(self, clip: Look, question: str, **generation: Any) -> str:
        """Answer a question about a clip.

        Args:
            clip: From `read_clip`, of any picture size, or from this model's `read_clips`.
            question: In plain words.
            generation: `max_new_tokens`, `temperature`, `top_p`, `num_beams`, `repetition_penalty`; greedy
                unless one of them says otherwise.

        Raises:
            UsageError: If clip and question are longer than what the language model can read.
        """
        prompt = self._chat_prompt(question)
        video = self.encode(clip, prompt)
        options = self._options(prompt, video, generation)
        limit = answering.RELEASED_MAX_LENGTH if self._released else None
        return answering.generate(
            self.model, self.tokenizers, prompt, video, max_length=limit, **options
        ).text

    def stream(self, clip: Look, question: str, **generation: Any) -> Iterator[str]:
        """Answer piece by piece; the pieces joined are the answer."""
        if self._released or (generation.get("num_beams") or 1) > 1:
            # Nothing is settled before the last beam is, or before the released code cleans the whole reply.
            yield self.answer(clip, question, **generation)
            return
        prompt = self._chat_prompt(question)
        video = self.encode(clip, prompt)
        options = self._options(prompt, video, generation)
        yield from answering.stream(self.model, self.tokenizers, prompt, video, **options)

    def choose(self, clip: Look, question: str, letters: str) -> int:
        """Choose an option of a multiple-choice question without writing anything.

        Args:
            clip: From `read_clip`.
            question: The question with its lettered options, a line each.
            letters: The letters of the options, `ABCD`.

        Returns:
            Place of the best option, from 0.
        """
        prompt = choice_prompt(question)
        video = self.encode(clip, prompt)
        scores = answering.option_scores(self.model, self.tokenizers, prompt, video, letters)
        return int(np.argmax(scores))

    def answer_choice(self, clip: Look, question: str, **generation: Any) -> str:
        """Write the answer to a multiple-choice question, as the released MVBench script has it written.

        Args:
            clip: From `read_clip`.
            question: The question with its lettered options, a line each.
            generation: As for `answer`; the released script is greedy, with 100 new tokens.

        Returns:
            How the answer goes on behind `Best option:(`, such as `C) text`.
        """
        prompt = choice_prompt(question)
        video = self.encode(clip, prompt)
        return answering.generate(self.model, self.tokenizers, prompt, video, **generation).text

    def encode(self, clip: Look, prompt: Prompt) -> list[Tensor]:
        """Look at a clip, [tokens, hidden], with the question in mind if the model reads it.

        Raises:
            UsageError: If the clip has more frames than the model can tell apart.
        """
        if isinstance(clip, SeenClip):
            return self._go_on_from(clip, prompt)
        return answering.encode(self.model, self.tokenizers, prompt, frames=self.pixels(clip)[None])

    def pixels(self, clip: Clip) -> Tensor:
        """Normalised frames of a clip of any picture size, [frames, 3, size, size], on the model's device.

        Raises:
            UsageError: If the clip has more frames than the model can tell apart.
        """
        config = self.model.config
        if config.mixes_frames and len(clip.frames) > config.bt_adapter_positions:
            what = f"{len(clip.frames)} frames, and this model tells {config.bt_adapter_positions} apart"
            raise UsageError(what, where=clip.source.path, fix="ask for fewer frames")
        frames = clip.frames
        if frames.shape[1:3] != (config.image_size, config.image_size):
            frames = np.stack([self.transform(frame) for frame in frames])
        return normalize(frames, config.image_mean, config.image_std).to(self.model.device)

    def _go_on_from(self, clip: SeenClip, prompt: Prompt) -> list[Tensor]:
        """Look no further than the tokens of a clip."""
        tokens = [clip.tokens.to(self.model.device)]
        if clip.level == "frames":
            return answering.encode(self.model, self.tokenizers, prompt, features=tokens)
        return answering.encode(self.model, self.tokenizers, prompt, queries=tokens)

    def caveat(self, clip: Look) -> str | None:
        """Say in one line why its answers about this clip are not to be trusted; None if they may be."""
        if self.model.config.trained_on != "shapes":
            return None
        familiar = clip.shows_shapes if isinstance(clip, SeenClip) else looks_like_shapes(clip.frames)
        return None if familiar else OUT_OF_ITS_DEPTH

    @property
    def _released(self) -> bool:
        return self.model.config.compat == "released"

    def _chat_prompt(self, question: str) -> Prompt:
        config = self.model.config
        return chat_prompt(config.prompt_format, question, system=True, released=self._released)

    def _options(self, prompt: Prompt, video: list[Tensor], generation: dict[str, Any]) -> dict[str, Any]:
        """Complete the generation options, and refuse what the language model could not read."""
        import torch

        config = self.model.config
        options = {**answering.GREEDY, **generation}
        if options.get("temperature") or options.get("top_p"):
            options["do_sample"] = True
        elif "temperature" in options:  # temperature 0 is the common way to ask for greedy
            del options["temperature"]
        if self._released and config.prompt_format == "instructblip":
            options["repetition_penalty"] = 1.5  # forced by the released chat for this format
        if self.seed is not None:
            torch.manual_seed(self.seed)
        text = len(prompt.ids(self.tokenizers.language, config)) - 1
        needed = text + len(video[0]) + options["max_new_tokens"]
        most = getattr(config.text_config, "max_position_embeddings", None)
        if most is not None and needed > most and not self._released:
            parts = f"{len(video[0])} video + {text} text + {options['max_new_tokens']} new tokens"
            what = f"{parts} are more than the {most} the language model reads"
            raise UsageError(what, where="--frames", fix="look at fewer frames, or lower --max-new-tokens")
        return options


def looks_like_shapes(frames: np.ndarray[Any, np.dtype[np.uint8]]) -> bool:
    """Whether frames show what the bundled model was trained on: flat objects on one plain background.

    Args:
        frames: [frames, height, width, 3], uint8.
    """
    pixels = frames.reshape(len(frames), -1, 3).astype(np.int16)  # [frames, pixels, 3]
    background = np.median(pixels, axis=1, keepdims=True)
    plain = (np.abs(pixels - background).max(axis=2) <= PLAIN_WITHIN).mean(axis=1)  # share, [frames]
    return bool(np.median(plain) >= PLAIN_SHARE)


# Measured: see tests/stages/test_video_model.py, which holds both kinds of clips against them.
PLAIN_WITHIN = 12
PLAIN_SHARE = 0.75
