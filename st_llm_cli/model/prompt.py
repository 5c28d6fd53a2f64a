"""Question → the text around the video, token for token what the checkpoint was trained on.

A prompt has a text before the video and one after it. Each is tokenized on its own, and the opening token
stands either at the very front or, in the InstructBLIP variants, between the video and the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from st_llm_cli.model import chat_template
from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig

Turn = tuple[str, str]
"""A question asked before, and the answer given."""


@dataclass(frozen=True)
class Prompt:
    """One question about one video."""

    before: str
    """Text in front of the video; may be empty."""
    after: str
    """Text behind the video, up to where the answer starts."""
    opens_with_bos: bool
    """Whether the opening token stands in front of everything, rather than behind the video."""
    question: str
    """What a Q-Former that reads the question is given."""

    def ids(self, tokenizer: Any, config: StllmConfig) -> list[int]:
        """Token ids, with `VIDEO_TOKEN_ID` where the video stands."""
        if config.chat_marks is not None:
            text = chat_template.around_video(self.before, self.after, config.chat_marks)
            return [*text_ids(tokenizer, text[0]), VIDEO_TOKEN_ID, *text_ids(tokenizer, text[1])]
        bos = [] if config.bos_token_id is None else [config.bos_token_id]
        before, after = text_ids(tokenizer, self.before), text_ids(tokenizer, self.after)
        if self.opens_with_bos:
            return [*bos, *before, VIDEO_TOKEN_ID, *after]
        return [*before, VIDEO_TOKEN_ID, *bos, *after]


@dataclass(frozen=True)
class PromptFormat:
    """How one family of checkpoints writes questions and answers."""

    about: str
    video_start: str
    """Text right before the video, inside the human's turn; empty where the video stands outside it."""
    video_end: str
    before_assistant: str
    """What stands between the question and `###Assistant: ` in chat."""
    answer_end: str
    """Text that ends an answer in training; empty where the end-of-sequence token does."""
    system: str
    """System message of a chat, as released; empty for none."""

    @property
    def video_in_turn(self) -> bool:
        """Whether the video stands inside the human's turn (MiniGPT-4) or before it (InstructBLIP)."""
        return bool(self.video_start)


def chat_prompt(
    name: str,
    question: str,
    *,
    system: bool = False,
    message: str | None = None,
    history: Sequence[Turn] = (),
    released: bool = False,
) -> Prompt:
    """Ask a question as the first of a conversation; `turn_ids` writes the later ones.

    Args:
        name: Key of `PROMPT_FORMATS`.
        question: The question, as the user wrote it.
        system: Whether the system message is put in front.
        message: Another system message than the format's own.
        history: Earlier turns, oldest first, for `released` only.
        released: Do as the released code: MiniGPT-4's format always has the system message and writes earlier
            answers without an end; InstructBLIP's forgets all turns but the first question, and cuts it at
            `</Video> `.
    """
    assert released or not history, "later turns are written by turn_ids"
    style = PROMPT_FORMATS[name]
    message = style.system if message is None else message
    message = message if system or (released and style.video_in_turn) else ""
    if style.video_in_turn:
        turns = [question for question, _ in history] + [question]
        answers = [f"{answer}###Human: " for _, answer in history] + [""]
        talk = "".join(
            f"{turn}{style.before_assistant}###Assistant: {answer}"
            for turn, answer in zip(turns, answers, strict=True)
        )
        before = f"{message}###Human: {style.video_start}"
        return Prompt(before, f"{style.video_end} {talk}", opens_with_bos=True, question=question)
    if released:
        question = (history[0][0] if history else question).split("</Video> ")[0]
    after = f"{message}###Human: {question}{style.before_assistant}###Assistant: "
    return Prompt("", after, opens_with_bos=False, question=question)


