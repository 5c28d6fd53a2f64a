from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from st_llm_cli.cli.filmstrip import chosen, draw_film_strip, layout
from st_llm_cli.cli.picture_terminal import Screen
from st_llm_cli.video.clip import Clip, Source
from tests.cli.drawn import iterm_pictures, kitty_pictures, sixel_pictures

BLOCKS = Screen("blocks")


def black_to_white(num_frames: int, size: int = 28) -> Clip:
    shades = np.linspace(0, 255, num_frames).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (num_frames, size, size, 3)).copy()
    source = Source("a.mp4", "pyav", size, size, 1.0, float(num_frames), num_frames, num_frames, 0)
    times = tuple(float(second) for second in range(num_frames))
    return Clip(frames, tuple(range(num_frames)), times, source)


def console(width: int, colour: bool) -> Console:
    system = "truecolor" if colour else None
    return Console(file=StringIO(), width=width, color_system=system, force_terminal=colour)  # type: ignore[arg-type]


def drawn(clip: Clip, width: int, colour: bool, screen: Screen = BLOCKS) -> str:
    on = console(width, colour)
    draw_film_strip(clip, on, screen)
    assert isinstance(on.file, StringIO)
    return on.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("num_frames", [1, 4, 7, 16, 64])
@pytest.mark.parametrize("colour", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, num_frames: int, colour: bool) -> None:
    said = Text.from_ansi(drawn(black_to_white(num_frames), width, colour))
    assert max(line.cell_len for line in said.split()) <= width


def test_each_frame_has_its_time_below() -> None:
    lines = drawn(black_to_white(4), 80, colour=False).splitlines()
    assert lines[-1].split() == ["0:00", "0:01", "0:02", "0:03"]


def test_shades_stand_for_colours_where_there_are_none() -> None:
    first, *_ = drawn(black_to_white(2), 21, colour=False).splitlines()
    assert first == " " * 10 + " " + "@" * 10


def test_two_pixels_stand_in_one_character() -> None:
    clip = black_to_white(1, size=2)
    clip.frames[0, 0] = (255, 0, 0)
    clip.frames[0, 1] = (0, 0, 255)
    lines = drawn(clip, 21, colour=True).splitlines()
    assert "38;2;255;0;0;48;2;255;0;0m▀" in lines[0]
    assert "38;2;0;0;255;48;2;0;0;255m▀" in lines[-2]


@pytest.mark.parametrize("kind", ["kitty", "iterm", "sixel"])
def test_pictures_show_the_frames_side_by_side(kind: str) -> None:
    said = drawn(black_to_white(4, size=56), 80, True, Screen(kind, (8, 16)))
    if kind == "sixel":
        (pixels,) = sixel_pictures(said)
    else:
        ((keys, pixels),) = kitty_pictures(said) if kind == "kitty" else iterm_pictures(said)
        assert keys["c" if kind == "kitty" else "width"] == "79"
        assert keys["r" if kind == "kitty" else "height"] == "10"
    assert pixels.shape == (10 * 16, 79 * 8, 4), "19 columns a frame, square, in whole rows"
    for place, shade in enumerate([0, 85, 170, 255]):
        left = place * 20 * 8
        frame = pixels[:, left : left + 19 * 8].astype(int)
        assert np.abs(frame[..., :3] - shade).max() <= 3
        assert (frame[..., 3] == 255).all()
        assert (pixels[:, left + 19 * 8 : left + 20 * 8, 3] == 0).all(), "a column of nothing between them"
    assert said.splitlines()[-1].count("0:0") == 4


def test_rows_are_even() -> None:
    assert layout(16, 80) == (6, 12)
    assert layout(4, 80) == (4, 19)
    assert layout(3, 8) == (1, 8)


def test_of_many_frames_the_first_and_the_last_are_drawn() -> None:
    numbers = chosen(100, 24)
    assert (len(numbers), numbers[0], numbers[-1]) == (24, 0, 99)
    assert numbers == sorted(set(numbers))
    assert chosen(5, 24) == [0, 1, 2, 3, 4]
