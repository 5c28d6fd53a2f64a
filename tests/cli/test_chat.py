"""`stllm chat` without a terminal, its commands, and its lines for every kind of mistake."""

import io
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from st_llm_cli.cli.chat_commands import COMMANDS, run_command
from st_llm_cli.cli.chat_desk import Desk, answer, stop_on_interrupt
from st_llm_cli.cli.chat_script import answer_lines
from st_llm_cli.errors import StllmError
from st_llm_cli.model.generation import Generation
from st_llm_cli.stages import chat_file
from st_llm_cli.stages.chat import Chat, View
from st_llm_cli.stages.question import SAID_NOTHING
from st_llm_cli.stages.video_model import VideoModel, load_model
from tests.cli.conftest import Stllm


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STLLM_CACHE", "off")


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def into(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return into


# ---- without a terminal


def test_questions_are_answered_a_line_each(stllm: Stllm, micro: Path, clips: Path) -> None:
    ran = stllm("chat", clips / "a.mp4", "-m", micro, "-q", "What moves?", "-q", "Where?")
    assert (ran.code, ran.err) == (0, "")
    both = ran.out.splitlines()
    assert len(both) == 2
    alone = stllm("chat", clips / "a.mp4", "-m", micro, "-q", "Where?")
    assert alone.out.strip() != both[1], "a later answer builds on the turn before"


def test_chat_says_what_the_cache_was_good_for(
    stllm: Stllm, micro: Path, clips: Path, tmp_path: Path
) -> None:
    asked = ("chat", clips / "a.mp4", "-m", micro, "-q", "What moves?", "--cache", tmp_path / "cache")
    assert "stllm: cache: 0 hits, 1 misses; 0 B read, 1.5 KB written" in stllm(*asked).err
    again = stllm(*asked).err
    assert "stllm: cache: 1 hits, 0 misses; 1.5 KB read, 0 B written; " in again
    assert "s of encoding saved" in again


def test_standard_input_is_read_line_by_line(stllm: Stllm, micro: Path, clips: Path, pipe) -> None:  # type: ignore[no-untyped-def]
    pipe(b"\nWhat moves?\n  \nWhere?\n/quit\nnot asked\n")
    ran = stllm("chat", clips / "a.mp4", "-m", micro)
    assert (ran.code, ran.err) == (0, "")
    asked = stllm("chat", clips / "a.mp4", "-m", micro, "-q", "What moves?", "-q", "Where?")
    assert ran.out == asked.out


def test_words_that_the_model_does_not_know_are_named(stllm: Stllm, micro: Path, clips: Path) -> None:
    ran = stllm("chat", clips / "a.mp4", "-m", micro, "-q", "What zebra moves")
    assert ran.err == "stllm: the model does not know 'zebra': put the question in other words\n"


def test_an_empty_answer_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    turns: list[Any] = []

    def ask(question: str, *options: object) -> Iterator[str]:
        turns.append(SimpleNamespace(answer=" ", ending="end", work=None))
        yield " "

    chat: Any = SimpleNamespace(turns=turns, ask=ask, model=SimpleNamespace(unknown_words=lambda asked: []))
    answer(Desk(chat, Generation(), View, Console(), interactive=False), "What moves?", list)
    assert capsys.readouterr().err == f"stllm: {SAID_NOTHING}\n"


def test_machines_get_an_object_a_line(stllm: Stllm, micro: Path, clips: Path, pipe) -> None:  # type: ignore[no-untyped-def]
    pipe(b"What moves?\n\xff\xfe\n")
    ran = stllm("chat", clips / "a.mp4", "-m", micro, "--json", "--max-new-tokens", "1")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["question"] for row in rows] == ["What moves?", "\ufffd\ufffd"]
    assert {row["ending"] for row in rows} <= {"length", "end"}