def turn_ids(tokenizer: Any, config: StllmConfig, question: str, *, first: bool, clips: int = 0) -> list[int]:
    """Token ids of one turn of a conversation, up to where its answer begins.

    Each turn is tokenized on its own, so that all that was said before it keeps its ids. The first turn about
    one clip has the ids of `chat_prompt` with the system message.

    Args:
        tokenizer: The language model's.
        config: Configuration of the checkpoint.
        question: The question, as the user wrote it.
        first: Whether the conversation begins here.
        clips: How many clips are shown with this turn.

    Returns:
        Ids, with `VIDEO_TOKEN_ID` where a clip stands.
    """
    style = PROMPT_FORMATS[config.prompt_format]
    bos = [] if config.bos_token_id is None else [config.bos_token_id]
    message = style.system if first else ""
    asked = f"{question}{style.before_assistant}###Assistant: "
    if not style.video_in_turn:
        # Here the opening token belongs to the video: it stands right behind it.
        opening = [VIDEO_TOKEN_ID] * clips + (bos if first or clips else [])
        return [*opening, *text_ids(tokenizer, f"{message}###Human: {asked}")]
    between = [f"{style.video_end} {style.video_start}"] * (clips - 1)
    texts = (
        [f"{message}###Human: {style.video_start}", *between, f"{style.video_end} {asked}"]
        if clips
        else [f"{message}###Human: {asked}"]
    )
    if config.chat_marks is not None:
        marks, bos = config.chat_marks, []
        start = chat_template.opened(texts[0], marks, first=first)
        texts = [start, *(chat_template.exchanged(text, marks) for text in texts[1:])]
    head, *rest = (text_ids(tokenizer, text) for text in texts)
    behind = [token for piece in rest for token in (VIDEO_TOKEN_ID, *piece)]
    return [*(bos if first else []), *head, *behind]


def answer_end_ids(config: StllmConfig) -> list[int]:
    """What stands between an answer and the next turn: the end-of-sequence token, where answers end in it.

    Where they end in `###`, the next turn's `###Human: ` is that end.
    """
    if PROMPT_FORMATS[config.prompt_format].answer_end:
        return []
    return eos_ids(config)[:1]


def training_prompt(
    name: str,
    question: str,
    *,
    instruction: str = "",
    system: str = "",
    frame_times: str = "",
    picture: bool = False,
    released: bool = False,
) -> Prompt:
    """Pose a training question; the answer follows it.

    Args:
        name: Key of `PROMPT_FORMATS`.
        question: `q` of an instruction file.
        instruction: `i` of an instruction file.
        system: Message in front of everything.
        frame_times: Sentence that names the sampled seconds, with the blanks around it as released.
        picture: Whether a single picture stands where else a video does.
        released: Cut what the Q-Former reads at `Human: ` and ` ###`, as the released code does.
    """
    style = PROMPT_FORMATS[name]
    task = f"{instruction} " if instruction else ""
    times = frame_times.rstrip()
    if style.video_in_turn:
        start, end = ("<Image>", "</Image>") if picture else (style.video_start, style.video_end)
        before, after = f"{system}{task}###Human: {start}", f"{end}{times} {question} ###Assistant: "
        return Prompt(before, after, opens_with_bos=True, question=question)
    asked = f"{task}{times}{question}"
    read = asked.split("Human: ")[0].split(" ###")[0] if released else asked
    return Prompt(system, f"###Human: {asked} ###Assistant: ", opens_with_bos=False, question=read)


