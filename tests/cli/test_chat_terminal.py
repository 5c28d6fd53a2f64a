"""The conversation in a terminal: one faked in this process, and a real one driven by tmux."""

import io
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from st_llm_cli.cli.chat_desk import Desk
from st_llm_cli.cli.chat_terminal import SlashCompleter, converse, write_markdown
from st_llm_cli.model.decoding import Generation
from st_llm_cli.stages.chat import Chat, View
from st_llm_cli.stages.video_model import load_model


def completions(line: str) -> list[str]:
    return [item.text for item in SlashCompleter().get_completions(Document(line), CompleteEvent())]


def test_commands_are_completed() -> None:
    assert completions("/v") == ["video"]
    assert completions("/s") == ["show", "save", "set"]
    assert completions("What") == []
    assert completions("/set t") == ["temperature", "top_p"]


def test_file_names_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dog.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert completions("/video d") == ["og.mp4"]
    assert completions("/add ") == ["dog.mp4"]
    assert completions("/undo d") == []


@pytest.fixture
def desk(micro: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    chat = Chat(load_model(str(micro)))
    chat.watch(View(clips / "a.mp4"))
    return Desk(chat, Generation(max_new_tokens=4), View, Console(file=io.StringIO(), width=80), True)


def talk(desk: Desk, keys: str) -> str:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        converse(desk)
    assert isinstance(desk.console.file, io.StringIO)
    return desk.console.file.getvalue()


def test_a_conversation_goes_on_after_a_mistake(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    said = talk(desk, "What moves?\n/video none.mp4\n/vdeo\nWhere?\n\x04")
    assert [turn.question for turn in desk.chat.turns] == ["What moves?", "Where?"]
    assert desk.chat.turns[1].answer in said
    assert capsys.readouterr().err.splitlines() == [
        "stllm: error: none.mp4: no such file or folder (check the path)",
        "stllm: error: /vdeo: no such command (did you mean /video?)",
    ]


def test_ctrl_c_clears_the_line_and_quit_leaves(desk: Desk) -> None:
    talk(desk, "half a question\x03/quit\nnot asked\n")
    assert desk.leaving
    assert desk.chat.turns == []


def test_questions_are_remembered_for_the_next_conversation(desk: Desk, tmp_path: Path) -> None:
    talk(desk, "What moves?\n\x04")
    talk(desk, "\x1b[A\n\x04")  # the up arrow brings it back
    assert [turn.question for turn in desk.chat.turns] == ["What moves?"] * 2
    history = tmp_path / "state" / "stllm" / "chat_history"
    assert history.stat().st_mode & 0o077 == 0, "what one asks is one's own business"


def test_where_nothing_can_be_remembered_talking_goes_on(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the place of the folder")
    talk(desk, "What moves?\n\x04")
    assert len(desk.chat.turns) == 1


def test_an_answer_that_is_interrupted_stays_on_the_screen(desk: Desk) -> None:
    def pieces() -> Iterator[str]:
        yield "It *moves*"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_markdown(desk, pieces())
    assert isinstance(desk.console.file, io.StringIO)
    assert "It moves" in desk.console.file.getvalue()


# ---- a real terminal


class Tmux:
    """A terminal of its own that can be typed into and looked at."""

    def __init__(self, socket: Path, columns: int, lines: int) -> None:
        self.base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self.size = ["-x", str(columns), "-y", str(lines)]

    def start(self, command: str) -> None:
        # What is left on the screen when the command has ended can still be looked at.
        subprocess.run(
            [*self.base, "new-session", "-d", *self.size, f"{command}; echo LEFT $?; cat"], check=True
        )

    def type(self, *keys: str) -> None:
        subprocess.run([*self.base, "send-keys", *keys], check=True)

    def screen(self) -> str:
        shown = subprocess.run(
            [*self.base, "capture-pane", "-p", "-S", "-500"], capture_output=True, text=True, check=True
        )
        return shown.stdout

    def wait_for(self, text: str, count: int = 1, seconds: float = 180) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            shown = self.screen()
            if shown.count(text) >= count:
                return shown
            time.sleep(0.1)
        pytest.fail(f"{text!r} did not appear:\n{self.screen()}")

    def stop(self) -> None:
        subprocess.run([*self.base, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: apt-get install tmux")
    # The path of a socket may not be long, that of a test often is.
    socket = Path("/tmp") / f"stllm-{os.getpid()}-{abs(hash(request.node.name)) % 10**6}"
    made = Tmux(socket, *getattr(request, "param", (80, 60)))
    yield made
    made.stop()
    socket.unlink(missing_ok=True)


def command(model: Path, folder: Path, *options: str, colour: bool = True) -> str:
    # Test runners like to export the size of their own terminal.
    environment = (
        f"env -u COLUMNS -u LINES XDG_STATE_HOME={folder / 'state'} STLLM_CACHE=off OMP_NUM_THREADS=1"
    )
    if not colour:
        environment += " NO_COLOR=1"
    words = [sys.executable, "-m", "st_llm_cli", "chat", "a.mp4", "-m", str(model), *options]
    return f"cd {folder} && {environment} {shlex.join(words)}"


@pytest.fixture
def folder(clips: Path, tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.webm"):
        shutil.copy(clips / name, tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_a_conversation_in_a_terminal(terminal: Tmux, folder: Path, tmp_path: Path) -> None:
    from tests.micro import write_micro_checkpoint

    talkative = write_micro_checkpoint(tmp_path / "talkative", seed=4)  # its answers do not end soon
    terminal.start(command(talkative, folder, "--max-new-tokens", "1900"))
    terminal.wait_for("Ctrl-D leaves")
    terminal.type("What moves?", "Enter")
    terminal.wait_for("square yes Where")
    terminal.type("C-c")
    terminal.wait_for("stopped; what is there stays in the conversation")
    terminal.type("/set max_new_tokens 5", "Enter")
    terminal.wait_for("max_new_tokens is 5 now")
    terminal.type("And then?", "Enter")
    terminal.wait_for("tok/s")
    terminal.type("/video none.mp4", "Enter")
    terminal.wait_for("no such file or folder")
    terminal.type("/video b.webm", "Enter")
    terminal.wait_for("a new conversation begins")
    terminal.type("What moves?", "Enter")
    terminal.wait_for("cut at its longest", count=2)
    terminal.type("/show", "Enter")
    assert "4 frames as the model sees them" in terminal.wait_for("▀▀▀")
    terminal.type("/save talk.json", "Enter")
    terminal.wait_for("saved as talk.json")
    terminal.type("C-d")
    shown = terminal.wait_for("LEFT 0")
    assert "Traceback" not in shown
    assert (folder / "talk.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [(40, 40)], indirect=True)
def test_a_narrow_terminal_without_colours(terminal: Tmux, folder: Path, micro: Path) -> None:
    terminal.start(command(micro, folder, "--max-new-tokens", "5", colour=False))
    terminal.wait_for("leaves")
    terminal.type("What moves?", "Enter")
    terminal.wait_for("cut at its longest")
    terminal.type("/show", "Enter")
    terminal.wait_for("0:04.5")
    terminal.type("/help", "Enter")
    terminal.wait_for("/why-not-working")
    shown = terminal.screen()
    assert "▀" not in shown, "two colours a character need colours"
    assert max(map(len, shown.splitlines())) <= 40
    terminal.type("C-d")
    assert "Traceback" not in terminal.wait_for("LEFT 0")