def test_a_line_that_fails_does_not_stop_the_next(stllm: Stllm, micro: Path, clips: Path, pipe) -> None:  # type: ignore[no-untyped-def]
    pipe(b"/video none.mp4\n/vdeo\nWhat moves?\n")
    ran = stllm("chat", clips / "a.mp4", "-m", micro)
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 1
    assert ran.err.splitlines() == [
        "stllm: error: none.mp4: no such file or folder (check the path)",
        "stllm: error: /vdeo: no such command (did you mean /video?)",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["none.mp4", "-q", "?"], 1, "none.mp4: no such file or folder (check the path)"),
        (["-q", "?"], 1, "there is no video to talk about yet (give one: /video FILE)"),
        (["CLIP", "--load", "x.json", "-q", "?"], 2, "--load: a saved conversation brings its own videos"),
        (["--load", "x.json", "-q", "?"], 1, "x.json: cannot be read: No such file or directory"),
        (
            ["CLIP", "-q", "?", "--compat", "relesed"],
            2,
            "--compat: no compatibility 'relesed' (give 'released'",
        ),
        (
            ["CLIP", "-q", "?", "--compile", "--device", "cpu"],
            2,
            "--compile: compiling serves writing on a GPU, and the model is on 'cpu' (leave it out, or",
        ),
        (["CLIP", "-q", "?", "-q", " "], 2, "--question: an empty question (ask something)"),
        (
            ["CLIP", "-q", "?", "--frames", "5000"],
            2,
            "--frames: 5000 frames, and this model reads 682",
        ),
        (["CLIP", "-q", "?", "--fps", "100000"], 2, "gives more than the 682 frames that this model reads"),
        (["CLIP", "-q", "?", "--top-p", "0.5"], 2, "--top-p: needs --temperature above 0"),
        (["CLIP", "-q", "?", "--pictures", "x"], 2, "--pictures: no way 'x' to draw"),
        (["CLIP", "-q", "?", "--frames", "0"], 2, "--frames: 0 frames were asked for"),
        (["CLIP", "-q", "?", "--fps", "0"], 2, "fps: a rate of 0.0 frames per second"),
        (["CLIP", "-q", "?", "--num-beams", "500"], 2, "--num-beams: 500 does not work (give 1 to 64)"),
        (["CLIP", "-q", "?", "--visual-tokens", "x"], 2, "no way 'x' to make visual tokens"),
        (["CLIP", "-q", "?", "--start", "x"], 2, "--start: 'x' is not a time"),
        (["CLIP", "-q", "?", "--start", "99"], 1, "the clip was to start at 99.0 s"),
        (
            ["CLIP", "-q", "?", "--max-new-tokens", "9999"],
            2,
            "are more than the 2048 the language model reads",
        ),
    ],
)
def test_a_mistake_costs_one_line(
    stllm: Stllm, micro: Path, clips: Path, arguments: list[str], code: int, complaint: str
) -> None:
    given = [str(clips / "a.mp4") if argument == "CLIP" else argument for argument in arguments]
    ran = stllm("chat", *given, "-m", micro)
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert complaint in line
    assert ran.code == code


