"""A conversation about clips that looks once, remembers, and reads only what is new.

The state is what was shown and what was said; everything else follows from it. Before each answer the whole
conversation is written down as token ids. The language model skips what it has read already, so a later turn
costs its own text only; undoing, dropping or stopping a turn needs no care of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from st_llm_cli.errors import UsageError
from st_llm_cli.model import answer as answering
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.decoding import (
    Place,
    PrefixCache,
    Sight,
    ending_of,
    places_of,
    too_long,
    write,
)
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.prompt import (
    PROMPT_FORMATS,
    answer_end_ids,
    chat_prompt,
    eos_ids,
    question_ids,
    turn_ids,
)
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers

VISUAL_TOKENS = ("per-question", "first-question")
"""When a Q-Former that reads the question looks at a clip: for each question, or for the first one only."""

DROPPED_TOGETHER = 4
"""Turns that are left out at a time when a conversation grows too long: what remains is then read again after
every fourth turn only, not after each."""


@dataclass(frozen=True)
class Work:
    """What an answer cost."""

    reused_tokens: int
    """Tokens in front of the answer that the language model had read before."""
    read_tokens: int
    """Tokens in front of the answer that it read for this answer."""
    new_tokens: int
    """Tokens of the answer."""
    first_token_seconds: float
    """From the question to the answer's first token."""
    seconds: float
    """From the question to the answer's end."""
    dropped_turns: int
    """Oldest turns that it should have read too, had it been able to read more at a time."""
    num_beams: int = 1
    """Beams that searched for it; of several, the first token comes with the last."""