def choice_prompt(
    question: str,
    *,
    system: str | None = None,
    system_in_question: bool = True,
    question_end: str = "\nOnly give the best option.",
    answer_start: str | None = "Best option:(",
    video_in_own_turn: bool = False,
) -> Prompt:
    """Ask a multiple-choice question as the released MVBench script does, the same for every format.

    Args:
        question: The question with its lettered options, a line each.
        system: System message; the released one if None.
        system_in_question: Whether it stands in front of the question.
        question_end: What follows the options.
        answer_start: How the answer is made to begin; None leaves it open.
        video_in_own_turn: Give the video a turn of its own, with the system message, before the question.
    """
    message = CHOICE_SYSTEM if system is None else system
    opening = "" if answer_start is None else f" {answer_start}"
    asked = f"{message}{question}" if system_in_question else question
    after = f"###Human: {asked}{question_end}\n###Assistant:{opening}"
    if video_in_own_turn:
        before = f"{message}###Human: <Video>"
        return Prompt(before, f"</Video>\n{after}", opens_with_bos=True, question=question)
    return Prompt("", after, opens_with_bos=False, question=question)


def answer_ids(tokenizer: Any, config: StllmConfig, answer: str) -> list[int]:
    """Token ids of a training answer and its end, cut to the longest text the configuration allows."""
    end = PROMPT_FORMATS[config.prompt_format].answer_end
    if end:
        return text_ids(tokenizer, answer + end)[: config.max_text_length]
    (eos, *_) = eos_ids(config)
    # Blanks before an end-of-sequence token vanish in the released tokenizer.
    return [*text_ids(tokenizer, answer.rstrip()), eos][: config.max_text_length]


def eos_ids(config: StllmConfig) -> list[int]:
    """Tokens that end an answer, the one it was trained with first; none where the configuration has none."""
    eos = config.eos_token_id
    if isinstance(eos, list):
        return eos
    return [] if eos is None else [eos]


def question_ids(tokenizer: Any, config: StllmConfig, questions: Sequence[str]) -> tuple[Any, Any]:
    """Tokenize what the Q-Former reads.

    Returns:
        Ids and mask, both [questions, length].
    """
    encoded = tokenizer(
        list(questions),
        padding="longest",
        truncation=True,
        max_length=config.max_text_length,
        return_tensors="pt",
    )
    return encoded["input_ids"], encoded["attention_mask"]


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a piece of text, with nothing put around it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    return ids


def unknown_words(tokenizer: Any, text: str) -> list[str]:
    """Words of a text that a model cannot tell from each other, because its tokenizer has none for them."""
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return []
    return [word for word in dict.fromkeys(text.split()) if unknown in text_ids(tokenizer, word)]


def clean_reply(text: str) -> str:
    """Cut a decoded reply down to the answer: up to the first `###`, after the last `Assistant:`."""
    return text.split("###")[0].split("Assistant:")[-1].strip()


# System messages and separators below are what the released weights were trained and measured with.
CHOICE_SYSTEM = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and "
    "movement of objects, and the action and pose of persons. Based on your observations, select the best "
    "option that accurately addresses the question.\n"
)
PROMPT_FORMATS = {
    "instructblip": PromptFormat(
        about="video, then ###Human: question ###Assistant:",
        video_start="",
        video_end="",
        before_assistant=" ",
        answer_end="",
        system=(
            "Carefully watch the video and pay attention to the cause and sequence of events, the detail and "
            "movement of objects, and the action and pose of persons. Based on your observations, give your "
            "answer that best addresses the question.\n"
        ),
    ),
    "minigpt4": PromptFormat(
        about="###Human: <Video>video</Video> question###Assistant:",
        video_start="<Video>",
        video_end="</Video>",
        before_assistant="",
        answer_end="###",
        system=(
            "Give the following video: <Video>VideoContent</Video>. You will be able to see the video once I "
            "provide it to you. Please answer my questions."
        ),
    ),
    "plain": PromptFormat(
        about="video, then ###Human: question ###Assistant:, without a system message",
        video_start="",
        video_end="",
        before_assistant=" ",
        answer_end="",
        system="",
    ),
    chat_template.NAME: PromptFormat(
        about="the language model's own chat template, the video in the question",
        video_start=chat_template.VIDEO_START,
        video_end=chat_template.VIDEO_END,
        before_assistant="",
        answer_end="",
        system="",
    ),
}
