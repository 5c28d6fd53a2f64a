"""A model that can be asked about clips: the checkpoint with the video room in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.model import answer as answering
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.decoding import too_long
from st_llm_cli.model.generation import Generation, generation_of
from st_llm_cli.model.one_token import compile_step
from st_llm_cli.model.prompt import Prompt, chat_prompt, unknown_words
from st_llm_cli.model.session import Session
from st_llm_cli.stages.answer_many import answer_all
from st_llm_cli.stages.clip_tokens import ClipTokens, Look, SeenClip
from st_llm_cli.stages.familiar import looks_like_shapes
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop, normalize

if TYPE_CHECKING:
    from torch import Tensor

    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.model.tokenizers import Tokenizers

OUT_OF_ITS_DEPTH = (
    "the bundled model knows moving shapes only, drawn on dark plain or patterned backgrounds, and this clip "
    "looks different: "
    "for real footage use real weights (--model, see `stllm models --help`)"
)


def load_model(
    name: str = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    seed: int | None = None,
    cache: TokenCache | str | Path | None = None,
    compat: str | None = None,
    compiled: bool = False,
) -> VideoModel:
    """Load a model to ask about clips.

    Args:
        name: `tiny` (bundled), a checkpoint folder, a run folder, or a Hub id `owner/name[:subfolder]`.
        device: `auto` (cuda, else mps, else cpu), or one by name.
        dtype: `auto` (as stored), `float32`, `bfloat16` or `float16`.
        seed: Seed of sampled answers.
        cache: Where the tokens of clips are kept, for `VideoModel.read_clips`: a cache or its folder.
        compat: `released` answers as the released code does, its known defects included; None as the
            checkpoint's configuration says.
        compiled: Compile what writes an answer token by token, on a GPU: `VideoModel.stream` and
            conversations write faster for it. Takes half a minute the first time; inductor keeps what it
            made.

    Raises:
        CheckpointError: If there is no such model, or its files are missing, damaged or do not fit.
        UsageError: If `compat` is something else, or the model cannot be compiled where it is.
    """
    if compat not in (None, "released"):
        raise UsageError(f"no compatibility '{compat}'", where="compat", fix="give 'released', or nothing")
    model, tokenizers, folder = load_checkpoint(name, device=device, dtype=dtype)
    model.config.compat = compat or model.config.compat
    if compiled:
        compile_step(model)
    if isinstance(cache, str | Path):
        cache = TokenCache(cache)
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

    @property
    def sees_frames_alone(self) -> bool:
        """Whether it keeps tokens of clips, and those of a frame do not depend on the other frames."""
        return self.tokens is not None and not self.model.config.mixes_frames

    def see(self, clip: Clip) -> SeenClip:
        """Look at a clip without keeping its tokens.

        Args:
            clip: Of pictures of the size the model takes.
        """
        assert self.tokens is not None, "a model without a cache looks when it answers"
        (seen,) = self.tokens.encode([clip])
        return seen

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
            generation: `max_new_tokens`, `temperature`, `top_p`, `num_beams`, `repetition_penalty`, `seed`
                (instead of the model's own); greedy unless one of them says otherwise.

        Raises:
            UsageError: If an option cannot be meant, it is no clip, or clip and question are longer than what
                the language model can read.
        """
        options = self._generation(generation)
        return self.written(self.looked(clip), self.chat_prompt(question), options)

    def stream(self, clip: Look, question: str, **generation: Any) -> Iterator[str]:
        """Answer piece by piece; the pieces joined are the answer. Closing the iterator stops the work.

        Args:
            clip: As for `answer`.
            question: As for `answer`.
            generation: As for `answer`.

        Raises:
            UsageError: As `answer`.
        """
        if self._released:  # the released code cleans the whole reply: nothing is settled before
            yield self.answer(clip, question, **generation)
            return
        session = Session(self.model, self.tokenizers)
        looked = self.looked(clip)
        name = Path(clip.source.path).name
        session.show(name, features=looked.get("features"), queries=looked.get("queries"))
        yield from session.ask(question, self._generation(generation))

    def choose(self, clip: Look, question: str, letters: str) -> int:
        """Choose an option of a multiple-choice question without writing anything.

        Args:
            clip: From `read_clip`.
            question: The question with its lettered options, a line each.
            letters: The letters of the options, `ABCD`.

        Returns:
            Place of the best option, from 0.
        """
        (option,) = self.answer_all([Question(clip, question, letters, "released")])
        assert isinstance(option, int)
        return option

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        """Answer questions, a batch at a time; what is answered does not depend on the size of batches.

        A clip is looked at once for all questions about it; where no question has a say in its tokens and all
        questions are about it, the language model reads it once too.

        Args:
            questions: About clips from `read_clip` or from this model's `read_clips`.
            batch_size: Questions that are answered together.

        Yields:
            Answers, in the order of the questions.

        Raises:
            UsageError: If a clip and a question are longer than what the language model can read.
        """
        return answer_all(self, questions, batch_size)

    # ---- looking

    def looked(self, clip: Look) -> dict[str, Tensor]:
        """Go as far from a clip's pictures to its tokens as no question has a say.

        Returns:
            `features` or `queries`, of every frame.

        Raises:
            UsageError: If the clip has more frames than the model can tell apart.
        """
        import torch

        if isinstance(clip, SeenClip):
            level = "features" if clip.level == "frames" else "queries"
            return {level: clip.tokens.to(self.model.device)}
        with torch.no_grad():
            (features,) = self.model.encode_vision([self.pixels(clip)])
            if self.model.config.reads_question:
                return {"features": features}
            return {"queries": self.model.encode_queries([features])[0]}

    def encoded(self, looked: dict[str, Tensor], prompt: Prompt) -> Tensor:
        """Go on to the video tokens, [tokens, hidden]."""
        levels: dict[str, Any] = {name: [tokens] for name, tokens in looked.items()}
        (video,) = answering.encode(self.model, self.tokenizers, prompt, **levels)
        return video

    def pixels(self, clip: Clip) -> Tensor:
        """Normalised frames of a clip of any picture size, [frames, 3, size, size], on the model's device.

        Raises:
            UsageError: If it is no clip, or has more frames than the model can tell apart.
        """
        if not isinstance(clip, Clip):
            what = f"a clip is needed, and this is a {type(clip).__name__}"
            raise UsageError(what, where="clip", fix="read one with read_clip(path, num_frames=8)")
        config = self.model.config
        if config.mixes_frames and len(clip.frames) > config.bt_adapter_positions:
            what = f"{len(clip.frames)} frames, and this model tells {config.bt_adapter_positions} apart"
            raise UsageError(what, where=clip.source.path, fix="ask for fewer frames")
        frames = clip.frames
        if frames.shape[1:3] != (config.image_size, config.image_size):
            frames = np.stack([self.transform(frame) for frame in frames])
        return normalize(frames, config.image_mean, config.image_std).to(self.model.device)

    def caveat(self, clip: Look) -> str | None:
        """Say in one line why its answers about this clip are not to be trusted; None if they may be."""
        if self.model.config.trained_on != "shapes":
            return None
        familiar = clip.shows_shapes if isinstance(clip, SeenClip) else looks_like_shapes(clip.frames)
        return None if familiar else OUT_OF_ITS_DEPTH

    def unknown_words(self, question: str) -> list[str]:
        """Words of a question that it cannot tell from each other, because it has none of them."""
        return unknown_words(self.tokenizers.language, question)

    @property
    def _released(self) -> bool:
        return self.model.config.compat == "released"

    def chat_prompt(self, question: str) -> Prompt:
        """Put a question in plain words."""
        config = self.model.config
        return chat_prompt(config.prompt_format, question, system=True, released=self._released)

    def _generation(self, given: dict[str, Any]) -> Generation:
        seed = self.seed if self.seed is not None else int(np.random.default_rng().integers(2**31))
        return generation_of(**{"seed": seed, **given})

    def written(self, looked: dict[str, Tensor], prompt: Prompt, generation: Generation) -> str:
        """Write the answer to a question in plain words."""
        import torch

        video = self.encoded(looked, prompt)
        options = {**generation.for_transformers(), **answering.forced_options(self.model.config)}
        if generation.temperature:
            torch.manual_seed(generation.seed)
        text = len(prompt.ids(self.tokenizers.language, self.model.config)) - 1
        self.check_length(text, len(video), options["max_new_tokens"])
        limit = answering.RELEASED_MAX_LENGTH if self._released else None
        return answering.generate(
            self.model, self.tokenizers, prompt, [video], max_length=limit, **options
        ).text

    def check_length(self, text: int, video: int, new: int) -> None:
        """Refuse what the language model could not read."""
        most = getattr(self.model.config.text_config, "max_position_embeddings", None)
        if most is not None and text + video + new > most and not self._released:
            raise too_long(video, text, new, most)
