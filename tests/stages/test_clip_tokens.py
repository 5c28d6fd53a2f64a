import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import CacheError, NotAVideoError, VideoNotFoundError
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.stages import clip_tokens
from st_llm_cli.stages.clip_tokens import SeenClip, default_level, why_not_sound
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens import media
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import RandomResizedCrop, ResizeCenterCrop
from tests.micro import write_micro_checkpoint

QUESTION = "What does the red circle do first?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"), trained_on="shapes")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    where = tmp_path_factory.mktemp("clips")
    paths = [where / f"{seed}.mp4" for seed in range(3)]
    for seed, path in enumerate(paths):
        write_video(make_scene(seed), path, Encoding(64, 48, 10))
    return paths


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenCache:
    monkeypatch.setattr(media, "SETTLED_SECONDS", 0.0)
    return TokenCache(tmp_path / "cache")


def opened(folder: Path, cache: TokenCache) -> VideoModel:
    return load_model(str(folder), cache=TokenCache(cache.root))


def requests(videos: list[Path]) -> list[Request]:
    return [Request(path, num_frames=4, transform=ResizeCenterCrop(28)) for path in videos]


def looks(model: VideoModel, wanted: list[Request]) -> list[object]:
    return [look for _, look in model.read_clips(wanted)]


@pytest.fixture
def nothing_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(wanted: Iterator[Request], **_: object) -> Iterator[tuple[Request, Clip]]:
        for request in wanted:
            raise AssertionError(f"{request.path} was opened")
        return iter(())

    monkeypatch.setattr(clip_tokens, "read_clips", read)


def use(model: VideoModel) -> tuple[int, int]:
    assert model.tokens is not None
    return model.tokens.cache.use.hits, model.tokens.cache.use.misses


def test_answer_from_the_cache_is_the_answer_from_the_video(
    folder: Path, cache: TokenCache, videos: list[Path]
) -> None:
    plain = load_model(str(folder))
    (request, *_) = requests(videos)
    expected = plain.answer(read_clip(request.path, num_frames=4), QUESTION, max_new_tokens=12)
    for _ in ("made", "recalled"):
        (look,) = looks(opened(folder, cache), [request])
        assert plain.answer(look, QUESTION, max_new_tokens=12) == expected


def test_clip_seen_before_is_not_opened(
    folder: Path, cache: TokenCache, videos: list[Path], request: pytest.FixtureRequest
) -> None:
    first = looks(opened(folder, cache), requests(videos))
    request.getfixturevalue("nothing_decodes")
    model = opened(folder, cache)
    for was, now in zip(first, looks(model, requests(videos)), strict=True):
        assert isinstance(was, SeenClip) and isinstance(now, SeenClip)
        assert torch.equal(was.tokens, now.tokens)
        assert (was.indices, was.times_seconds, was.source) == (now.indices, now.times_seconds, now.source)
    assert use(model) == (3, 0)


def test_clips_come_in_the_order_of_the_requests(folder: Path, cache: TokenCache, videos: list[Path]) -> None:
    looks(opened(folder, cache), requests(videos)[1:2])
    model = opened(folder, cache)
    order = [request.path for request, _ in model.read_clips(requests([*videos, videos[1], videos[0]]))]
    assert order == [*videos, videos[1], videos[0]]
    assert use(model)[0] >= 2


def test_copies_share_an_entry(folder: Path, cache: TokenCache, videos: list[Path], tmp_path: Path) -> None:
    looks(opened(folder, cache), requests(videos[:1]))
    copy = Path(shutil.copy(videos[0], tmp_path / "copy.mp4"))
    (look,) = looks(opened(folder, cache), requests([copy]))
    assert isinstance(look, SeenClip)
    assert look.source.path == str(copy)
    assert len(list(cache.entries.rglob("*.safetensors"))) == 1


def test_requests_that_mean_the_same_frames_share_an_entry(
    folder: Path, cache: TokenCache, videos: list[Path]
) -> None:
    (request, *_) = requests(videos)
    looks(opened(folder, cache), [request, replace(request, start=0.0), replace(request, end=1e6)])
    assert len(list(cache.entries.rglob("*.safetensors"))) == 1


