import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import CacheError, DataError, NotAVideoError, UsageError
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.stages import extract_features
from st_llm_cli.stages.clip_tokens import ClipTokens
from st_llm_cli.stages.extract_features import Outcome, Tally, Wish, extract, request_for
from st_llm_cli.stages.plan_features import check, plan
from st_llm_cli.stages.video_model import load_model
from st_llm_cli.tokens import media
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.micro import write_micro_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five clips and, between them, a file that is none."""
    where = tmp_path_factory.mktemp("clips")
    paths = [where / f"{seed}.mp4" for seed in range(6)]
    for seed, path in enumerate(paths):
        write_video(make_scene(seed), path, Encoding(64, 48, 10))
    paths[2].write_text("no video")
    return paths


@pytest.fixture
def tokens(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClipTokens:
    monkeypatch.setattr(media, "SETTLED_SECONDS", 0.0)
    return opened(folder, tmp_path / "cache")


def opened(folder: Path, root: Path) -> ClipTokens:
    tokens = load_model(str(folder), cache=TokenCache(root)).tokens
    assert tokens is not None
    return tokens


def wanted(videos: list[Path], wish: Wish = Wish()) -> list[Request]:  # noqa: B008
    return [request_for(video, wish, 4, ResizeCenterCrop(28)) for video in videos]


def run(tokens: ClipTokens, videos: list[Path], wish: Wish = Wish()) -> tuple[Tally, list[Outcome]]:  # noqa: B008
    outcomes: list[Outcome] = []
    return extract(tokens, wanted(videos, wish), wish, outcomes.append), outcomes


def entries(tokens: ClipTokens) -> list[Path]:
    return list(tokens.cache.entries.rglob("*.safetensors"))


def test_every_clip_is_kept_and_the_bad_one_named(tokens: ClipTokens, videos: list[Path]) -> None:
    tally, outcomes = run(tokens, videos)
    assert tally == Tally(encoded=5, present=0, skipped=1)
    assert sorted(outcome.video for outcome in outcomes) == videos
    (bad,) = [outcome for outcome in outcomes if outcome.error is not None]
    assert bad.video == videos[2]
    assert isinstance(bad.error, NotAVideoError)
    assert len(entries(tokens)) == 5


def test_what_is_kept_is_what_describing_would_make(
    tokens: ClipTokens, folder: Path, videos: list[Path], tmp_path: Path
) -> None:
    run(tokens, videos[:2])
    model = load_model(str(folder), cache=TokenCache(tokens.cache.root))
    looks = [look for _, look in model.read_clips(wanted(videos[:2]))]
    assert model.tokens is not None
    assert model.tokens.cache.use.hits == 2
    plain = load_model(str(folder), cache=TokenCache(tmp_path / "other"))
    for look, (_, fresh) in zip(looks, plain.read_clips(wanted(videos[:2])), strict=True):
        question = "What moves first?"
        assert model.answer(look, question, max_new_tokens=8) == plain.answer(
            fresh, question, max_new_tokens=8
        )


def test_second_run_repeats_nothing(tokens: ClipTokens, folder: Path, videos: list[Path]) -> None:
    run(tokens, videos[:2])
    again = opened(folder, tokens.cache.root)
    tally, _ = run(again, [*videos[:2], videos[3]])
    assert tally == Tally(encoded=1, present=2, skipped=0)
    assert again.cache.use.bytes_written == 4 * 3 * 32 * 4


@pytest.mark.parametrize("batch_frames", [1, 6, 1000])
def test_batches_of_any_size_give_the_same_number_of_entries(
    tokens: ClipTokens, videos: list[Path], batch_frames: int
) -> None:
    tally, _ = run(tokens, videos[3:], Wish(batch_frames=batch_frames))
    assert tally.encoded == len(entries(tokens)) == 3


def test_first_failure_can_end_the_run(tokens: ClipTokens, videos: list[Path]) -> None:
    with pytest.raises(NotAVideoError, match=r"2\.mp4"):
        run(tokens, videos, Wish(stop_at_error=True))


def test_too_many_failures_end_the_run(tokens: ClipTokens, videos: list[Path]) -> None:
    assert run(tokens, videos, Wish(max_failures=1))[0].skipped == 1
    with pytest.raises(DataError, match=r"1 clips failed, and at most 0 may .*--max-failures"):
        run(tokens, videos, Wish(max_failures=0))


def test_cache_that_cannot_be_written_ends_the_run(
    tokens: ClipTokens, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: TokenCache, *_: object) -> None:
        raise CacheError("no space left to write tokens")

    monkeypatch.setattr(TokenCache, "put", refuse)
    with pytest.raises(CacheError, match="no space left"):
        run(tokens, videos)


def test_clip_named_twice_is_encoded_once(tokens: ClipTokens, videos: list[Path]) -> None:
    assert len(entries(tokens)) == 0
    run(tokens, [videos[0], videos[0]])
    assert len(entries(tokens)) == 1


def test_more_frames_than_a_bt_adapter_knows_are_skipped(videos: list[Path], tmp_path: Path) -> None:
    folder = write_micro_checkpoint(tmp_path / "m", bt_adapter_depth=1, bt_adapter_positions=3)
    _, (outcome,) = run(opened(folder, tmp_path / "cache"), videos[:1])
    assert isinstance(outcome.error, UsageError)
    assert "4 frames are more than the model tells apart" in str(outcome.error)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """What a computer of two cores gives PyTorch."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_processor_encodes_as_many_batches_at_once_as_it_decodes_clips(
    tokens: ClipTokens, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)  # passed by two at a time only
    threads: list[int] = []
    encode = ClipTokens.encode

    def watched(self: ClipTokens, *arguments: object) -> object:
        together.wait(timeout=60)
        threads.append(torch.get_num_threads())
        return encode(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ClipTokens, "encode", watched)
    good = [videos[index] for index in (0, 1, 3, 4)]
    assert run(tokens, good, Wish(workers=2, batch_frames=4))[0].encoded == 4
    assert threads == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_batches_encoded_at_once_give_the_same_tokens_as_one_at_a_time(
    tokens: ClipTokens, folder: Path, videos: list[Path], tmp_path: Path
) -> None:
    run(tokens, videos, Wish(workers=2, batch_frames=4))
    alone = opened(folder, tmp_path / "alone")
    run(alone, videos, Wish(workers=1, batch_frames=4))
    for request in wanted(videos[3:]):
        kept, other = tokens.ask(request).known, alone.ask(request).known
        assert kept is not None and other is not None
        seen, expected = tokens.recall(kept), alone.recall(other)
        assert seen is not None and expected is not None
        assert torch.equal(seen.tokens, expected.tokens)


