"""The conversation in a terminal: one faked in this process, and a real one driven by tmux."""

import fcntl
import io
import os
import pty
import select
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from st_llm_cli.cli.chat_desk import Desk
from st_llm_cli.cli.chat_terminal import SlashCompleter, converse, write_markdown
from st_llm_cli.cli.screen import console_of
from st_llm_cli.model.generation import Generation
from st_llm_cli.stages.chat import Chat, View
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.video.reader import read_clip
from tests.cli.drawn import sixel_pictures


def completions(line: str) -> list[str]:
    return [item.text for item in SlashCompleter().get_completions(Document(line), CompleteEvent())]


def test_commands_are_completed() -> None:
    assert completions("/v") == ["video "]
    assert completions("/s") == ["show", "save ", "set "]
    assert completions("What") == []
    assert completions("/set t") == ["temperature", "top_p"]


def test_values_of_options_are_completed_where_they_are_few() -> None:
    assert completions("/set pictures ") == ["auto", "kitty", "iterm", "sixel", "blocks"]
    assert completions("/set pictures ki") == ["kitty"]
    assert completions("/set  pictures  ki") == ["kitty"]
    assert completions("/set temperature ") == []


def test_file_names_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dog.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert completions("/video d") == ["og.mp4"]
    assert completions("/add ") == ["dog.mp4"]
    assert completions("/undo d") == []
    (tmp_path / "clips").mkdir()
    assert completions("/video cl") == ["ips/"]


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


def talkative_checkpoint(folder: Path, clip: Path, question: str) -> tuple[Path, str]:
    """A checkpoint whose answer does not end soon, and how it begins."""
    from tests.micro import write_micro_checkpoint

    for seed in range(30):
        checkpoint = write_micro_checkpoint(folder / f"talkative{seed}", seed=seed)
        chat = Chat(load_model(str(checkpoint)))
        chat.watch(View(clip))
        said = "".join(chat.ask(question, Generation(max_new_tokens=600)))
        if chat.turns[-1].ending == "length" and len(said) > 20:
            return checkpoint, said[:20].strip()
    pytest.fail("all answers end soon")


@pytest.mark.slow
def test_a_conversation_in_a_terminal(terminal: Tmux, folder: Path, tmp_path: Path) -> None:
    talkative, beginning = talkative_checkpoint(tmp_path, folder / "a.mp4", "What moves?")
    terminal.start(command(talkative, folder, "--max-new-tokens", "1900"))
    terminal.wait_for("Ctrl-D leaves")
    terminal.type("What moves?", "Enter")
    terminal.wait_for(beginning)
    terminal.type("C-c")
    shown = terminal.wait_for("stopped; what is there stays in the conversation")
    assert shown.count(beginning) == 1, shown
    terminal.type("/set max_new_tokens 5", "Enter")
    terminal.wait_for("max_new_tokens is 5 now")
    terminal.type("And then?", "Enter")
    terminal.wait_for("tok/s")
    terminal.type("/video none.mp4", "Enter")
    terminal.wait_for("no such file or folder")
    terminal.type("/video b.webm", "Enter")
    terminal.wait_for("2 answers would be lost")
    terminal.type("/save first.json", "Enter")
    terminal.wait_for("saved as first.json")
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


def test_a_dumb_terminal_is_as_wide_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(Console, "is_terminal", True)
    assert console_of().width == 40


class Answering:
    """A terminal with pictures: it answers what it is asked, and keeps all that is written to it."""

    ANSWERS = ((b"\x1b[c", b"\x1b[6;20;10t\x1b[?62;4;22c"), (b"\x1b[6n", b"\x1b[1;1R"))

    def __init__(self, command: str) -> None:
        self.far, near = pty.openpty()
        fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.running = subprocess.Popen(
            ["sh", "-c", command], stdin=near, stdout=near, stderr=near, start_new_session=True
        )
        os.close(near)
        self.heard = b""

    def wait_for(self, text: bytes | None, seconds: float = 180) -> str:
        """What was written by the time there was this text in it, or by the end."""
        until = time.monotonic() + seconds
        while text is None or text not in self.heard:
            assert time.monotonic() < until, self.heard[-2000:]
            if select.select([self.far], [], [], 0.1)[0]:
                try:
                    new = os.read(self.far, 4096)
                except OSError:  # how Linux says that the other end is closed
                    break
                for question, answer in self.ANSWERS:
                    os.write(self.far, answer * new.count(question))
                self.heard += new
        assert text is None or text in self.heard, self.heard[-2000:]
        return self.heard.decode(errors="replace")

    def stop(self) -> None:
        self.running.kill()
        self.running.wait()
        os.close(self.far)


@pytest.mark.slow
def test_a_terminal_with_pictures_is_drawn_pictures(folder: Path, micro: Path) -> None:
    there = Answering(f"unset TMUX STY; export TERM=foot; {command(micro, folder)}")
    try:
        there.wait_for(b"Ctrl-D leaves")
        os.write(there.far, b"/show\r/quit\r")
        said = there.wait_for(None)
    finally:
        there.stop()
    (pixels,) = sixel_pictures(said)
    clip = read_clip(folder / "a.mp4", num_frames=4, transform=load_model(str(micro)).transform)
    wide = pixels.shape[1] // 4
    for number, frame in enumerate(clip.frames):
        middle = pixels[pixels.shape[0] // 2, number * wide + wide // 2, :3]
        close = np.abs(middle.astype(int) - frame[frame.shape[0] // 2, frame.shape[1] // 2])
        assert close.max() < 40