def test_other_frames_are_another_entry(folder: Path, cache: TokenCache, videos: list[Path]) -> None:
    (request, *_) = requests(videos)
    model = opened(folder, cache)
    looks(model, [request, replace(request, num_frames=3), replace(request, start=0.5)])
    assert len(list(cache.entries.rglob("*.safetensors"))) == 3


def test_video_changed_in_place_is_looked_at_again(
    folder: Path, cache: TokenCache, videos: list[Path], tmp_path: Path
) -> None:
    path = Path(shutil.copy(videos[0], tmp_path / "a.mp4"))
    (before,) = looks(opened(folder, cache), requests([path]))
    time.sleep(0.02)
    path.write_bytes(videos[1].read_bytes())
    (after,) = looks(opened(folder, cache), requests([path]))
    assert isinstance(before, SeenClip) and isinstance(after, SeenClip)
    assert not torch.equal(before.tokens, after.tokens)


def test_video_changed_while_it_is_read_is_not_kept(
    folder: Path, cache: TokenCache, videos: list[Path], tmp_path: Path
) -> None:
    path = Path(shutil.copy(videos[0], tmp_path / "a.mp4"))
    model = opened(folder, cache)
    assert model.tokens is not None
    asked = model.tokens.ask(*requests([path]))
    (seen,) = model.tokens.encode([read_clip(path, num_frames=4, transform=model.transform)])
    time.sleep(0.02)
    path.write_bytes(videos[1].read_bytes())
    model.tokens.keep(asked, seen, 1.0)
    assert not cache.entries.exists()


