from __future__ import annotations

from pathlib import Path
from random import Random

import av
import pytest

from st_llm_cli.errors import UsageError
from st_llm_cli.shapes import rich
from st_llm_cli.shapes.encode import CODECS, CONTAINERS, FORMATS, SIZES, Encoding, draw_encoding, write_video
from st_llm_cli.shapes.scene import in_rhythm
from st_llm_cli.shapes.world import make_scene


@pytest.mark.parametrize(("codec", "suffix"), FORMATS)
def test_files_are_what_was_asked_for(tmp_path: Path, codec: str, suffix: str) -> None:
    scene = make_scene(2)
    path = tmp_path / f"clip{suffix}"
    write_video(scene, path, Encoding(160, 120, 12, codec, suffix))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (160, 120)
        assert codec in stream.codec_context.name
        assert stream.average_rate == 12
        assert sum(1 for _ in container.decode(stream)) == round(scene.duration_seconds * 12)


@pytest.mark.parametrize(("codec", "suffix"), FORMATS)
def test_the_same_scene_gives_the_same_bytes(tmp_path: Path, codec: str, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in ("one", "other")]
    for path in paths:
        write_video(make_scene(4), path, Encoding(192, 192, 10, codec, suffix))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("codec", "suffix"), FORMATS)
def test_a_rich_clip_has_the_same_bytes_each_time(tmp_path: Path, codec: str, suffix: str) -> None:
    scene, encoding = rich.make_scene(10**9 + 97), Encoding(320, 240, 15, codec, suffix, antialias=False)
    path, written = tmp_path / f"clip{suffix}", set()
    for _ in range(4):
        write_video(in_rhythm(scene, encoding.fps), path, encoding)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_nothing_else_is_left_beside_the_file(tmp_path: Path) -> None:
    write_video(make_scene(0), tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("st_llm_cli.shapes.encode.render_frames", stop)
    with pytest.raises(KeyboardInterrupt):
        write_video(make_scene(0), path)
    assert [other.name for other in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"old"


def test_drawn_encodings_vary_and_can_be_written() -> None:
    drawn = [draw_encoding(Random(seed)) for seed in range(300)]
    assert {(item.codec, item.suffix) for item in drawn} == set(FORMATS)
    assert {(item.width, item.height) for item in drawn} == set(SIZES)
    assert {item.codec for item in drawn} == set(CODECS)
    assert {item.suffix for item in drawn} <= set(CONTAINERS)


@pytest.mark.parametrize(
    ("name", "encoding", "words"),
    [
        ("a.mp4", Encoding(codec="h265"), r"a.mp4: unknown codec 'h265' \(choose one of h264, mpeg4, vp9\)"),
        ("a.ogv", None, r"unknown container '.ogv' \(choose one of .mp4, "),
        ("a.avi", Encoding(), r"does not end in .mp4 \(write to a.mp4\)"),
        ("a.mp4", Encoding(161, 120), r"cannot write pictures of 161x120 pixels \(choose even sides"),
        ("a.mp4", Encoding(8, 8), "cannot write pictures of 8x8 pixels"),
        ("a.mp4", Encoding(fps=0), r"a frame rate of 0 \(choose 1 or more\)"),
    ],
)
def test_what_cannot_be_written_is_said(
    tmp_path: Path, name: str, encoding: Encoding | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        write_video(make_scene(0), tmp_path / name, encoding)
