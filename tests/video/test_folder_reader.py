from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from st_llm_cli.errors import DamagedVideoError, NotAVideoError, VideoError
from st_llm_cli.video.folder_reader import numbered_pictures
from st_llm_cli.video.reader import read_clip


def write_grey(path: Path, level: int, size: tuple[int, int] = (8, 6)) -> None:
    Image.new("RGB", size, (level, level, level)).save(path)


def levels(path: Path, **wishes: int | float | str) -> list[int]:
    clip = read_clip(path, **wishes)  # type: ignore[arg-type]
    return [int(frame[0, 0, 0]) for frame in clip.frames]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """12 pictures named 1.png … 12.png, as bright as ten times their number, and other files."""
    for number in range(1, 13):
        write_grey(tmp_path / f"{number}.png", 10 * number)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "._1.png").write_bytes(b"what macOS leaves behind")
    (tmp_path / "masks").mkdir()
    return tmp_path


def test_pictures_come_in_the_order_of_their_numbers(frames: Path) -> None:
    assert levels(frames, num_frames=12) == [10 * number for number in range(1, 13)]


def test_a_folder_says_what_it_is(frames: Path) -> None:
    clip = read_clip(frames, num_frames=4)
    assert clip.source.reader == "folder"
    assert (clip.source.width, clip.source.height) == (8, 6)
    assert clip.source.delivered_frames == 12
    assert clip.source.fps == 3.0
    assert clip.source.duration_seconds == pytest.approx(4.0)
    assert clip.indices == (1, 4, 7, 10)
    assert clip.times_seconds == pytest.approx((1 / 3, 4 / 3, 7 / 3, 10 / 3))


def test_seconds_count_at_the_rate_given(frames: Path) -> None:
    assert levels(frames, num_frames=2, folder_fps=2.0, start=2.0, end=3.0) == [50, 60]


def test_jpg_files_with_leading_zeros_and_gaps(tmp_path: Path) -> None:
    for number in (1, 2, 5, 10, 100):
        Image.new("RGB", (8, 8), (number, number, number)).save(
            tmp_path / f"frame_{number:05}.JPG", quality=100
        )
    assert levels(tmp_path, num_frames=5) == [1, 2, 5, 10, 100]


def test_numbers_count_as_numbers_wherever_they_stand(tmp_path: Path) -> None:
    names = ["a2_9.png", "a2_10.png", "a10_1.png", "b1.png"]
    for name in reversed(names):
        write_grey(tmp_path / name, 1)
    assert [path.name for path in numbered_pictures(tmp_path)] == names


def test_pictures_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    write_grey(tmp_path / "1.png", 50, size=(8, 6))
    write_grey(tmp_path / "2.png", 60, size=(16, 10))
    assert read_clip(tmp_path, num_frames=2).frames.shape == (2, 6, 8, 3)


def test_grey_and_transparent_pictures_become_colour(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 9).save(tmp_path / "1.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 255)).save(tmp_path / "2.png")
    clip = read_clip(tmp_path, num_frames=2)
    assert clip.frames[:, 0, 0].tolist() == [[9, 9, 9], [1, 2, 3]]


def test_a_picture_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # quarter turn clockwise to be upright
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(tmp_path / "1.jpg", exif=exif)
    assert read_clip(tmp_path, num_frames=1).frames.shape == (1, 8, 6, 3)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(NotAVideoError) as caught:
        read_clip(tmp_path)
    fix = "give a video file, or a folder of numbered jpg or png files"
    assert str(caught.value) == f"{tmp_path}: is a folder without pictures ({fix})"


@pytest.mark.parametrize(
    ("first", "second"),
    [("000.jpg", "000.png"), ("01.png", "1.png"), ("a1.PNG", "a1.png"), ("cat.jpg", "cat.png")],
)
def test_a_folder_with_two_pictures_of_one_name_or_number_is_an_error(
    first: str, second: str, tmp_path: Path
) -> None:
    for name in (first, second, "2.png"):
        write_grey(tmp_path / name, 1)
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system knows one name in either case")
    with pytest.raises(
        NotAVideoError, match=f"two pictures of one name or number, {first} and {second}"
    ) as caught:
        read_clip(tmp_path)
    assert caught.value.where == str(tmp_path)


def test_a_folder_may_mix_kinds_of_pictures(tmp_path: Path) -> None:
    for name in ("000.jpg", "001.png", "002.jpg"):
        write_grey(tmp_path / name, 1)
    assert [path.name for path in numbered_pictures(tmp_path)] == ["000.jpg", "001.png", "002.jpg"]


def test_a_damaged_picture_is_named(frames: Path) -> None:
    broken = frames / "6.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DamagedVideoError, match="cannot be read as a picture") as caught:
        read_clip(frames, num_frames=12)
    assert caught.value.where == str(broken)


def test_a_damaged_picture_that_is_not_chosen_does_no_harm(frames: Path) -> None:
    (frames / "1.png").write_bytes(b"")
    assert levels(frames, num_frames=2) == [40, 100]


def test_a_picture_whose_header_is_cut_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x05IHDR\x00\x00\x00\x08\x00" + b"\x00" * 4)
    with pytest.raises(DamagedVideoError, match="cannot be read as a picture"):
        read_clip(path, num_frames=1)


def test_grey_levels_of_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    for number, level in enumerate((0, 20_000, 40_000)):
        Image.fromarray(np.full((6, 8), level, np.uint16)).save(tmp_path / f"{number}.png")
    assert levels(tmp_path, num_frames=3) == [0, 78, 156]


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_an_animated_picture_is_not_taken_for_one_that_stands_still(tmp_path: Path, suffix: str) -> None:
    first, *rest = [Image.new("RGB", (8, 6), (level, 0, 0)) for level in (0, 90, 180)]
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=rest)
    with pytest.raises(NotAVideoError, match="animated picture of 3 frames"):
        read_clip(tmp_path / f"a.{suffix}", num_frames=2)


def test_a_start_after_the_last_picture_is_an_error(frames: Path) -> None:
    with pytest.raises(VideoError, match=r"ends after 4\.0 s, the clip was to start at 5\.0 s"):
        read_clip(frames, start=5.0)
