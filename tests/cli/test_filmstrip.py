from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from st_llm_cli.cli.filmstrip import chosen, film_strip, layout
from st_llm_cli.video.clip import Clip, Source


def black_to_white(num_frames: int, size: int = 28) -> Clip:
    shades = np.linspace(0, 255, num_frames).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (num_frames, size, size, 3)).copy()
    source = Source("a.mp4", "pyav", size, size, 1.0, float(num_frames), num_frames, num_frames, 0)
    times = tuple(float(second) for second in range(num_frames))
    return Clip(frames, tuple(range(num_frames)), times, source)


def console(width: int, colour: bool) -> Console:
    system = "truecolor" if colour else None
    return Console(file=StringIO(), width=width, color_system=system, force_terminal=colour)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("num_frames", [1, 4, 7, 16, 64])
@pytest.mark.parametrize("colour", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, num_frames: int, colour: bool) -> None:
    lines = film_strip(black_to_white(num_frames), console(width, colour))
    assert max(line.cell_len for line in lines) <= width


def test_each_frame_has_its_time_below() -> None:
    lines = [line.plain.split() for line in film_strip(black_to_white(4), console(80, colour=False))]
    assert lines[-1] == ["0:00", "0:01", "0:02", "0:03"]


def test_shades_stand_for_colours_where_there_are_none() -> None:
    first, *_ = film_strip(black_to_white(2), console(21, colour=False))
    assert first.plain == " " * 10 + " " + "@" * 10


def test_two_pixels_stand_in_one_character() -> None:
    clip = black_to_white(1, size=2)
    clip.frames[0, 0] = (255, 0, 0)
    clip.frames[0, 1] = (0, 0, 255)
    lines = film_strip(clip, console(21, colour=True))
    assert str(lines[0].spans[0].style) == "rgb(255,0,0) on rgb(255,0,0)"
    assert str(lines[-2].spans[0].style) == "rgb(0,0,255) on rgb(0,0,255)"


def test_rows_are_even() -> None:
    assert layout(16, 80) == (6, 12)
    assert layout(4, 80) == (4, 19)
    assert layout(3, 8) == (1, 8)


def test_of_many_frames_the_first_and_the_last_are_drawn() -> None:
    numbers = chosen(100, 24)
    assert (len(numbers), numbers[0], numbers[-1]) == (24, 0, 99)
    assert numbers == sorted(set(numbers))
    assert chosen(5, 24) == [0, 1, 2, 3, 4]
