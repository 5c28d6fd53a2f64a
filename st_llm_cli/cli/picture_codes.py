"""Pictures as the escape sequences with which terminals draw them: kitty's, iTerm2's and sixels."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

KITTY_CHUNK = 4096
"""Characters that kitty takes at a time."""
MOST_COLOURS = 255
"""Colours of a sixel picture; terminals have registers for 256."""
BAND = 6
"""Lines of pixels that one line of sixels holds."""


def kitty(picture: Image, columns: int, rows: int) -> str:
    """Draw over so many columns and rows, and leave the cursor behind the last row.

    Args:
        picture: RGBA.
        columns: Columns it covers.
        rows: Rows it covers.

    Source: https://sw.kovidgoyal.net/kitty/graphics-protocol
    """
    data = base64.b64encode(_png(picture)).decode("ascii")
    chunks = [data[begin : begin + KITTY_CHUNK] for begin in range(0, len(data), KITTY_CHUNK)]
    # a=T transmit and draw, f=100 PNG, q=2 no reply, m=1 more is to come
    head = f"a=T,f=100,q=2,c={columns},r={rows},"
    parts = []
    for number, chunk in enumerate(chunks, start=1):
        parts.append(f"\x1b_G{head}m={int(number < len(chunks))};{chunk}\x1b\\")
        head = ""
    return f"{''.join(parts)}\n"


def iterm(picture: Image, columns: int, rows: int) -> str:
    """Draw as `kitty` does, for iTerm2 and those that follow it.

    Source: https://iterm2.com/documentation-images.html
    """
    png = _png(picture)
    how = f"inline=1;size={len(png)};width={columns};height={rows};preserveAspectRatio=0"
    return f"\x1b]1337;File={how}:{base64.b64encode(png).decode('ascii')}\x07\n"


def sixel(picture: Image, columns: int, rows: int) -> str:
    """Draw pixel by pixel; what the picture covers follows from its size, so columns and rows do not count.

    Source: https://vt100.net/docs/vt3xx-gp/chapter14.html
    """
    solid = np.asarray(picture.getchannel("A")) > 127  # [height, width]
    few = picture.convert("RGB").quantize(MOST_COLOURS)
    numbers = np.asarray(few)  # [height, width]
    palette = few.getpalette() or []
    height, width = numbers.shape
    # P2=1: what is not drawn stays as it was; then aspect ratio 1:1 and size
    out = [f'\x1bP0;1q"1;1;{width};{height}']
    for number in np.unique(numbers[solid]).tolist():
        percent = [round(value / 255 * 100) for value in palette[3 * number : 3 * number + 3]]
        out.append(f"#{number};2;{';'.join(map(str, percent))}")
    for top in range(0, height, BAND):
        out.append(_band(numbers[top : top + BAND], solid[top : top + BAND]))
    return f"{''.join(out)}\x1b\\\n"


def _band(numbers: np.ndarray[Any, Any], solid: np.ndarray[Any, Any]) -> str:
    """Six lines of pixels, a pass for each colour: a character says which of six pixels have it."""
    bits = 1 << np.arange(len(numbers))[:, None]  # [lines, 1]
    passes = []
    for number in np.unique(numbers[solid]).tolist():
        columns = (((numbers == number) & solid) * bits).sum(axis=0)  # [width]
        passes.append(f"#{number}{_run_lengths(columns)}")
    return "$".join(passes) + "-"  # $ back to the left, - down to the next band


def _run_lengths(columns: np.ndarray[Any, Any]) -> str:
    """Characters of one pass, those that repeat counted."""
    begins = np.flatnonzero(np.diff(columns, prepend=-1))
    lengths = np.diff(begins, append=len(columns))
    runs = [
        (chr(63 + value), length) for value, length in zip(columns[begins], lengths.tolist(), strict=True)
    ]
    return "".join(f"!{length}{mark}" if length > 3 else mark * length for mark, length in runs)


def _png(picture: Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


CODES = {"kitty": kitty, "iterm": iterm, "sixel": sixel}
