"""A session gives the answers of a fresh run of the same conversation, and reads only what is new."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st_llm_cli.errors import UsageError
from st_llm_cli.model import answer as answering
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.prompt import answer_end_ids, chat_prompt, turn_ids
from st_llm_cli.model.session import DROPPED_TOGETHER, Session, Turn, settled_text
from tests.micro import micro_frames, micro_model

torch.set_num_threads(1)

SHORT = Generation(max_new_tokens=6)
KINDS = {
    "llama": {"language": "llama"},
    "qwen3": {"language": "qwen3"},
    "minigpt4": {"prompt_format": "minigpt4"},
    "global-local": {"video_input": "residual", "num_local_frames": 2, "adapter_dim": 4},
    "question-aware": {"reads_question": True},
    "first-question": {"reads_question": True},
}
QUESTIONS = ("What moves first?", "Tell me more.", "How many objects?", "What moves last?", "is it a ball?")


def new_session(kind: str = "llama", *, reuse: bool = True, **changes: object) -> Session:
    model, tokenizers = micro_model(**{**KINDS[kind], **changes})
    visual = "first-question" if kind == "first-question" else "per-question"
    session = Session(model, tokenizers, visual_tokens=visual, reuse=reuse)
    session.show("a.mp4", frames=micro_frames(1))
    return session


def say(session: Session, question: str, generation: Generation = SHORT) -> Turn:
    pieces = list(session.ask(question, generation))
    turn = session.turns[-1]
    assert "".join(pieces) == turn.answer
    return turn


def stop_after(session: Session, question: str, tokens: int) -> Turn:
    asked = count()
    list(session.ask(question, SHORT, should_stop=lambda: next(asked) >= tokens))
    return session.turns[-1]


def fresh(session: Session) -> Session:
    """The same conversation in a session that has read nothing and skips nothing."""
    again = Session(
        session.model,
        session.tokenizers,
        visual_tokens=session.visual_tokens,
        max_turns=session.max_turns,
        reuse=False,
    )
    again.turns = list(session.turns)
    again._endings = session._endings
    for clip in session.clips:
        seed = int(clip.name.removesuffix(".mp4").replace("a", "1").replace("b", "2").replace("c", "3"))
        shown = again.show(clip.name, frames=micro_frames(seed))
        again.shown_after[shown] = session.shown_after[clip]
    return again


def assert_same_as_fresh(session: Session, question: str, generation: Generation = SHORT) -> Turn:
    expected = say(fresh(session), question, generation)
    got = say(session, question, generation)
    assert (got.ids, got.answer, got.ending) == (expected.ids, expected.answer, expected.ending)
    return got


# ---- the same answers


@pytest.mark.parametrize("kind", KINDS)
def test_every_turn_is_that_of_a_fresh_run(kind: str) -> None:
    session = new_session(kind)
    answers = {assert_same_as_fresh(session, question).ids for question in QUESTIONS}
    assert len(answers) > 1, "answers that never differ show nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_turn_is_what_a_single_question_gives(kind: str) -> None:
    session = new_session(kind)
    model, tokenizers = session.model, session.tokenizers
    prompt = chat_prompt(model.config.prompt_format, QUESTIONS[0], system=True)
    video = answering.encode(model, tokenizers, prompt, frames=micro_frames(1)[None])
    expected = answering.generate(model, tokenizers, prompt, video, max_new_tokens=6)
    turn = say(session, QUESTIONS[0])
    assert turn.answer == expected.text
    assert list(turn.ids) == expected.ids[: len(turn.ids)]


@pytest.mark.parametrize(
    "generation",
    [
        replace(SHORT, temperature=0.8, seed=3),
        replace(SHORT, temperature=1.5, top_p=0.6, seed=4),
        replace(SHORT, repetition_penalty=1.7),
        replace(SHORT, num_beams=3),
    ],
)
def test_options_mean_what_they_mean_in_transformers(generation: Generation) -> None:
    session = new_session(eos_token_id=None)
    model, tokenizers = session.model, session.tokenizers
    prompt = chat_prompt("plain", QUESTIONS[0], system=True)
    video = answering.encode(model, tokenizers, prompt, frames=micro_frames(1)[None])
    torch.manual_seed(generation.seed)
    expected = answering.generate(model, tokenizers, prompt, video, **generation.for_transformers())
    assert list(say(session, QUESTIONS[0], generation).ids) == expected.ids
    assert expected.ids != list(say(new_session(eos_token_id=None), QUESTIONS[0]).ids)


def test_drawn_answers_do_not_depend_on_what_was_skipped() -> None:
    session = new_session()
    drawn = replace(SHORT, temperature=1.0, seed=7)
    for question in QUESTIONS:
        assert_same_as_fresh(session, question, drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_answer_stays_and_the_next_is_that_of_a_fresh_run(kind: str) -> None:
    session = new_session(kind)
    session._endings = []  # so that it is the stop that ends it
    whole = say(fresh(session), QUESTIONS[0])
    stopped = stop_after(session, QUESTIONS[0], 3)
    assert stopped.ending == "stopped"
    assert 0 < len(stopped.ids) < len(whole.ids)
    assert stopped.ids == whole.ids[: len(stopped.ids)]
    assert_same_as_fresh(session, QUESTIONS[1])


def test_leaving_an_answer_unread_stops_it() -> None:
    session = new_session(eos_token_id=None)
    with closing(session.ask(QUESTIONS[0], SHORT)) as pieces:
        first = next(pieces)
    assert session.turns[-1].answer == first
    assert session.turns[-1].ending == "stopped"
    assert_same_as_fresh(session, QUESTIONS[1])


def test_an_interrupt_in_the_midst_of_reading_leaves_a_whole_session(monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session(eos_token_id=None)
    say(session, QUESTIONS[0])
    layer = session.model.language_model.model.layers[1]
    calls = count()
    forward = layer.forward

    def interrupted(*args: object, **kwargs: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return forward(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(layer, "forward", interrupted)
        list(session.ask(QUESTIONS[1], SHORT))
    assert len(session.turns) == 2
    assert len(session.turns[-1].ids) == 2
    assert session.turns[-1].ending == "stopped"
    assert_same_as_fresh(session, QUESTIONS[2])


def test_an_interrupt_before_the_first_token_leaves_no_turn() -> None:
    session = new_session()
    say(session, QUESTIONS[0])
    assert list(session.ask(QUESTIONS[1], SHORT, should_stop=lambda: True)) == []
    assert len(session.turns) == 1
    assert_same_as_fresh(session, QUESTIONS[1])


def test_an_error_leaves_the_session_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session()
    say(session, QUESTIONS[0])
    head = session.model.language_model.lm_head
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of memory"):

        def fail(hidden: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory")

        patch.setattr(head, "forward", fail)
        list(session.ask(QUESTIONS[1], SHORT))
    assert len(session.turns) == 1
    assert_same_as_fresh(session, QUESTIONS[1])


@pytest.mark.parametrize("kind", KINDS)
def test_undo_and_reset_go_back(kind: str) -> None:
    session = new_session(kind)
    first = say(session, QUESTIONS[0])
    second = say(session, QUESTIONS[1])
    assert session.undo() == second
    again = assert_same_as_fresh(session, QUESTIONS[1])
    assert again.ids == second.ids
    session.reset()
    assert session.turns == []
    assert say(session, QUESTIONS[0]).ids == first.ids
    assert len(session.clips) == 1


def test_undo_of_nothing_is_nothing() -> None:
    assert new_session().undo() is None


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "stop", "undo", "reset", "show", "replace"]), st.integers(0, 4)),
    max_size=8,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_whatever_happened_the_next_answer_is_that_of_a_fresh_run(kind: str, steps: list[Step]) -> None:
    session = new_session(kind, context=180)
    for step, number in steps:
        if step == "ask":
            say(session, QUESTIONS[number])
        elif step == "stop":
            list(session.ask(QUESTIONS[number], SHORT, should_stop=stops_after(number)))
        elif step == "undo":
            session.undo()
        elif step == "reset":
            session.reset()
        elif step == "show" and len(session.clips) < 3:
            session.show("b.mp4", frames=micro_frames(2))
        elif step == "replace":
            session.show("c.mp4", frames=micro_frames(3), instead_of=session.clips[-1])
    assert_same_as_fresh(session, QUESTIONS[0])
    assert_same_as_fresh(session, QUESTIONS[1])


def stops_after(tokens: int):  # type: ignore[no-untyped-def]
    asked: Iterator[int] = count()
    return lambda: next(asked) >= tokens


# ---- reading only what is new


@pytest.mark.parametrize("kind", ["llama", "qwen3", "minigpt4", "first-question"])
def test_a_later_turn_reads_its_own_text_only(kind: str) -> None:
    session = new_session(kind, eos_token_id=1)
    first = say(session, QUESTIONS[0]).work
    second = say(session, QUESTIONS[1]).work
    assert first is not None
    assert second is not None
    config, tokenizer = session.model.config, session.tokenizers.language
    own = len(turn_ids(tokenizer, config, QUESTIONS[1], first=False)) + len(answer_end_ids(config))
    assert first.reused_tokens == 0
    # The last token of an answer is written, not read.
    assert second.read_tokens <= own + 1
    assert second.reused_tokens >= first.read_tokens


def test_a_question_aware_clip_is_looked_at_for_each_question_but_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, tokenizers = micro_model(reads_question=True)
    looks, questions = [], []
    vision, queries = model.encode_vision, model.encode_queries
    monkeypatch.setattr(model, "encode_vision", lambda *a: (looks.append(1), vision(*a))[1])
    monkeypatch.setattr(model, "encode_queries", lambda *a: (questions.append(1), queries(*a))[1])
    session = Session(model, tokenizers)
    session.show("a.mp4", frames=micro_frames())
    assert session.looks_for_each_question
    for question in (*QUESTIONS[:2], QUESTIONS[1]):
        list(session.ask(question, SHORT))
    assert (len(looks), len(questions)) == (1, 2), "the same question twice needs no second look"


def test_the_first_question_decides_what_is_seen_until_it_is_undone() -> None:
    session = new_session("first-question")
    say(session, QUESTIONS[0])
    (_, seen) = session._asked[session.clips[0]]
    say(session, QUESTIONS[1])
    assert session._asked[session.clips[0]][1] is seen
    session.reset()
    say(session, QUESTIONS[1])
    assert session._asked[session.clips[0]][0] == QUESTIONS[1]


# ---- a conversation that grows too long


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_loses_its_oldest_turns_and_never_the_video(kind: str) -> None:
    session = new_session(kind, context=130 if kind == "minigpt4" else 80)
    work = [assert_same_as_fresh(session, question).work for question in QUESTIONS * 2]
    dropped = [done.dropped_turns for done in work if done is not None]
    assert dropped[0] == 0
    assert dropped[-1] > 0
    assert dropped == sorted(dropped)
    # Several at a time, or all where no fewer are enough.
    assert all(number % DROPPED_TOGETHER == 0 or number == turns for turns, number in enumerate(dropped))
    assert len(session.turns) == len(work), "what is not read is still known"
    ids = list(session._conversations("?"))[-1][1]
    assert ids.count(VIDEO_TOKEN_ID) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_turns_are_shown_than_asked_for(kind: str) -> None:
    session = new_session(kind)
    session.max_turns = 1
    for question in QUESTIONS:
        turn = assert_same_as_fresh(session, question)
        assert turn.work is not None
        assert turn.work.dropped_turns == 0, "what was not to be shown was not dropped"
    shown = new_session(kind)
    shown.turns = session.turns[-2:-1]
    if kind != "first-question":  # there the first question, long forgotten, still decides what is seen
        assert say(shown, QUESTIONS[-1]).ids == session.turns[-1].ids


def test_what_can_never_fit_says_by_how_much() -> None:
    session = new_session(context=20)
    with pytest.raises(
        UsageError, match=r"12 video \+ 7 text \+ 6 new tokens are more than the 20"
    ) as caught:
        list(session.ask(QUESTIONS[0], SHORT))
    assert caught.value.where == "num_frames"
    assert caught.value.fix == "look at fewer frames, or lower `max_new_tokens`"
    with pytest.raises(UsageError, match=r"12 video \+ \d+ text \+ 6 new tokens") as caught:
        list(session.ask(QUESTIONS[0] * 9, SHORT))
    assert (caught.value.where, caught.value.fix) == ("question", "ask in fewer words")
    assert session.turns == []


# ---- several clips


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_seen_where_it_was_shown(kind: str) -> None:
    session = new_session(kind)
    before = assert_same_as_fresh(session, QUESTIONS[0])
    session.show("b.mp4", frames=micro_frames(2))
    after = assert_same_as_fresh(session, QUESTIONS[1])
    assert before.work is not None
    assert after.work is not None
    (_, ids) = next(session._conversations("?"))
    first, second = (place for place, token in enumerate(ids) if token == VIDEO_TOKEN_ID)
    assert second - first > len(before.ids), "a turn lies between them"
    if kind != "question-aware":
        assert after.work.reused_tokens >= before.work.read_tokens


def test_a_clip_can_take_the_place_of_another() -> None:
    session = new_session()
    say(session, QUESTIONS[0])
    clip = session.show("b.mp4", frames=micro_frames(2), instead_of=session.clips[0])
    assert session.clips == [clip]
    assert session.shown_after == {clip: 0}
    assert_same_as_fresh(session, QUESTIONS[1])


# ---- formats


@pytest.mark.parametrize("name", ["instructblip", "plain", "minigpt4"])
def test_the_first_turn_has_the_ids_of_the_chat_prompt(name: str) -> None:
    model, tokenizers = micro_model(prompt_format=name)
    expected = chat_prompt(name, QUESTIONS[0], system=True).ids(tokenizers.language, model.config)
    assert turn_ids(tokenizers.language, model.config, QUESTIONS[0], first=True, clips=1) == expected


def test_a_finished_answer_is_followed_by_the_end_it_was_trained_with() -> None:
    for name, text in (
        ("plain", "</s> ###Human: Tell me more. ###Assistant:"),
        ("minigpt4", "###Human: Tell me more.###Assistant:"),
    ):
        session = new_session(prompt_format=name)
        turn = say(session, QUESTIONS[0])
        (_, ids) = next(session._conversations("Tell me more."))
        head = turn_ids(session.tokenizers.language, session.model.config, QUESTIONS[0], first=True, clips=1)
        assert ids[len(head) : len(head) + len(turn.ids)] == list(turn.ids)
        rest = session.tokenizers.language.decode(ids[len(head) + len(turn.ids) :])
        assert rest.replace(" ", "") == text.replace(" ", "")


def test_the_released_chat_asks_each_question_on_its_own() -> None:
    session = new_session(prompt_format="instructblip", compat="released")
    model, tokenizers = session.model, session.tokenizers
    for question in QUESTIONS[:2]:
        prompt = chat_prompt("instructblip", question, system=True, released=True)
        video = answering.encode(model, tokenizers, prompt, frames=micro_frames(1)[None])
        expected = answering.generate(
            model, tokenizers, prompt, video, max_new_tokens=6, repetition_penalty=1.5
        )
        said = "".join(session.ask(question, SHORT))
        assert said == session.turns[-1].answer == expected.text


def test_the_released_chat_takes_one_clip() -> None:
    session = new_session(compat="released")
    with pytest.raises(UsageError, match="the released chat talks about one clip"):
        session.show("b.mp4", frames=micro_frames(2))


def test_unknown_visual_tokens_are_refused() -> None:
    model, tokenizers = micro_model()
    with pytest.raises(UsageError, match="choose per-question or first-question"):
        Session(model, tokenizers, visual_tokens="per-turn")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("num_beams", 0),
        ("repetition_penalty", 0.0),
        ("seed", -1),
    ],
)
def test_options_that_cannot_be_meant_are_named(option: str, value: float) -> None:
    with pytest.raises(UsageError) as caught:
        Generation(**{option: value})
    assert caught.value.where == option


def test_beams_and_draws_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="give one of the two"):
        Generation(num_beams=2, temperature=0.5)


@pytest.mark.parametrize(
    ("text", "settled"),
    [(" It moves", "It moves"), ("up ##", "up"), ("up ###Human", "up"), ("caf\ufffd", "caf"), ("", "")],
)
def test_text_is_shown_once_it_cannot_change(text: str, settled: str) -> None:
    assert settled_text(text) == settled