def test_other_weights_are_another_encoder(cache: TokenCache, videos: list[Path], tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = write_micro_checkpoint(tmp_path / f"m{seed}", seed=seed)
        model = opened(folder, cache)
        looks(model, requests(videos[:1]))
        assert use(model)[0] == 0
    assert len(list(cache.entries.rglob("*.safetensors"))) == 2


def test_weights_replaced_in_their_folder_are_another_encoder(
    cache: TokenCache, videos: list[Path], tmp_path: Path
) -> None:
    for seed in (1, 2):
        looks(opened(write_micro_checkpoint(tmp_path / "m", seed=seed), cache), requests(videos[:1]))
        time.sleep(0.02)
    assert len(list(cache.entries.rglob("*.safetensors"))) == 2


def test_other_language_model_shares_the_tokens(
    cache: TokenCache, videos: list[Path], tmp_path: Path
) -> None:
    folder = write_micro_checkpoint(tmp_path / "m")
    looks(opened(folder, cache), requests(videos[:1]))
    model = load_model(str(folder))
    with torch.no_grad():
        for parameter in model.model.language_model.parameters():
            parameter.add_(1.0)
    model.model.save_pretrained(tmp_path / "trained")
    model.tokenizers.language.save_pretrained(tmp_path / "trained")
    again = opened(tmp_path / "trained", cache)
    looks(again, requests(videos[:1]))
    assert use(again) == (1, 0)


def test_encoder_is_digested_once_for_a_checkpoint(
    folder: Path, cache: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from st_llm_cli.stages import encoder_of

    opened(folder, cache)
    monkeypatch.setattr(encoder_of, "encoder_identity", None)
    opened(folder, cache)  # calling None would fail


def test_damaged_entry_is_made_again(folder: Path, cache: TokenCache, videos: list[Path]) -> None:
    (before,) = looks(opened(folder, cache), requests(videos[:1]))
    (path,) = cache.entries.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    (after,) = looks(opened(folder, cache), requests(videos[:1]))
    assert isinstance(before, SeenClip) and isinstance(after, SeenClip)
    assert torch.equal(before.tokens, after.tokens)
    assert path.exists()


def test_errors_stand_for_their_clips(
    folder: Path, cache: TokenCache, videos: list[Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    found = looks(opened(folder, cache), requests([tmp_path / "missing.mp4", videos[0], text]))
    assert [type(look) for look in found] == [VideoNotFoundError, SeenClip, NotAVideoError]


def test_cache_that_cannot_be_written_is_reported_once(
    folder: Path,
    cache: TokenCache,
    videos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(self: TokenCache, *_: object) -> None:
        raise CacheError("no space left to write tokens")

    monkeypatch.setattr(TokenCache, "put", refuse)
    with caplog.at_level(logging.WARNING):
        found = looks(opened(folder, cache), requests(videos))
    assert all(isinstance(look, SeenClip) for look in found)
    assert caplog.text.count("no space left to write tokens; no more tokens are kept") == 1


def test_batches_across_clips_give_the_tokens_of_each(
    folder: Path, cache: TokenCache, videos: list[Path]
) -> None:
    model = opened(folder, cache)
    assert model.tokens is not None
    clips = [
        read_clip(path, num_frames=count, transform=model.transform)
        for path, count in zip(videos, (4, 2, 5), strict=True)
    ]
    together = model.tokens.encode(clips, batch_frames=4)
    for clip, seen in zip(clips, together, strict=True):
        (alone,) = model.tokens.encode([clip])
        assert seen.tokens.shape == alone.tokens.shape
        assert torch.allclose(seen.tokens, alone.tokens, atol=1e-5)


def test_doubt_about_real_footage_survives_the_cache(
    folder: Path, cache: TokenCache, videos: list[Path]
) -> None:
    real = Path(__file__).resolve().parents[1] / "data" / "videos" / "bframes_neg.mp4"
    for _ in ("made", "recalled"):
        model = opened(folder, cache)
        shapes, footage = looks(model, requests([videos[0], real]))
        assert model.caveat(shapes) is None
        assert "moving shapes only" in (model.caveat(footage) or "")


def test_only_a_q_former_that_reads_questions_keeps_features(folder: Path) -> None:
    config = load_model(str(folder)).model.config
    assert default_level(config) == "queries"


@pytest.mark.parametrize(
    ("transform", "trained", "reason"),
    [
        (ResizeCenterCrop(28), (), None),
        (ResizeCenterCrop(28), ("projection", "language"), None),
        (RandomResizedCrop(28, seed=0), (), "random crops show each clip differently every time"),
        (None, (), "what is done to the pictures has no name"),
        (ResizeCenterCrop(28), ("vision",), "the vision is being trained"),
        (ResizeCenterCrop(28), ("qformer",), "the qformer is being trained"),
    ],
)
def test_unsound_uses_say_why(
    folder: Path, transform: object, trained: tuple[str, ...], reason: str | None
) -> None:
    config = load_model(str(folder)).model.config
    said = why_not_sound(config, transform, trained)  # type: ignore[arg-type]
    assert said is None if reason is None else reason in (said or "")


def test_bt_adapter_in_training_is_unsound_and_sound_without(tmp_path: Path) -> None:
    folder = write_micro_checkpoint(tmp_path / "m", bt_adapter_depth=1, bt_adapter_positions=8)
    config = load_model(str(folder)).model.config
    assert why_not_sound(config, ResizeCenterCrop(28)) is None
    assert "the BT-Adapter is being trained" in (
        why_not_sound(config, ResizeCenterCrop(28), ("bt_adapter",)) or ""
    )


def test_bt_adapter_tokens_belong_to_the_whole_clip(
    cache: TokenCache, videos: list[Path], tmp_path: Path
) -> None:
    folder = write_micro_checkpoint(tmp_path / "m", bt_adapter_depth=1, bt_adapter_positions=8)
    plain = load_model(str(folder))
    expected = plain.answer(read_clip(videos[0], num_frames=4), QUESTION, max_new_tokens=8)
    for _ in ("made", "recalled"):
        (look,) = looks(opened(folder, cache), requests(videos[:1]))
        assert isinstance(look, SeenClip)
        assert plain.answer(look, QUESTION, max_new_tokens=8) == expected
