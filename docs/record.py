"""Record a real conversation in a terminal as an SVG that plays: `python docs/record.py`.

A shell in tmux is typed into; what its screen shows is looked at again and again, with colours, until the
conversation is over. Pauses longer than `LONGEST_PAUSE_SECONDS` are shortened, everything else is as it was.
Lines that occur more than once are kept once. Without animation the picture shows the last screen.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

OUT = Path(__file__).parent / "chat.svg"
COLUMNS, LINES = 106, 26
TYPED = (
    "stllm chat clips/red_circle.mp4",
    "What does the red object do first?",
    "What does the red object do at the end?",
    "/show",
    "/clip 0:00-0:01.5",
    "Describe the video.",
)
KEY_SECONDS = 0.04
LONGEST_PAUSE_SECONDS = 1.2
LAST_SECONDS = 5.0
"""How long the last screen stays before the recording begins again."""

CELL_WIDTH, CELL_HEIGHT, MARGIN, BAR = 8.4, 18, 14, 30
THEME = TerminalTheme(
    (30, 31, 41),
    (226, 226, 220),
    [
        (50, 52, 66), (235, 98, 98), (100, 200, 120), (230, 190, 100),
        (110, 150, 240), (190, 130, 220), (90, 190, 200), (200, 200, 195),
    ],
    [
        (120, 124, 145), (255, 120, 120), (130, 220, 140), (245, 210, 130),
        (140, 175, 255), (210, 155, 240), (120, 215, 225), (255, 255, 255),
    ],
)  # fmt: skip

Screen = tuple[str, ...]


class Terminal:
    """A shell in tmux, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.base = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shown = {"PS1": "$ ", "PATH": path, "COLORTERM": "truecolor", "STLLM_CACHE": "off"}
        shown |= {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        shell = shlex.join(["env", "-u", "ENV", *(f"{name}={value}" for name, value in shown.items()), "sh"])
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        self.run("new-session", "-d", *size, "-c", str(folder), shell)
        self.run("set-option", "status", "off")

    def run(self, *words: str) -> str:
        """Give tmux a command."""
        return subprocess.run([*self.base, *words], check=True, capture_output=True, text=True).stdout

    def screen(self, *, colours: bool = True) -> Screen:
        """Lines of the screen, with colours as escape sequences."""
        kept = self.run("capture-pane", "-p", *(["-e"] if colours else [])).splitlines()
        return tuple(line.rstrip() for line in kept)

    def is_waiting(self) -> bool:
        """Whether the cursor stands behind an empty prompt."""
        column, line = map(int, self.run("display", "-p", "#{cursor_x} #{cursor_y}").split())
        shown = self.screen(colours=False)
        return column == 2 and shown[line].strip() in ("$", ">")


def record(folder: Path) -> list[tuple[float, Screen]]:
    """Type the conversation; every screen that differs from the one before, and when it came."""
    terminal = Terminal(folder)
    began = time.monotonic()
    seen: list[tuple[float, Screen]] = []

    def look_until(is_over: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            over = is_over()
            shown = terminal.screen()
            if not seen or still(seen[-1][1]) != still(shown):
                seen.append((time.monotonic() - began, shown))
            if over:
                return
            if time.monotonic() > until:
                raise SystemExit("\n".join(["the conversation does not go on:", *shown]))

    try:
        for line in TYPED:
            look_until(terminal.is_waiting, 600)
            for key in line:
                terminal.run("send-keys", "-l", key)
                pressed = time.monotonic()
                look_until(lambda pressed=pressed: time.monotonic() - pressed > KEY_SECONDS, 60)  # type: ignore[misc]
            terminal.run("send-keys", "Enter")
            entered = time.monotonic()
            look_until(lambda entered=entered: time.monotonic() - entered > 0.3, 60)  # type: ignore[misc]
        look_until(terminal.is_waiting, 600)
    finally:
        terminal.run("kill-server")
    return seen


def still(screen: Screen) -> Screen:
    """A screen without what turns to show that something takes its time."""
    return tuple(re.sub("[\u2800-\u28ff]", "", line) for line in screen)


def shorten(seen: list[tuple[float, Screen]]) -> tuple[list[tuple[float, Screen]], float]:
    """Screens as SVG with their times, no pause longer than wanted; and the time of all of it."""
    times, now = [], 0.0
    for number, (at, _) in enumerate(seen):
        now += min(at - seen[number - 1][0], LONGEST_PAUSE_SECONDS) if number else 0.0
        times.append(now)
    return [(at, drawn(screen)) for at, (_, screen) in zip(times, seen, strict=True)], now + LAST_SECONDS


def stays(screens: list[tuple[float, Screen]], total: float) -> list[tuple[int, str, float, float]]:
    """What stands in which line, from when to when."""
    found = []
    for row in range(LINES):
        begin, text = 0.0, ""
        for at, screen in [*screens, (total, ())]:
            new = screen[row] if row < len(screen) else ""
            if new != text or at == total:
                if text and at > begin:
                    found.append((row, text, begin, at))
                begin, text = at, new
    return found


def drawn(screen: Screen) -> Screen:
    """Lines of a screen as SVG; a line may go on in the colours of the one above."""
    return tuple(line_svg(text) for text in AnsiDecoder().decode("\n".join(screen)))


def line_svg(text: Text) -> str:
    """One line: backgrounds and half blocks as rectangles, the rest as text."""
    out, column = [], 0
    for segment in text.render(Console(width=COLUMNS, color_system="truecolor")):
        style = segment.style or Style()
        width = segment.cell_length
        front, back = colour_of(style, front=True), colour_of(style, front=False)
        if set(segment.text) == {"▀"}:
            out += [rectangle(column, width, front, 0.0, 0.5), rectangle(column, width, back, 0.5, 0.5)]
        elif segment.text.strip() or style.bgcolor:
            if style.bgcolor:
                out.append(rectangle(column, width, back, 0.0, 1.0))
            out.append(words(segment.text, column, style, front))
        column += width
    return "".join(out)


def colour_of(style: Style, *, front: bool) -> str:
    """A colour as `#rrggbb`."""
    if style.reverse:
        front = not front
    colour = style.color if front else style.bgcolor
    rgb = colour.get_truecolor(THEME, foreground=front) if colour else None
    return (rgb or (THEME.foreground_color if front else THEME.background_color)).hex


def rectangle(column: int, width: int, colour: str, top: float, height: float) -> str:
    """Part of a line of characters, filled; a little too high, so that no seam shows."""
    x, y = MARGIN + column * CELL_WIDTH, top * CELL_HEIGHT
    size = f'width="{width * CELL_WIDTH + 0.3:.1f}" height="{height * CELL_HEIGHT + 0.3:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:g}" {size} fill="{colour}"/>'


def words(text: str, column: int, style: Style, colour: str) -> str:
    """Text, as wide as its columns whatever the font; wider gaps are none of a text's own."""
    looks = f' fill="{colour}"' if colour != THEME.foreground_color.hex else ""
    looks += ' font-weight="bold"' if style.bold else ""
    looks += ' opacity=".6"' if style.dim else ""
    out = []
    for found in re.finditer(r"\S+( \S+)*", text):
        x, length = MARGIN + (column + found.start()) * CELL_WIDTH, len(found[0]) * CELL_WIDTH
        place = f'x="{x:.1f}" y="13.5" textLength="{length:.1f}"'
        out.append(f"<text {place}{looks}>{escape(found[0])}</text>")
    return "".join(out)


def movie(screens: list[tuple[float, Screen]], total: float) -> str:
    """The whole picture."""
    lines: dict[str, str] = {}
    moments: dict[tuple[float, float], str] = {}
    uses = []
    for row, text, begin, end in stays(screens, total):
        name = lines.setdefault(text, f"l{len(lines)}")
        moment = moments.setdefault((begin, end), f"t{len(moments)}")
        last = "" if end == total else ' visibility="hidden"'
        uses.append(f'<use href="#{name}" y="{MARGIN + BAR + row * CELL_HEIGHT}" class="{moment}"{last}/>')
    style = [f"use{{animation:{total:.2f}s step-end infinite}}"]
    for (begin, end), name in moments.items():
        shown, hidden = f"{100 * begin / total:.2f}%", f"{100 * end / total:.2f}%"
        frames = (
            f"0%{{visibility:hidden}}{shown}{{visibility:visible}}" if begin else "0%{visibility:visible}"
        )
        frames += "" if end == total else f"{hidden}{{visibility:hidden}}"
        style.append(f".{name}{{animation-name:{name}}}@keyframes {name}{{{frames}}}")
    style.append("@media (prefers-reduced-motion:reduce){use{animation:none}}")
    width, height = 2 * MARGIN + COLUMNS * CELL_WIDTH, 2 * MARGIN + BAR + LINES * CELL_HEIGHT
    dots = "".join(
        f'<circle cx="{20 + 18 * place}" cy="20" r="6" fill="{colour}"/>'
        for place, colour in enumerate(("#eb6262", "#e6be64", "#64c878"))
    )
    kept = "".join(f'<g id="{name}">{text}</g>\n' for text, name in lines.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="14" '
        f'fill="{THEME.foreground_color.hex}" xml:space="preserve">\n'
        f"<style>{''.join(style)}</style>\n<defs>\n{kept}</defs>\n"
        f'<rect width="100%" height="100%" rx="8" fill="{THEME.background_color.hex}"/>{dots}\n'
        + "\n".join(uses)
        + "\n</svg>\n"
    )


def main() -> None:
    """Record, and write the picture."""
    with tempfile.TemporaryDirectory(prefix="stllm") as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "st_llm_cli", "demo", str(folder / "clips")], check=True)
        screens, total = shorten(record(folder))
    OUT.write_text(movie(screens, total), encoding="utf-8")
    kilobytes = OUT.stat().st_size / 1000
    sys.stdout.write(f"{OUT.name}: {len(screens)} screens, {total:.0f} s, {kilobytes:.0f} KB\n")


if __name__ == "__main__":
    main()
