import numpy as np
import pytest
from PIL import Image

from st_llm_cli.cli.picture_codes import CODES, iterm, kitty, sixel
from tests.cli.drawn import Pixels, iterm_pictures, kitty_pictures, sixel_pictures


def picture(width: int, height: int) -> Pixels:
    """A red, a green and a blue stripe on noise, and nothing at all in the last columns."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    for place in range(3):
        pixels[:, place * 3 : place * 3 + 2] = 0
        pixels[:, place * 3 : place * 3 + 2, place] = 255
    pixels[..., 3] = 255
    pixels[:, -4:] = 0
    return pixels


def test_kitty_gets_the_picture_and_the_place_it_covers() -> None:
    wanted = picture(200, 61)  # more than one chunk
    written = kitty(Image.fromarray(wanted), 20, 3)
    ((keys, pixels),) = kitty_pictures(written)
    assert (keys["c"], keys["r"], keys["q"]) == ("20", "3", "2")
    assert (pixels == wanted).all()
    assert written.count("\x1b_G") > 1


def test_iterm_gets_the_picture_and_the_place_it_covers() -> None:
    wanted = picture(40, 61)
    ((keys, pixels),) = iterm_pictures(iterm(Image.fromarray(wanted), 20, 3))
    assert (keys["width"], keys["height"], keys["preserveAspectRatio"]) == ("20", "3", "0")
    assert (pixels == wanted).all()


@pytest.mark.parametrize("height", [1, 5, 6, 7, 61])
def test_sixels_show_the_picture(height: int) -> None:
    wanted = picture(40, height)
    (pixels,) = sixel_pictures(sixel(Image.fromarray(wanted), 4, 3))
    assert (pixels[..., 3] == wanted[..., 3]).all(), "what is clear stays clear"
    assert (pixels[:, 0] == (255, 0, 0, 255)).all()
    assert (pixels[:, 3] == (0, 255, 0, 255)).all()
    assert (pixels[:, 6] == (0, 0, 255, 255)).all()


def test_sixels_keep_colours_as_far_as_there_are_registers() -> None:
    steps = np.linspace(0, 255, 100).astype(np.uint8)
    wanted = np.full((12, 100, 4), 255, np.uint8)
    wanted[..., :3] = steps[None, :, None]
    (pixels,) = sixel_pictures(sixel(Image.fromarray(wanted), 4, 3))
    difference = np.abs(pixels.astype(int) - wanted.astype(int))
    assert difference.max() <= 3, "hundredths of 255, and two greys in one register"


def test_sixels_count_what_repeats() -> None:
    plain = Image.new("RGBA", (400, 300), "red")
    assert len(sixel(plain, 40, 15)) < 1000


@pytest.mark.parametrize("code", CODES.values())
def test_the_cursor_ends_below(code) -> None:  # type: ignore[no-untyped-def]
    assert code(Image.new("RGBA", (20, 20)), 2, 1).endswith("\n")
