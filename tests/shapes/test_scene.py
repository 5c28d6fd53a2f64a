"""What objects look like while they act, seen from their states."""

import numpy as np
import pytest

from st_llm_cli.shapes.scene import COLORS, RHYTHM, Backdrop, MovingShape, Scene, Segment, in_rhythm


def acting(movement: str, **more: object) -> MovingShape:
    """A red circle in the middle that does one thing from second 2 to second 4 of 6."""
    rest = (Segment(0, 2, "still", 0.0), Segment(4, 6, "still", 0.0))
    act = Segment(2, 4, movement, **{"distance": 0.2, **more})  # type: ignore[arg-type]
    return MovingShape("red", "circle", (225, 38, 40), 0.1, (0.5, 0.5), (rest[0], act, rest[1]))


@pytest.mark.parametrize(
    ("movement", "way"),
    [
        ("left and back", (-1, 0)),
        ("right and back", (1, 0)),
        ("up and back", (0, -1)),
        ("down and back", (0, 1)),
    ],
)
def test_who_moves_away_comes_back(movement: str, way: tuple[int, int]) -> None:
    centers = acting(movement).centers([1.0, 2.5, 3.0, 3.5, 5.0])
    away = np.array([0.5, 0.5]) + 0.2 * np.array(way)
    assert centers == pytest.approx(np.array([[0.5, 0.5], away, away, away, [0.5, 0.5]]))


def test_sizes_change_and_change_back() -> None:
    assert acting("grow").states([1.0, 3.0, 5.0]).radii == pytest.approx([0.1, 0.15, 0.1])
    assert acting("shrink").states([1.0, 3.0, 5.0]).radii == pytest.approx([0.1, 0.06, 0.1])


def test_who_blinks_is_back_before_who_vanishes() -> None:
    moments = [1.0, 2.5, 3.5, 5.0]
    assert acting("blink").states(moments).shown.tolist() == [True, False, True, True]
    assert acting("vanish").states(moments).shown.tolist() == [True, False, False, True]
    assert acting("away").states([1.99, 2.0, 3.99, 4.0]).shown.tolist() == [True, False, False, True]


def test_another_colour_is_worn_for_a_while_and_varied_like_the_own() -> None:
    item = acting("turn", color="blue")
    assert item.states([1.0, 3.0, 5.0]).colors == ("red", "blue", "red")
    assert item.paint("red") == (225, 38, 40)
    red, green, blue = COLORS["blue"]
    assert item.paint("blue") == (red + 5, green - 2, blue)


def test_who_swaps_stays_where_it_went() -> None:
    item = acting("swap", toward=(0.3, 0.0), arc=0.1)
    assert item.centers([0.0, 3.0, 6.0]) == pytest.approx(np.array([[0.5, 0.5], [0.65, 0.4], [0.8, 0.5]]))


def test_who_bumps_goes_there_and_comes_back() -> None:
    assert acting("bump", toward=(0.1, -0.2)).centers([3.0, 5.0]) == pytest.approx(
        np.array([[0.6, 0.3], [0.5, 0.5]])
    )


def test_the_view_swings_once_in_every_part() -> None:
    scene = Scene(0, 8.0, (0, 0, 0), (), parts=4, sway=(0.1, 0.0))
    assert scene.view_shift([0.5, 2.5, 6.5])[:, 0] == pytest.approx([0.1, 0.1, 0.1])
    assert scene.view_shift([1.5, 7.5])[:, 0] == pytest.approx([-0.1, -0.1])


@pytest.mark.parametrize("fps", [8, 12, 25, 60])
def test_in_rhythm_all_parts_have_equally_many_frames(fps: int) -> None:
    backdrops = (
        Backdrop(0.0, "plain", ((0, 0, 0), (0, 0, 0)), 0.5),
        Backdrop(3.0, "dots", ((0, 0, 0),) * 2, 0.5),
    )
    scene = Scene(0, 6.01, (0, 0, 0), (acting("grow"),), parts=4, backdrops=backdrops)
    fitted = in_rhythm(scene, fps)
    assert round(fitted.duration_seconds * fps, 6) % RHYTHM == 0
    factor = fitted.duration_seconds / 6.01
    assert abs(factor - 1) <= RHYTHM / 2 / fps / 6.01
    assert fitted.objects[0].segments[1].start_seconds == pytest.approx(2 * factor)
    assert fitted.backdrops[1].start_seconds == pytest.approx(3 * factor)
