from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from st_llm_cli.shapes import rich, world
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.render import render_frames, sample_times
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.world import EVAL_SEEDS
from st_llm_cli.stages.familiar import looks_like_shapes
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.video.stripe import videos_folder

ENCODINGS = (
    Encoding(320, 240, 12, "h264", ".mp4", antialias=False),
    Encoding(240, 320, 15, "mpeg4", ".avi"),
    Encoding(480, 360, 12, "vp9", ".webm"),
    Encoding(160, 120, 25, "mpeg4", ".mp4"),
)


def briefest(scenes: list[Scene], count: int) -> list[Scene]:
    return sorted(scenes, key=lambda scene: scene.duration_seconds)[:count]


def plain_scenes() -> list[Scene]:
    return briefest([world.make_scene(seed) for seed in EVAL_SEEDS[:40]], 8)


def rich_scenes() -> list[Scene]:
    scenes = [rich.make_scene(seed) for seed in EVAL_SEEDS[:400]]
    noisy = [scene for scene in scenes if scene.noise >= 6]
    wandering = [scene for scene in scenes if any(scene.backdrops[0].drift)]
    swaying = [scene for scene in scenes if any(scene.sway)]
    changing = [scene for scene in scenes if scene.story in ("places", "views", "visits")]
    return [each for own in (noisy, wandering, swaying, changing) for each in briefest(own, 4)]


@pytest.mark.parametrize("scenes", [plain_scenes, rich_scenes])
def test_files_of_both_worlds_look_like_shapes(scenes: object, tmp_path: Path) -> None:
    assert callable(scenes)
    for number, scene in enumerate(scenes()):
        encoding = ENCODINGS[number % len(ENCODINGS)]
        path = tmp_path / f"{number}{encoding.suffix}"
        write_video(scene, path, encoding)
        for transform in (ResizeCenterCrop(48), None):
            clip = read_clip(path, num_frames=8, transform=transform)
            assert looks_like_shapes(clip.frames), (scene.seed, encoding, transform)


def test_noise_hides_no_object() -> None:
    """A single small star before a backdrop of the strongest noise: noise must not count as objects."""
    scene = rich.make_scene(1_000_000_264)
    times = sample_times(scene.duration_seconds, 8)
    assert scene.noise > 7.5 and len(scene.objects) == 1
    assert looks_like_shapes(render_frames(scene, times, 48, 48))


@pytest.mark.parametrize("num_frames", [1, 4, 16])
def test_few_or_many_frames_are_enough(num_frames: int) -> None:
    seen = []
    for seed in EVAL_SEEDS[:60]:
        scene = rich.make_scene(seed)
        times = sample_times(scene.duration_seconds, num_frames)
        seen.append(looks_like_shapes(render_frames(scene, times, 48, 48, antialias=seed % 2 == 0)))
    # In a single frame everything may be away.
    assert sum(seen) >= 0.9 * len(seen)


def plain(*color: int) -> np.ndarray:
    return np.full((8, 48, 48, 3), color, np.uint8)


def written(background: int, ink: int) -> np.ndarray:
    frames = plain(*[background] * 3)
    frames[:, 10:14, 5:40] = ink
    return frames


def lights(frames: np.ndarray, brightest: int) -> np.ndarray:
    """Warm lights with soft edges, none of them evenly bright."""
    y, x = np.mgrid[:48, :48]
    found = frames.astype(float)
    for row, column in ((8, 10), (30, 36), (20, 25)):
        glow = brightest * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 12)
        found += glow[..., None] * np.array((1.0, 0.8, 0.5))
    return found.clip(0, 255).astype(np.uint8)


def gradient(brightest: int) -> np.ndarray:
    row = np.linspace(0, brightest, 48)[None, None, :, None]
    return np.broadcast_to(row, (8, 48, 48, 3)).astype(np.uint8)


def spots(frames: np.ndarray, outline: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """White spots; the outline says how bright each is at so many pixels from its middle."""
    y, x = np.mgrid[:48, :48]
    found = frames.astype(float)
    for row, column in ((10, 12), (34, 30)):
        share = outline(np.hypot(x - column, y - row))[..., None].clip(0, 1)
        found += share * (255 - found)
    return found.astype(np.uint8)


def glare(far: np.ndarray) -> np.ndarray:
    return np.asarray(1.6 * np.exp(-((far / 6) ** 2)))


def ring(far: np.ndarray) -> np.ndarray:
    return np.asarray(1.5 - np.abs(far - 6))


def soft_ring(far: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-(((far - 7) / 2) ** 2)))


NOISE = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 3), dtype=np.uint8)
ODD_FRAMES = {
    "reddish pictures": np.concatenate([plain(180 + number, 60, 50)[:1] for number in range(12)]),
    "nothing on dark grey": plain(32, 32, 32),
    "dark writing on white": written(245, 20),
    "grey writing on black": written(12, 150),
    "green screen": np.where(written(0, 255) == 0, plain(0, 200, 30), plain(240, 240, 240)),
    "noise": NOISE,
    "dark noise": NOISE // 4,
    "a night with lights": lights(NOISE // 8, 200),
    "glare on black": spots(plain(0, 0, 0), glare),
    "glare on a dark gradient": spots(gradient(40), glare),
    "rings on black": spots(plain(0, 0, 0), ring),
    "rings on a dark gradient": spots(gradient(40), ring),
    "soft rings on black": spots(plain(0, 0, 0), soft_ring),
    "from black to grey": gradient(90),
    "from black to white": gradient(255),
    "a film of two greys": np.where(written(0, 1) == 1, plain(90, 90, 90), plain(12, 12, 12)),
}


@pytest.mark.parametrize("case", ODD_FRAMES)
def test_other_plain_pictures_do_not_look_like_shapes(case: str) -> None:
    assert not looks_like_shapes(ODD_FRAMES[case])


def test_real_footage_does_not_look_like_shapes() -> None:
    folder = videos_folder()
    videos = [
        *folder.glob("real/*.mp4"),
        folder / "bframes_neg.mp4",
        folder / "gray.mp4",
        folder / "rot90.mp4",
    ]
    for path in videos:
        clip = read_clip(path, num_frames=8, transform=ResizeCenterCrop(64))
        for share in (1.0, 0.6, 0.4, 0.3, 0.2):  # as it is, and ever darker
            assert not looks_like_shapes((clip.frames * share).astype(np.uint8)), (path.name, share)
