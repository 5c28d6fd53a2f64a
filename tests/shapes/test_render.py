from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.render import (
    OUTLINES,
    Frames,
    frame_count,
    render_frame,
    render_frames,
    sample_frames,
    sample_times,
)
from st_llm_cli.shapes.scene import MOVEMENTS, SHAPES, MovingShape, Scene, Segment
from st_llm_cli.shapes.world import make_picture, make_scene
from st_llm_cli.video.sampling import uniform
from st_llm_cli.video.transform import ResizeCenterCrop


def centroid(frame: Frames, item: MovingShape) -> np.ndarray:
    """Centre (x, y) in pixels of what has exactly the object's colour."""
    rows, columns = np.nonzero((frame == item.rgb).all(axis=-1))
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def blurred_centroid(frame: np.ndarray, scene: Scene) -> np.ndarray:
    """Centre (x, y) in pixels of a scene's only object, from how far each pixel is from the background."""
    way = np.subtract(scene.objects[0].rgb, scene.background, dtype=float)
    share = np.clip((frame - scene.background) @ way / (way @ way), 0, 1)
    share[share < 0.2] = 0
    y, x = np.indices(share.shape) + 0.5
    return np.array([(x * share).sum(), (y * share).sum()]) / share.sum()


@pytest.mark.parametrize("seed", range(40))
def test_pixels_move_as_the_script_says(seed: int) -> None:
    scene = make_scene(seed)
    for item in scene.objects:
        for segment in item.segments:
            before, after = (
                centroid(render_frame(scene, seconds, 96, 96, antialias=False), item)
                for seconds in (segment.start_seconds, segment.end_seconds)
            )
            expected = np.array(MOVEMENTS[segment.movement]) * segment.distance * 96
            assert after - before == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize("seed", range(40))
def test_pixels_are_at_the_place_named(seed: int) -> None:
    scene = make_picture(seed)
    columns, rows = ["left", "center", "right"], ["top", "center", "bottom"]
    for item in scene.objects:
        x, y = centroid(render_frame(scene, 0.0, 90, 90, antialias=False), item)
        words = [rows[int(y // 30)], columns[int(x // 30)]]
        named = item.place(0.0).split()
        assert set(named) == (set(words) - {"center"} or {"center"})


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_of_the_documented_size(shape: str) -> None:
    still = (Segment(0.0, 1.0, "still", 0.0),)
    item = MovingShape("red", shape, (255, 0, 0), 0.12, (0.5, 0.5), still)
    scene = Scene(0, 1.0, (0, 0, 0), (item,))
    frame = render_frame(scene, 0.0, 500, 500, antialias=False)
    rows, columns = np.nonzero((frame == item.rgb).all(axis=-1))
    assert np.ptp(columns) + 1 == pytest.approx(120, abs=12)
    assert np.ptp(rows) + 1 == pytest.approx(120, abs=12)
    assert abs(columns.mean() - 250) < 1


def test_shapes_cover_clearly_different_areas_of_their_box() -> None:
    grid = np.linspace(-1.2, 1.2, 241)
    areas = {
        name: float((outline(grid[None, :], grid[:, None], 1.0) < 0).mean() * 2.4**2 / 4)
        for name, outline in OUTLINES.items()
    }
    assert areas["circle"] == pytest.approx(np.pi / 4, abs=0.01)
    assert areas["square"] == pytest.approx(0.92**2, abs=0.02)
    assert areas["triangle"] == pytest.approx(0.5, abs=0.01)
    assert areas["star"] < 0.42


def test_every_shape_has_an_outline() -> None:
    assert set(OUTLINES) == set(SHAPES)


def test_only_the_central_square_is_used() -> None:
    for seed in range(20):
        scene = make_scene(seed)
        wide = render_frame(scene, 1.0, 160, 90)
        tall = render_frame(scene, 1.0, 90, 160)
        square = render_frame(scene, 1.0, 90, 90)
        assert np.array_equal(wide[:, 35:125], square)
        assert np.array_equal(tall[35:125], square)
        assert (wide[:, :35] == scene.background).all()
        assert (tall[125:] == scene.background).all()


def test_without_antialiasing_there_are_no_mixtures() -> None:
    scene = make_scene(3, num_objects=2)
    frame = render_frame(scene, 1.0, 64, 64, antialias=False)
    paints = {scene.background, *(item.rgb for item in scene.objects)}
    assert {tuple(pixel) for pixel in frame.reshape(-1, 3).tolist()} == paints
    smooth = render_frame(scene, 1.0, 64, 64)
    assert len({tuple(pixel) for pixel in smooth.reshape(-1, 3).tolist()}) > 10


def test_one_frame_equals_the_same_frame_among_others() -> None:
    scene = make_scene(5)
    times = [0.3, 1.1, 1.9]
    frames = render_frames(scene, times, 64, 48)
    assert frames.shape == (3, 48, 64, 3)
    assert frames.dtype == np.uint8
    for frame, seconds in zip(frames, times, strict=True):
        assert np.array_equal(frame, render_frame(scene, seconds, 64, 48))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 40), (7, 5), (16, 16)])