@pytest.mark.parametrize("batch_frames", [4, 8])
def test_reading_stays_a_few_clips_ahead_of_writing(
    tokens: ClipTokens, videos: list[Path], monkeypatch: pytest.MonkeyPatch, batch_frames: int
) -> None:
    under_way: list[int] = []
    written: list[object] = []
    read, keep = extract_features.read_clips, ClipTokens.keep

    def counted(requests: Iterator[Request], **options: object) -> Iterator[object]:
        def each() -> Iterator[Request]:
            for number, request in enumerate(requests, start=1):
                under_way.append(number - len(written))
                yield request

        return read(each(), **options)  # type: ignore[arg-type]

    def slow(self: ClipTokens, *arguments: object) -> None:
        time.sleep(0.1)
        keep(self, *arguments)  # type: ignore[arg-type]
        written.append(arguments)

    monkeypatch.setattr(extract_features, "read_clips", counted)
    monkeypatch.setattr(ClipTokens, "keep", slow)
    clips = [replace(request, seed=seed) for seed in range(8) for request in wanted(videos[3:])]
    extract(tokens, clips, Wish(workers=1, batch_frames=batch_frames), lambda outcome: None)
    clips_a_batch = batch_frames // 4
    assert len(under_way) == len(written) == 24
    # Two that are read, one handed over, those that wait for their batch to be full, and two batches.
    assert 4 <= max(under_way) <= 2 + 1 + clips_a_batch + 2 * clips_a_batch


