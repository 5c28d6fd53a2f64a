"""Frames as a strip of small pictures in a terminal, with the time of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Console
from rich.text import Text

from st_llm_cli.cli.picture_codes import CODES
from st_llm_cli.cli.picture_terminal import Screen
from st_llm_cli.cli.times import clock

if TYPE_CHECKING:
    from st_llm_cli.video.clip import Clip

MOST_FRAMES = 24
NARROWEST, WIDEST = 10, 20
"""Columns of one picture."""
SHADES = " .:-=+*#%@"
"""From dark to light, where there are no colours."""


def draw_film_strip(clip: Clip, console: Console, screen: Screen) -> None:
    """Draw frames of a clip as wide as the terminal, each with its time below.

    Args:
        clip: What to draw; of more than `MOST_FRAMES` frames, so many evenly spaced ones.
        console: Says how wide the terminal is, and whether it has colours.
        screen: What is drawn there: pictures, or two pixels a character; shades where there are no colours.
    """
    shown = chosen(len(clip.times_seconds), MOST_FRAMES)
    in_row, width = layout(len(shown), console.width)
    for first in range(0, len(shown), in_row):
        row = shown[first : first + in_row]
        if screen.pictures in CODES:
            console.file.write(CODES[screen.pictures](*_picture_row(clip, row, width, screen.cell)))
        else:
            for line in _blocks_row(clip, row, width, has_colours(console)):
                console.print(line, no_wrap=True, overflow="crop", crop=True)
        times = " ".join(f"{clock(clip.times_seconds[number]):^{width}}" for number in row)
        console.print(times, style="dim", no_wrap=True, overflow="crop", crop=True, highlight=False)


def has_colours(console: Console) -> bool:
    """Whether there are colours on it."""
    return console.color_system is not None and not console.no_color


def layout(num_frames: int, columns: int) -> tuple[int, int]:
    """Pictures in a row, about as many in each, and columns of one picture."""
    fit = max(1, (columns + 1) // (NARROWEST + 1))
    rows = math.ceil(num_frames / fit)
    in_row = math.ceil(num_frames / rows)
    return in_row, max(1, min(WIDEST, (columns + 1) // in_row - 1))


def chosen(total: int, most: int) -> list[int]:
    """Numbers of at most so many frames, evenly spaced, the first and the last among them."""
    if total <= most:
        return list(range(total))
    return [round(number * (total - 1) / (most - 1)) for number in range(most)]


def _picture_row(
    clip: Clip, row: list[int], width: int, cell: tuple[int, int]
) -> tuple[Image.Image, int, int]:
    """Frames side by side in one picture, a column of nothing between them, and what it covers.

    Returns:
        The picture, RGBA; its columns; its rows.
    """
    tall, wide = clip.frames.shape[1:3]
    size = width * cell[0], max(1, round(width * cell[0] * tall / wide / cell[1])) * cell[1]
    columns = len(row) * (width + 1) - 1
    picture = Image.new("RGBA", (columns * cell[0], size[1]))
    for place, number in enumerate(row):
        frame = Image.fromarray(clip.frames[number]).resize(size, Image.Resampling.BICUBIC)
        picture.paste(frame, (place * (width + 1) * cell[0], 0))
    return picture, columns, size[1] // cell[1]


def _blocks_row(clip: Clip, row: list[int], width: int, coloured: bool) -> list[Text]:
    """Frames side by side as lines of text."""
    pictures = [_blocks(clip, number, width, coloured) for number in row]
    return [Text(" ").join(cells) for cells in zip(*pictures, strict=True)]


def _blocks(clip: Clip, number: int, width: int, coloured: bool) -> list[Text]:
    """One frame as lines of text; a character is about twice as high as wide."""
    frame = Image.fromarray(clip.frames[number])
    height = max(1, round(width * frame.height / frame.width / 2))
    if not coloured:
        grey = frame.convert("L").resize((width, height), Image.Resampling.BOX)
        marks = [SHADES[value * len(SHADES) // 256] for value in grey.tobytes()]
        return [Text("".join(marks[line * width : (line + 1) * width])) for line in range(height)]
    pixels = frame.resize((width, 2 * height), Image.Resampling.BOX).tobytes()  # [2*height, width, 3]

    def colour(line: int, column: int) -> str:
        red, green, blue = pixels[3 * (line * width + column) :][:3]
        return f"rgb({red},{green},{blue})"

    rows = []
    for line in range(0, 2 * height, 2):
        row = Text()
        for column in range(width):
            row.append("▀", style=f"{colour(line, column)} on {colour(line + 1, column)}")
        rows.append(row)
    return rows