@dataclass(frozen=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str
    ids: tuple[int, ...]
    """The answer as generated, without its end mark."""
    ending: str = "end"
    """`end`: the model ended it. `length`: it reached the longest answer. `stopped`: it was stopped."""
    work: Work | None = None
    """What it cost; None for a turn that was loaded."""


@dataclass(frozen=True, eq=False)
class ShownClip:
    """What a session keeps of a clip; compared by identity."""

    name: str
    num_frames: int
    features: Tensor | None
    """Vision features, [frames, patches, dim], where the Q-Former reads the question."""
    sight: Sight | None
    """Video tokens, where no question has a say in them."""


@dataclass(frozen=True)
class _Prompt:
    """All that stands before an answer."""

    embeds: Tensor
    """[1, length, hidden]."""
    places: list[Place]
    dropped_turns: int


@dataclass
class _Draft:
    """An answer while it is written."""

    began: float
    ids: list[int] = field(default_factory=list)
    shown: str = ""
    first_token_seconds: float = 0.0


class Session:
    """A conversation about one or several clips.

    Args:
        model: The model, in evaluation mode.
        tokenizers: Its tokenizers.
        visual_tokens: One of `VISUAL_TOKENS`; of no effect where the Q-Former does not read the question.
        max_turns: Earlier turns that the language model is shown at most; None for all that fit.
        reuse: Whether to skip what the language model has read already; the answers are the same.

    Raises:
        UsageError: If there is no such way to make visual tokens.
    """

    def __init__(
        self,
        model: StllmForConditionalGeneration,
        tokenizers: Tokenizers,
        *,
        visual_tokens: str = "per-question",
        max_turns: int | None = None,
        reuse: bool = True,
    ) -> None:
        if visual_tokens not in VISUAL_TOKENS:
            what = f"no way '{visual_tokens}' to make visual tokens"
            raise UsageError(what, where="visual_tokens", fix=f"choose {' or '.join(VISUAL_TOKENS)}")
        self.model = model
        self.tokenizers = tokenizers
        self.visual_tokens = visual_tokens
        self.max_turns = max_turns
        self.reuse = reuse
        self.clips: list[ShownClip] = []
        self.shown_after: dict[ShownClip, int] = {}
        """Number of turns before each clip was shown."""
        self.turns: list[Turn] = []
        self._prefix = PrefixCache()
        self._asked: dict[ShownClip, tuple[str, Sight]] = {}
        stops, ends = answering.stop_sequences(tokenizers.language, model.config), eos_ids(model.config)
        self._endings = [*stops, *([token] for token in ends)]

    @property
    def looks_for_each_question(self) -> bool:
        """Whether the video tokens change with the question, so that each turn is read from the start."""
        return self.model.config.reads_question and self.visual_tokens == "per-question"

    # ---- what is shown

    def show(
        self,
        name: str,
        *,
        frames: Tensor | None = None,
        features: Tensor | None = None,
        queries: Tensor | None = None,
        instead_of: ShownClip | None = None,
    ) -> ShownClip:
        """Look at a clip, given in one of three ways; the next question can be about it.

        Args:
            name: What to call it.
            frames: Normalised frames, [frames, 3, height, width].
            features: What the vision encoder made of them, [frames, patches, vision_dim].
            queries: What the Q-Former made of it, [frames, queries, qformer_dim]; the same for each question.
            instead_of: A clip whose place in the conversation it takes.

        Raises:
            UsageError: If another clip is shown in the released chat, which knows one.
        """
        if self._released and instead_of is None and self.clips:
            what = "the released chat talks about one clip"
            raise UsageError(what, where=name, fix="begin a new session for it")
        clip = self._look(name, frames, features, queries)
        if instead_of is None:
            self.clips.append(clip)
            self.shown_after[clip] = len(self.turns)
        else:
            self.clips[self.clips.index(instead_of)] = clip
            self.shown_after[clip] = self.shown_after.pop(instead_of)
            self._asked.pop(instead_of, None)
        return clip

    # ---- what is said

    def ask(
        self,
        question: str,
        generation: Generation | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """Answer piece by piece; the turn is in `turns` once the pieces are over.

        A turn stopped by `should_stop`, by closing the iterator or by Ctrl-C keeps what was written.
        Where nothing was written yet, or an error ends it, the session is as before.

        Args:
            question: In plain words.
            generation: How to answer; greedy if None.
            should_stop: Asked before each token.

        Raises:
            UsageError: If clips and question alone are more than the language model reads.
        """
        draft = _Draft(time.perf_counter())
        generation = replace(generation or Generation(), **answering.forced_options(self.model.config))
        prompt = self._prompt(question, generation)
        prefix = self._prefix if self.reuse else PrefixCache()
        reused = prefix.begin(prompt.places) if generation.num_beams == 1 else 0
        try:
            for token in self._tokens(prefix, prompt, reused, generation, should_stop):
                if piece := self._add(draft, token):
                    yield piece
        except (GeneratorExit, KeyboardInterrupt):
            self._keep(question, draft, prompt, reused, generation)
            raise
        if rest := self._keep(question, draft, prompt, reused, generation):
            yield rest

    def undo(self) -> Turn | None:
        """Take back the last turn; None if there is none."""
        if not self.turns:
            return None
        turn = self.turns.pop()
        self._clips_stay()
        return turn

    def reset(self) -> None:
        """Forget what was said, not what was shown."""
        self.turns.clear()
        self._clips_stay()

    # ---- looking

    @property
    def _released(self) -> bool:
        return self.model.config.compat == "released"

    @torch.no_grad()
    def _look(
        self, name: str, frames: Tensor | None, features: Tensor | None, queries: Tensor | None
    ) -> ShownClip:
        """Go as far from the frames to the video tokens as no question has a say."""
        if frames is not None:
            (features,) = self.model.encode_vision([frames.to(self.model.device)])
        if features is not None and not self.model.config.reads_question:
            (queries,) = self.model.encode_queries([features])
        if queries is not None:
            (video,) = self.model.video_input([queries])
            return ShownClip(name, len(queries), None, Sight(video))
        assert features is not None
        return ShownClip(name, len(features), features, None)

    def _sight(self, clip: ShownClip, question: str) -> Sight:
        """What the language model sees of a clip, looked at anew only if the question calls for it."""
        if clip.sight is not None:
            return clip.sight
        if self.visual_tokens == "first-question":
            question = [*(turn.question for turn in self.turns), question][self.shown_after[clip]]
        if clip not in self._asked or self._asked[clip][0] != question:
            self._asked[clip] = question, self._look_for(clip, question)
        return self._asked[clip][1]

    @torch.no_grad()
    def _look_for(self, clip: ShownClip, question: str) -> Sight:
        ids, mask = question_ids(self.tokenizers.question, self.model.config, [question])
        device = self.model.device
        assert clip.features is not None
        queries = self.model.encode_queries([clip.features], ids.to(device), mask.to(device))
        return Sight(self.model.video_input(queries)[0])

    def _clips_stay(self) -> None:
        """Clips shown after a turn that is gone are shown with the next one."""
        for clip, turns in self.shown_after.items():
            self.shown_after[clip] = min(turns, len(self.turns))

    # ---- writing down what stands before the answer

    def _prompt(self, question: str, generation: Generation) -> _Prompt:
        if self._released:
            return self._released_prompt(question, generation)
        sights = [self._sight(clip, question) for clip in self.clips]
        video = sum(len(sight.tokens) for sight in sights)
        most = getattr(self.model.config.text_config, "max_position_embeddings", None)
        left_out = self._turns_left_out()
        for dropped, ids in self._conversations(question):
            text = len(ids) - len(sights)
            if most is None or video + text + generation.max_new_tokens <= most:
                return _Prompt(self._embeds(ids, sights), places_of(ids, sights), dropped - left_out)
        assert most is not None, "without a limit the first conversation fits"
        raise too_long(video, text, generation.max_new_tokens, most)

    def _conversations(self, question: str) -> Iterator[tuple[int, list[int]]]:
        """Write down as many turns as may be shown, then fewer and fewer of the oldest.

        A clip shown with a turn that is left out is shown with the first one that is not.
        """
        tokenizer, config = self.tokenizers.language, self.model.config
        questions = [*(turn.question for turn in self.turns), question]
        shown = [list(self.shown_after.values()).count(number) for number in range(len(questions))]
        later = [
            turn_ids(tokenizer, config, asked, first=False, clips=clips)
            for asked, clips in zip(questions, shown, strict=True)
        ]
        answers = [[*turn.ids, *answer_end_ids(config)] for turn in self.turns] + [[]]
        steps = range(self._turns_left_out(), len(questions) - 1, DROPPED_TOGETHER)
        for dropped in dict.fromkeys((*steps, len(questions) - 1)):
            clips = sum(shown[: dropped + 1])
            ids = turn_ids(tokenizer, config, questions[dropped], first=True, clips=clips) + answers[dropped]
            for number in range(dropped + 1, len(questions)):
                ids += later[number] + answers[number]
            yield dropped, ids

    def shortest_text(self) -> int:
        """Tokens of words that the language model reads even where nothing is asked and no turn is shown."""
        *_, (_, ids) = self._conversations("")
        return len(ids) - len(self.clips)

    def _turns_left_out(self) -> int:
        """Turns that are not shown whether they fit or not."""
        return 0 if self.max_turns is None else max(0, len(self.turns) - self.max_turns)

    def _released_prompt(self, question: str, generation: Generation) -> _Prompt:
        """One turn at a time where the released chat knows one; what is too long loses its beginning."""
        config = self.model.config
        in_turn = PROMPT_FORMATS[config.prompt_format].video_in_turn
        history = [(turn.question, turn.answer) for turn in self.turns] if in_turn else []
        prompt = chat_prompt(config.prompt_format, question, system=True, history=history, released=True)
        sights = [self._sight(clip, prompt.question) for clip in self.clips]
        ids = prompt.ids(self.tokenizers.language, config)
        keep = max(1, answering.RELEASED_MAX_LENGTH - generation.max_new_tokens)
        return _Prompt(self._embeds(ids, sights)[:, -keep:], places_of(ids, sights)[-keep:], 0)

    @torch.no_grad()
    def _embeds(self, ids: list[int], sights: list[Sight]) -> Tensor:
        assert ids.count(VIDEO_TOKEN_ID) == len(sights)
        text = torch.tensor([ids], device=self.model.device)
        return self.model.join(text, [sight.tokens for sight in sights]).embeds

    # ---- writing the answer

    def _tokens(
        self,
        prefix: PrefixCache,
        prompt: _Prompt,
        start: int,
        generation: Generation,
        should_stop: Callable[[], bool],
    ) -> Iterator[int]:
        if generation.num_beams == 1:
            yield from write(
                self.model,
                prefix,
                prompt.embeds[:, start:],
                prompt.places[start:],
                generation,
                self._endings,
                should_stop,
            )
            return
        # Nothing is settled before the last beam is, and beams want a cache each.
        stops = answering.stop_sequences(self.tokenizers.language, self.model.config)
        ids = self.model.continue_from(
            prompt.embeds,
            torch.ones(prompt.embeds.shape[:2], dtype=torch.long, device=prompt.embeds.device),
            stopping_criteria=StoppingCriteriaList([answering.StopAfter(stops), _StopWhen(should_stop)]),
            **generation.for_transformers(),
        )
        yield from ids[0].tolist()

    def _add(self, draft: _Draft, token: int) -> str:
        """Take up one more token; the new text that no later token can change."""
        draft.first_token_seconds = draft.first_token_seconds or time.perf_counter() - draft.began
        draft.ids.append(token)
        if self._released:  # the released code cleans the whole reply: nothing is settled before
            return ""
        text = self.tokenizers.language.decode(draft.ids, skip_special_tokens=True)
        text = settled_text(text, headings=self.model.config.chat_marks is not None)
        if text != draft.shown and text.startswith(draft.shown):
            piece, draft.shown = text[len(draft.shown) :], text
            return piece
        return ""

    def _keep(
        self, question: str, draft: _Draft, prompt: _Prompt, reused: int, generation: Generation
    ) -> str:
        """Make a turn of what was written, if anything was; the text that was held back."""
        if not draft.ids:
            return ""
        end = ending_of(draft.ids, self._endings)
        full = len(draft.ids) >= generation.max_new_tokens
        answer = answering.reply_text(self.model, self.tokenizers, draft.ids)
        work = Work(
            reused_tokens=reused,
            read_tokens=len(prompt.places) - reused,
            new_tokens=len(draft.ids),
            first_token_seconds=draft.first_token_seconds,
            seconds=time.perf_counter() - draft.began,
            dropped_turns=prompt.dropped_turns,
            num_beams=generation.num_beams,
        )
        ids = tuple(draft.ids[: len(draft.ids) - end])
        self.turns.append(
            Turn(question, answer, ids, "end" if end else "length" if full else "stopped", work)
        )
        return answer[len(draft.shown) :] if answer.startswith(draft.shown) else ""


class _StopWhen(StoppingCriteria):
    """Ask before each token whether to go on."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self.should_stop = should_stop

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        return torch.full((len(input_ids),), self.should_stop(), device=input_ids.device)


def settled_text(text: str, *, headings: bool = False) -> str:
    """The part of a decoded answer that later tokens cannot change: no half characters, no half `###`.

    Args:
        text: All that is decoded so far.
        headings: Whether `###` is text like any other, rather than the end of the answer.
    """
    said = text if headings else text.split("###")[0].rstrip("#")
    return said.rstrip("\ufffd").strip()