def test_batches_are_filled_across_clips_and_never_overfull(
    tokens: ClipTokens, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    encode = ClipTokens._encode_batch

    def watched(self: ClipTokens, frames: torch.Tensor) -> torch.Tensor:
        passes.append(len(frames))
        return encode(self, frames)

    monkeypatch.setattr(ClipTokens, "_encode_batch", watched)
    good = [videos[index] for index in (0, 1, 3, 4, 5)]
    run(tokens, good, Wish(batch_frames=8))
    assert passes == [8, 8, 4]
    passes.clear()
    run(tokens, good, Wish(num_frames=3, batch_frames=8))
    assert passes == [6, 6, 3]
    passes.clear()
    run(tokens, videos[:1], Wish(num_frames=9, batch_frames=4))
    assert passes == [4, 4, 1]


def test_check_reads_and_keeps_nothing(videos: list[Path]) -> None:
    found = {outcome.video: outcome.error for outcome in check(wanted(videos), Wish())}
    assert set(found) == set(videos)
    assert [video for video, error in found.items() if error is not None] == [videos[2]]


def test_check_names_clips_with_damaged_parts() -> None:
    damaged = Path(__file__).resolve().parents[1] / "data" / "videos" / "corrupt_middle.mp4"
    (outcome,) = check(wanted([damaged]), Wish())
    assert outcome.error is not None
    assert "is damaged: " in outcome.error.what


def test_plan_counts_frames_bytes_and_operations(tokens: ClipTokens, videos: list[Path]) -> None:
    made = plan(tokens, wanted(videos), Wish())
    assert (made.clips, made.probed, made.unreadable) == (6, 6, 1)
    assert made.frames == 24
    assert made.bytes == 24 * 3 * 32 * 4  # frames, queries, dim, float32
    assert made.hours > 0
    # The vision tower alone: 1 layer, 5 tokens, width 32, hidden width 64, and the patches.
    layer = 2 * 5 * (4 * 32 * 32 + 2 * 32 * 64) + 4 * 5 * 5 * 32
    vision = 24 * (layer + 2 * 4 * 32 * 3 * 14 * 14)
    assert vision < made.flops < 2 * vision
    assert not entries(tokens)


def test_plan_of_twice_the_clips_is_twice_as_long(tokens: ClipTokens, videos: list[Path]) -> None:
    good = [video for video in videos if video != videos[2]]
    one, two = plan(tokens, wanted(good), Wish()), plan(tokens, wanted(good) * 2, Wish())
    assert (two.frames, two.bytes, two.flops) == (2 * one.frames, 2 * one.bytes, 2 * one.flops)


def test_plan_without_a_readable_clip_is_an_error(tokens: ClipTokens, videos: list[Path]) -> None:
    with pytest.raises(DataError, match="none of the clips tried out can be read"):
        plan(tokens, wanted([videos[2]]), Wish())


def test_rate_that_gives_more_frames_than_the_model_reads_skips_the_clip(
    tokens: ClipTokens, videos: list[Path]
) -> None:
    outcomes: list[Outcome] = []
    wish = Wish(fps=1e9)
    asked = [request_for(videos[0], wish, 4, ResizeCenterCrop(28), most_frames=6)]
    assert extract(tokens, asked, wish, outcomes.append) == Tally(skipped=1)
    what = f"{videos[0]} gives more than the 6 frames that this model reads"
    said = f"fps: {what} (lower it, or look at a shorter part of the video)"
    assert str(outcomes[0].error) == said


def test_number_of_frames_is_the_models_unless_wished_otherwise(videos: list[Path]) -> None:
    def frames(wish: Wish) -> tuple[int | None, float | None]:
        request = request_for(videos[0], wish, 4, None)
        return request.num_frames, request.fps

    assert frames(Wish()) == (4, None)
    assert frames(Wish(num_frames=7)) == (7, None)
    assert frames(Wish(fps=2.0)) == (None, 2.0)
    with pytest.raises(UsageError, match="both a number of frames"):
        frames(replace(Wish(), num_frames=7, fps=2.0))