def test_nothing_asked_is_a_mistake(stllm: Stllm, micro: Path, clips: Path, pipe, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    pipe(b"")
    ran = stllm("chat", clips / "a.mp4", "-m", micro)
    assert ran.code == 2
    assert "standard input: no question came" in ran.err
    monkeypatch.setattr(sys, "stdin", None)
    ran = stllm("chat", clips / "a.mp4", "-m", micro)
    assert ran.code == 2
    assert ran.err == 'stllm: error: standard input: is closed (ask with --question "…")\n'


def test_the_released_chat_forgets_the_turn_before(stllm: Stllm, micro: Path, clips: Path) -> None:
    chat = ("chat", clips / "a.mp4", "-m", micro, "--compat", "released", "--max-new-tokens", "5")
    both = stllm(*chat, "-q", "What moves?", "-q", "Where?").out.splitlines()
    assert len(both) == 2
    assert [
        stllm(*chat, "-q", question).out.splitlines()[0] for question in ("What moves?", "Where?")
    ] == both


def test_a_model_that_remembers_nothing_answers_each_question_alone(
    stllm: Stllm, micro: Path, clips: Path
) -> None:
    both = stllm("chat", clips / "a.mp4", "-m", micro, "-q", "What moves?", "-q", "Where?", "--remember", "0")
    alone = stllm("chat", clips / "a.mp4", "-m", micro, "-q", "Where?")
    assert both.out.splitlines()[1] == alone.out.strip()


# ---- commands


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    from tests.micro import write_micro_checkpoint

    return load_model(str(write_micro_checkpoint(tmp_path_factory.mktemp("micro"))))


@pytest.fixture
def desk(model: VideoModel, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    chat = Chat(model)
    chat.watch(View(clips / "a.mp4"))
    console = Console(file=io.StringIO(), width=80, color_system=None)
    return Desk(chat, Generation(max_new_tokens=4), View, console, interactive=True)


def do(desk: Desk, line: str) -> str:
    assert isinstance(desk.console.file, io.StringIO)
    desk.console.file.truncate(0)
    desk.console.file.seek(0)
    run_command(desk, line)
    return desk.console.file.getvalue()


def ask(desk: Desk, question: str = "What moves?") -> None:
    answer(desk, question, lambda pieces: [None for _ in pieces] and None)


def test_help_lists_every_command(desk: Desk) -> None:
    said = do(desk, "/help")
    assert all(f"/{name}" in said for name in COMMANDS)
    assert "[on|off]" in said


def test_every_command_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "chat.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`/{name}" not in text] == []


@pytest.mark.parametrize("width", [20, 40, 120])
def test_help_and_status_fit_the_terminal(desk: Desk, width: int) -> None:
    ask(desk)
    assert len(desk.status(width)) <= width
    desk.console = Console(file=io.StringIO(), width=width, color_system=None)
    assert max(map(len, do(desk, "/help").splitlines())) <= width


def test_the_status_names_clip_frames_tokens_and_speed(desk: Desk) -> None:
    assert desk.status(80) == " a.mp4 · 4 frames · 0:00.6-0:04.5 · 12 tokens"
    ask(desk)
    assert "tok/s · first 0." in desk.status(80)


def test_video_begins_anew_and_add_goes_on(desk: Desk, clips: Path) -> None:
    ask(desk)
    do(desk, f'/add "{clips / "b.webm"}" 0:01-0:02')
    assert [seen.view.start for seen in desk.chat.seen] == [None, 1.0]
    do(desk, "/save a.json")
    said = do(desk, f'/video "{clips / "b.webm"}"')
    assert "a new conversation begins" in said
    assert len(desk.chat.seen) == 1
    assert desk.chat.turns == []


def test_a_name_with_blanks_needs_no_quotes(desk: Desk, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "my clip.mp4").write_bytes((clips / "a.mp4").read_bytes())
    do(desk, "/video my clip.mp4")
    do(desk, "/add my clip.mp4 0:01-0:02")
    assert {seen.view.path for seen in desk.chat.seen} == {Path("my clip.mp4")}
    assert [seen.view.start for seen in desk.chat.seen] == [None, 1.0]


def test_clip_and_frames_look_again(desk: Desk) -> None:
    ask(desk)
    assert "0:01" in do(desk, "/clip 0:01-0:02")
    assert "6 frames" in do(desk, "/frames 6")
    assert (desk.chat.seen[0].view.start, desk.chat.seen[0].view.num_frames) == (1.0, 6)
    do(desk, "/clip all")
    assert desk.chat.seen[0].view.start is None
    assert len(desk.chat.turns) == 1


def test_clips_that_leave_no_room_for_an_answer_are_refused_at_once(desk: Desk, clips: Path) -> None:
    desk.generation = replace(desk.generation, max_new_tokens=500)
    ask(desk)
    before = list(desk.chat.seen)
    for line in ("/frames 600", f"/add {clips / 'b.webm'}"):
        with pytest.raises(
            StllmError, match=r"\d+ video \+ \d+ text \+ 500 new tokens are more than the 2048"
        ):
            desk.view = partial(View, num_frames=600)
            do(desk, line)
        assert desk.chat.seen == before
    do(desk, "/set max_new_tokens 4")
    do(desk, "/frames 600")
    ask(desk, "?")


def test_show_draws_the_frames(desk: Desk) -> None:
    said = do(desk, "/show")
    assert "4 frames as the model sees them" in said
    assert "0:00.6" in said


@pytest.mark.parametrize(
    ("kind", "begins"), [("kitty", "\x1b_G"), ("iterm", "\x1b]1337"), ("sixel", "\x1bP")]
)
def test_show_draws_as_it_was_told(desk: Desk, kind: str, begins: str) -> None:
    assert do(desk, f"/set pictures {kind}") == f"pictures is {kind} now, was auto\n"
    assert begins in do(desk, "/show")
    do(desk, "/set pictures blocks")
    assert "\x1b" not in do(desk, "/show")


def test_undo_and_reset(desk: Desk) -> None:
    assert do(desk, "/undo") == "nothing was said yet\n"
    ask(desk)
    assert do(desk, "/undo") == "taken back: What moves?\n"
    ask(desk)
    do(desk, "/reset")
    assert desk.chat.turns == []


def test_save_and_load(desk: Desk, tmp_path: Path) -> None:
    ask(desk)
    assert do(desk, "/save") == "saved as a.chat.json; /load a.chat.json takes it up again\n"
    do(desk, "/save")  # its own file may be written again
    do(desk, "/reset")
    said = do(desk, "/load a.chat.json")
    assert "> What moves?" in said
    assert len(desk.chat.turns) == 1


def test_loading_never_replaces_what_is_not_saved(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(desk)
    do(desk, "/save a.json")
    ask(desk, "And then?")
    with pytest.raises(StllmError, match="the last answer would be lost") as caught:
        do(desk, "/load a.json")
    assert caught.value.fix == "/save keeps it, /reset gives it up; then /load again"
    assert [turn.question for turn in desk.chat.turns] == ["What moves?", "And then?"]
    ask(desk, "Where to?")
    with monkeypatch.context() as patched, pytest.raises(StllmError, match="would be lost"):
        patched.setattr(chat_file, "load_chat", None)  # no video is looked at in vain
        do(desk, "/load a.json")
    with pytest.raises(StllmError, match="2 answers would be lost"):
        do(desk, "/load a.json")
    do(desk, "/save b.json")
    do(desk, "/load a.json")
    do(desk, "/load b.json")
    do(desk, "/undo")  # the file still holds it
    do(desk, "/load a.json")
    assert [turn.question for turn in desk.chat.turns] == ["What moves?"]
    ask(desk, "And then?")
    do(desk, "/reset")
    do(desk, "/load b.json")
    assert len(desk.chat.turns) == 3


def test_another_video_never_takes_the_place_of_what_is_not_saved(desk: Desk, clips: Path) -> None:
    ask(desk)
    with pytest.raises(StllmError, match="the last answer would be lost") as caught:
        do(desk, f"/video {clips / 'b.webm'}")
    assert (
        caught.value.fix == "/add FILE goes on with it, /save keeps it, /reset gives it up; then /video again"
    )
    assert (len(desk.chat.turns), desk.chat.seen[0].view.path.name) == (1, "a.mp4")
    do(desk, "/reset")
    do(desk, f"/video {clips / 'b.webm'}")
    desk.interactive = False
    ask(desk)
    do(desk, f"/video {clips / 'a.mp4'}")
    assert desk.chat.turns == []


def test_the_same_answer_in_a_new_conversation_is_not_saved(desk: Desk, clips: Path) -> None:
    ask(desk)
    do(desk, "/save a.json")
    said = desk.chat.turns[0]
    do(desk, f"/video {clips / 'b.webm'}")
    desk.chat.turns.append(said)
    assert desk.unsaved_turns() == [said]


def test_script_loads_without_being_asked_again(desk: Desk) -> None:
    do(desk, "/save a.json")
    ask(desk)
    desk.interactive = False
    do(desk, "/load a.json")
    assert desk.chat.turns == []


def test_saving_never_replaces_another_file(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StllmError, match="there is a file of this name"):
        do(desk, "/save notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_saving_leaves_other_files_alone_and_knows_its_own(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.json.part").write_text("mine")
    do(desk, "/save a.json")
    assert (tmp_path / "a.json.part").read_text() == "mine"
    do(desk, f"/save {tmp_path / 'a.json'}")
    assert sorted(path.name for path in tmp_path.glob("*a.json*")) == ["a.json", "a.json.part"]


def test_what_nobody_foresaw_does_not_end_a_conversation(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(desk: Desk, argument: str) -> None:
        raise RuntimeError("boom")

    monkeypatch.setitem(COMMANDS, "show", replace(COMMANDS["show"], run=fail))
    assert not answer_lines(desk, ["/show", "What moves?"], as_json=False)
    ran = capsys.readouterr()
    assert "'/show': failed in a way nobody foresaw: RuntimeError: boom" in ran.err
    assert ran.out.strip() and len(desk.chat.turns) == 1


def test_options_are_changed_by_name(desk: Desk) -> None:
    assert do(desk, "/set temperature 0.5") == "temperature is 0.5 now, was 0.0\n"
    assert do(desk, "/set --max-new-tokens=7") == "max_new_tokens is 7 now, was 4\n"
    assert desk.generation == Generation(max_new_tokens=7, temperature=0.5)
    assert "top_p 1.0" in do(desk, "/set")


def test_timing_tells_what_answers_cost(desk: Desk) -> None:
    ask(desk)
    said = do(desk, "/timing")
    assert "What moves?: first token" in said
    assert "timing is on" in said
    assert "timing is off" in do(desk, "/timing off")


def test_tokens_that_come_at_once_are_not_counted_from_the_first(desk: Desk) -> None:
    desk.generation = Generation(max_new_tokens=4, num_beams=2)
    list(desk.chat.ask("What moves?", desk.generation))
    work = desk.chat.turns[-1].work
    assert work is not None
    assert f"at {work.new_tokens / work.seconds:.0f}/s" in do(desk, "/timing")


def test_why_not_working_names_what_is_wrong(desk: Desk) -> None:
    ask(desk, "Is the circle a zebra")
    said = " ".join(do(desk, "/why-not-working").split())
    assert "It does not know 'zebra'" in said
    assert "on cpu, float32" in said


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/", "/: no such command (/help lists what there is)"),
        ("/fames 3", "/fames: no such command (did you mean /frames?)"),
        ("/video", "/video: which video? (write /video FILE)"),
        ("/video none.mp4", "none.mp4: no such file or folder (check the path)"),
        ("/video 'a", "/video: a quotation mark is missing (close it)"),
        ("/clip", "/clip: which part? (write /clip 0:10-0:25, or /clip all)"),
        ("/clip 3", "/clip: '3' is not a stretch of time (write 0:10-0:25 or 0:10-)"),
        ("/frames 0", "/frames: '0' is not a number of frames (write /frames 16)"),
        ("/frames 5000", "num_frames: 5000 frames, and this model reads 682 at most (give at most 682)"),
        ("/frames " + "9" * 5000, f"/frames: '{'9' * 5000}' is not a number of frames (write /frames 16)"),
        (
            "/video ~no/x.mp4",
            "/video ~no/x.mp4: no file can be there: Could not determine home directory. (check the name)",
        ),
        (
            "/save ~no.json",
            "/save ~no.json: no file can be there: Could not determine home directory. (check the name)",
        ),
        (
            "/save " + "a" * 300,
            f"/save {'a' * 60}: no file can be there: File name too long (check the name)",
        ),
        ("/" + "what " * 100, "/what: no such command (/help lists what there is)"),
        (
            "/set temperature 1e-320",
            "temperature: 1e-320 does not work (0 is greedy, 0.7 is usual)",
        ),
        ("/set temprature 1", "/set: no option 'temprature' (did you mean temperature?)"),
        (
            "/set pictures gif",
            "/set pictures: no way 'gif' to draw (choose auto, kitty, iterm, sixel, blocks)",
        ),
        ("/set seed x", "/set seed: 'x' is not a whole number (it is 0 now)"),
        ("/set top_p 3", "top_p: 3.0 does not work (give a share above 0, at most 1)"),
        ("/timing maybe", "/timing: 'maybe' is neither on nor off (/timing on)"),
        ("/load", "/load: which conversation? (write /load FILE)"),
        (
            "/load none.json",
            "none.json: cannot be read: No such file or directory (give a file that /save wrote)",
        ),
    ],
)
def test_a_command_that_cannot_be_done_leaves_everything_as_it_was(
    desk: Desk, line: str, complaint: str
) -> None:
    ask(desk)
    before = desk.chat, list(desk.chat.seen), list(desk.chat.turns), desk.generation, desk.pictures
    with pytest.raises(StllmError) as caught:
        do(desk, line)
    assert str(caught.value) == complaint
    assert (desk.chat, desk.chat.seen, desk.chat.turns, desk.generation, desk.pictures) == before


def test_a_path_is_taken_for_what_it_is(desk: Desk, clips: Path) -> None:
    with pytest.raises(StllmError, match="a path, not a command"):
        do(desk, str(clips / "a.mp4"))


# ---- stopping


def test_the_first_interrupt_stops_the_answer_and_keeps_it(desk: Desk) -> None:
    desk.generation = Generation(max_new_tokens=50)

    def interrupt_after_the_first(pieces) -> None:  # type: ignore[no-untyped-def]
        next(pieces)
        signal.raise_signal(signal.SIGINT)
        assert len(list(pieces)) <= 2

    turn = answer(desk, "What moves?", interrupt_after_the_first)
    assert turn is not None
    assert turn.ending == "stopped"
    assert desk.chat.turns == [turn]
    ask(desk)
    assert len(desk.chat.turns) == 2


def test_the_second_interrupt_is_at_once(desk: Desk) -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as should_stop:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
