"""Reads back what was drawn on a terminal: pictures in its output, as a terminal would understand them."""

import base64
import io
import re

import numpy as np
from PIL import Image

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def kitty_pictures(output: str) -> list[tuple[dict[str, str], Pixels]]:
    """Keys and pixels, [height, width, 4], of each picture."""
    found: list[tuple[dict[str, str], str]] = []
    going_on = False
    for head, data in re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", output):
        keys = dict(item.split("=") for item in head.split(","))
        assert len(data) <= 4096
        if going_on:
            found[-1] = found[-1][0], found[-1][1] + data
        else:
            assert keys["a"] == "T" and keys["f"] == "100"
            found.append((keys, data))
        going_on = keys["m"] == "1"
    assert not going_on
    return [(keys, _png(data)) for keys, data in found]


def iterm_pictures(output: str) -> list[tuple[dict[str, str], Pixels]]:
    """Keys and pixels, [height, width, 4], of each picture."""
    found = []
    for head, data in re.findall(r"\x1b\]1337;File=(.*?):(.*?)\x07", output):
        keys = dict(item.split("=") for item in head.split(";"))
        assert keys["inline"] == "1"
        assert int(keys["size"]) == len(base64.b64decode(data))
        found.append((keys, _png(data)))
    return found


def sixel_pictures(output: str) -> list[Pixels]:
    """Pixels, [height, width, 4], of each picture; transparent where nothing was drawn."""
    return [_sixel(body) for body in re.findall(r"\x1bP[\d;]*q(.*?)\x1b\\", output, re.DOTALL)]


def _png(data: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def _sixel(body: str) -> Pixels:
    size = re.match(r'"1;1;(\d+);(\d+)', body)
    assert size is not None
    width, height = int(size[1]), int(size[2])
    pixels = np.zeros((height, width, 4), np.uint8)
    palette: dict[int, tuple[int, ...]] = {}
    left, top, colour = 0, 0, 0
    for number, defined, count, mark, move in re.findall(
        r"#(\d+)((?:;\d+){4})?|(?:!(\d+))?([?-~])|([$-])", body[size.end() :]
    ):
        if number:
            colour = int(number)
            if defined:
                kind, *percent = map(int, defined[1:].split(";"))
                assert kind == 2
                palette[colour] = tuple(round(value * 2.55) for value in percent)
        elif mark:
            for line in range(6):
                if ord(mark) - 63 >> line & 1:
                    pixels[top + line, left : left + int(count or 1)] = (*palette[colour], 255)
            left += int(count or 1)
            assert left <= width
        else:
            left, top = 0, top + (6 if move == "-" else 0)
    return pixels