def test_pictures_smaller_than_an_object_can_be_drawn(width: int, height: int) -> None:
    assert render_frame(make_scene(0), 0.5, width, height).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("duration", "fps", "num_frames"), [(2.0, 8, 8), (5.99, 30, 8), (2.03, 8, 32), (3.3, 25, 1)]
)
def test_times_are_those_of_the_default_sampler(duration: float, fps: int, num_frames: int) -> None:
    numbers = uniform(frame_count(duration, fps), num_frames)
    assert sample_times(duration, num_frames, fps) == [number / fps for number in numbers]


def test_times_without_a_rate_are_the_middles_of_equal_parts() -> None:
    assert sample_times(4.0, 4) == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(320, 240, 25),
        Encoding(240, 320, 15, "mpeg4", ".avi"),
        Encoding(640, 480, 8, "vp9", ".webm"),
        Encoding(160, 120, 30, "mpeg4", ".mp4"),
    ],
    ids=lambda encoding: f"{encoding.codec}-{encoding.width}x{encoding.height}",
)
@pytest.mark.parametrize("resolution", [48, 64])
def test_frames_drawn_in_memory_look_like_those_of_a_real_file(
    tmp_path: Path, encoding: Encoding, resolution: int
) -> None:
    for objects in (1, 2):
        scene = make_scene(11, num_objects=objects)
        path = tmp_path / f"clip{encoding.suffix}"
        write_video(scene, path, encoding)
        seen = decode(path, resolution)
        drawn = sample_frames(scene, 8, resolution, fps=encoding.fps).astype(float)
        assert np.abs(seen - drawn).mean() < 3.0
        if objects == 1:
            # The released crop of a picture 85 pixels wide is half a pixel off its middle.
            tolerance = 0.2 if resolution == 48 else 0.6
            for one, other in zip(seen, drawn, strict=True):
                assert blurred_centroid(one, scene) == pytest.approx(
                    blurred_centroid(other, scene), abs=tolerance
                )


def decode(path: Path, resolution: int) -> np.ndarray:
    """Eight frames of a file as a model sees them, float [8, resolution, resolution, 3]."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    crop = ResizeCenterCrop(resolution)
    return np.stack([crop(frames[number]) for number in uniform(len(frames), 8)]).astype(float)


def test_scenes_at_another_time_look_different() -> None:
    """Guards the comparison above: it must be able to fail."""
    scene = make_scene(11, num_objects=2)
    drawn = sample_frames(scene, 8, 48).astype(float)
    late = sample_frames(replace(scene, duration_seconds=scene.duration_seconds * 0.7), 8, 48).astype(float)
    assert np.abs(drawn - late).mean() > 3.0
