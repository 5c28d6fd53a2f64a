import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st_llm_cli.errors import DataError, StllmError
from st_llm_cli.recipe.sources import Video
from st_llm_cli.training.data import read_ahead
from st_llm_cli.training.data import stream as stream_module
from st_llm_cli.training.data.example import Example
from st_llm_cli.training.data.ledger import Ledger
from st_llm_cli.training.data.sources import clips_of, open_sources
from st_llm_cli.training.data.stream import ExampleStream
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.decode import decode
from st_llm_cli.video.request import Request
from tests.training.data.files import clip_entry, picture_entry, source, write_json, write_media
from tests.training.small import small_recipe
from tests.video.bad_transforms import SleepForever

VIDEO = Video(num_frames=3)
ISOLATED = read_ahead.read_clips


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode here, which spares starting processes; tests that need them ask for `isolated`."""

    def read_clips(requests: Iterable[Request], **_: Any) -> Iterator[tuple[Request, Clip | StllmError]]:
        for request in requests:
            try:
                yield request, decode(request)
            except StllmError as error:
                yield request, error

    for module in (read_ahead, stream_module):
        monkeypatch.setattr(module, "read_clips", read_clips)


@pytest.fixture
def isolated(in_this_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (read_ahead, stream_module):
        monkeypatch.setattr(module, "read_clips", ISOLATED)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("data") / "media", clips=6, pictures=3)


@pytest.fixture(scope="module")
def mixed(media: Path) -> Path:
    entries = [*(clip_entry(number, questions=3) for number in range(6)), *map(picture_entry, range(3))]
    return write_json(media.parent / "mixed.json", entries)


def stream(
    data: list[dict[str, Any]], video: Video = VIDEO, ledger: Path | None = None, **settings: Any
) -> ExampleStream:
    options = {"deadline": settings.pop("deadline")} if "deadline" in settings else {}
    stage = small_recipe({"data": data, "batch_size": 2, "steps": 12, **settings}).training[0]
    if ledger is not None:
        sources = open_sources(stage)
        options |= {"sources": sources, "ledger": Ledger(ledger, clips_of(sources), stage.max_failures)}
    return ExampleStream(stage, video, 16, **options)


def said(examples: Sequence[Example]) -> list[tuple[Any, ...]]:
    return [(example.tasks, example.mask_seed, example.frames.tobytes()) for example in examples]


def samples_of(samples: ExampleStream, size: int = 2) -> list[Example]:
    return list(chain(*batches(samples, size)))


def batches(samples: ExampleStream, size: int = 2) -> list[list[Example]]:
    found = [samples.__getitems__(range(at, at + size)) for at in range(0, len(samples), size)]
    samples.close()
    return found


def test_a_batch_holds_clips_or_pictures_and_both_come(mixed: Path, media: Path) -> None:
    seen = batches(stream([source(mixed, media)]))
    assert all(len({example.is_picture for example in batch}) == 1 for batch in seen)
    assert {batch[0].is_picture for batch in seen} == {True, False}
    for example in chain(*seen):
        assert example.frames is not None
        assert example.frames.shape == (1 if example.is_picture else 3, 16, 16, 3)
        assert example.frames.std() > 0


def test_sources_come_by_their_weights(mixed: Path, media: Path) -> None:
    data = [{**source(mixed, media), "weight": 1}, {"shapes": {"questions_per_clip": 2}, "weight": 3}]
    samples = stream(data, steps=200)
    rendered = sum(step.source.shapes is not None for step in samples._steps)
    assert 125 <= rendered <= 175


@pytest.mark.parametrize("number", [1, 2, 9])
def test_as_many_questions_are_drawn_of_an_entry_as_the_source_says(
    mixed: Path, media: Path, number: int
) -> None:
    place = {**source(mixed, media)["videochat2"], "questions_per_clip": number}
    shown = samples_of(stream([{"videochat2": place}], steps=40))
    drawn = [example.tasks for example in shown if not example.is_picture]
    there = 3  # questions in an entry
    assert all(len(tasks) == len(set(tasks)) == min(number, there) for tasks in drawn)
    assert len(set(drawn)) == {1: 3, 2: 6, 9: 6}[number]  # all there are, in any order


def test_samples_do_not_depend_on_what_was_read_before(mixed: Path, media: Path) -> None:
    video = Video(num_frames=3, crop="random", sampler="released_random")
    straight = said(samples_of(stream([source(mixed, media)], video)))
    resumed = stream([source(mixed, media)], video)
    assert said(resumed.__getitems__([14, 15])) == straight[14:16]
    assert said(resumed.__getitems__([6, 7])) == straight[6:8]
    resumed.close()


def test_processes_share_the_samples_of_one(
    mixed: Path, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = said(samples_of(stream([source(mixed, media)], batch_size=4, steps=4), 4))
    monkeypatch.setenv("WORLD_SIZE", "2")
    ranks = [stream([source(mixed, media)], batch_size=4, steps=4) for _ in range(2)]
    for at in range(0, 16, 4):
        halves = [
            rank.__getitems__([at + 2 * number, at + 2 * number + 1]) for number, rank in enumerate(ranks)
        ]
        assert said(list(chain(*halves))) == straight[at : at + 4]
    for rank in ranks:
        rank.close()


def test_the_next_batch_is_read_ahead(mixed: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    plain = read_ahead.read_clips

    def counted(*args: Any, **kwargs: Any) -> Any:
        opened.append(args)
        return plain(*args, **kwargs)

    monkeypatch.setattr(read_ahead, "read_clips", counted)
    batches(stream([source(mixed, media)]))
    assert len(opened) == 1


def test_views_change_from_epoch_to_epoch(media: Path) -> None:
    file = write_json(media.parent / "one.json", [clip_entry(0, questions=9)])
    video = Video(num_frames=3, crop="random", sampler="random")
    seen = samples_of(stream([source(file, media)], video))
    assert len({example.frames.tobytes() for example in seen}) > 12
    assert len({example.tasks for example in seen}) > 5
    assert len({example.mask_seed for example in seen}) == len(seen)
    fixed = samples_of(stream([source(file, media)]))
    assert len({example.frames.tobytes() for example in fixed}) == 1


def test_only_the_part_between_start_and_end_is_shown(media: Path) -> None:
    whole, part = (
        write_json(media.parent / f"{name}.json", [clip_entry(0, **bounds)])
        for name, bounds in {"whole": {}, "part": {"start": 0.5, "end": 1.0}}.items()
    )
    shown = [stream([source(file, media)]) for file in (whole, part)]
    frames = [samples[0].frames for samples in shown]
    requests = [samples._draw_of(0).request for samples in shown]
    assert not np.array_equal(*frames)
    assert (requests[1].start, requests[1].end) == (0.5, 1.0)
    for samples in shown:
        samples.close()


# ---- clips that cannot be read


@pytest.fixture
def damaged(media: Path, tmp_path: Path) -> Path:
    (media / "clip90.mp4").write_bytes(b"nothing of a video" * 50)
    numbers = [0, 90, 1, 91, 2]  # 91 does not exist
    return write_json(tmp_path / "damaged.json", [clip_entry(number) for number in numbers])


@pytest.mark.usefixtures("isolated")
def test_a_clip_that_fails_is_replaced_and_written_down(damaged: Path, media: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "run" / "skipped.jsonl"
    seen = samples_of(stream([source(damaged, media)], max_failures=0.5, ledger=ledger))
    assert len(seen) == 24
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len(rows) == 2, "each once, though they come again"
    by_name = {Path(row["file"]).name: row for row in rows}
    assert by_name.keys() == {"clip90.mp4", "clip91.mp4"}
    missing = by_name["clip91.mp4"]
    assert missing["kind"] == "VideoNotFoundError" and "no such file" in missing["reason"]
    assert missing["seconds"] >= 0


def test_replacements_are_the_same_for_a_resumed_run(damaged: Path, media: Path, tmp_path: Path) -> None:
    data = [source(damaged, media)]
    straight = said(samples_of(stream(data, max_failures=0.5, ledger=tmp_path / "one.jsonl")))
    ledger = tmp_path / "two.jsonl"
    stream(data, max_failures=0.5, ledger=ledger).__getitems__([0, 1])
    for known in (True, False):
        resumed = stream(data, max_failures=0.5, ledger=ledger if known else None)
        assert said(resumed.__getitems__([10, 11])) == straight[10:12]
        resumed.close()


def test_too_many_failures_stop_with_the_list(damaged: Path, media: Path, tmp_path: Path) -> None:
    samples = stream([source(damaged, media)], max_failures=0.2, ledger=tmp_path / "skipped.jsonl")
    with pytest.raises(
        DataError, match="2 of 5 clips and pictures cannot be read, more than max_fail"
    ) as caught:
        batches(samples)
    assert "clip90.mp4" in caught.value.what and "clip91.mp4" in caught.value.what
    assert caught.value.where == str(tmp_path / "skipped.jsonl")
    samples.close()


def test_a_run_that_stopped_for_them_does_not_go_on(damaged: Path, media: Path, tmp_path: Path) -> None:
    data, ledger = [source(damaged, media)], tmp_path / "skipped.jsonl"
    first = stream(data, max_failures=0.2, ledger=ledger)
    with pytest.raises(DataError) as stopped:
        batches(first)
    first.close()
    with pytest.raises(DataError) as again:
        stream(data, max_failures=0.2, ledger=ledger)
    assert str(again.value) == str(stopped.value)
    stream(data, max_failures=0.4, ledger=ledger).close()


def test_failures_of_other_stages_are_skipped_and_neither_counted_nor_listed(
    media: Path, tmp_path: Path
) -> None:
    for number in (92, 93, 94):
        (media / f"clip{number}.mp4").write_bytes(b"nothing of a video" * 50)
    ledger = tmp_path / "skipped.jsonl"
    # The clip that both stages hold counts in both.
    files = [[92, 94, 0, 1], [93, 94, 2, 3]]
    for number, clips in enumerate(files):
        file = write_json(tmp_path / f"{number}.json", [clip_entry(clip) for clip in clips])
        stage = stream([source(file, media)], max_failures=0.5, ledger=ledger)
        assert len(samples_of(stage)) == 24
        stage.close()
    with pytest.raises(DataError, match="2 of 4 clips and pictures") as caught:
        stream([source(file, media)], max_failures=0.25, ledger=ledger)
    assert "clip94" in caught.value.what and "clip93" in caught.value.what
    assert "clip92" not in caught.value.what


@pytest.mark.parametrize(("known", "said"), [([], ""), ([0], "1 clip is"), ([0, 1], "2 clips are")])
def test_what_is_not_tried_again_is_said(
    known: list[int],
    said: str,
    mixed: Path,
    media: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = tmp_path / "skipped.jsonl"
    files = [media / f"clip{number}.mp4" for number in known] + [media / "of-another-stage.mp4"]
    ledger.write_text("".join(json.dumps({"file": str(file), "reason": "broken"}) + "\n" for file in files))
    stream([source(mixed, media)], max_failures=0.5, ledger=ledger).close()
    assert caplog.messages == ([f"{said} not tried again, see {ledger}"] if said else [])


def test_by_default_one_failure_in_a_hundred_is_one_too_many_of_five(damaged: Path, media: Path) -> None:
    samples = stream([source(damaged, media)])
    with pytest.raises(DataError, match="1 of 5 clips"):
        batches(samples)
    samples.close()


@pytest.mark.usefixtures("isolated")
def test_a_clip_that_hangs_costs_its_deadline_once(
    mixed: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = stream(
        [source(mixed, media)], max_failures=0.5, deadline=1.0, ledger=tmp_path / "skipped.jsonl"
    )
    plain = samples._draw_of

    def hanging(index: int) -> Any:
        draw = plain(index)
        if draw.request.path.name != "clip0.mp4":
            return draw
        return draw._replace(request=replace(draw.request, transform=SleepForever()))

    monkeypatch.setattr(samples._ahead, "_draw_of", hanging)
    assert len(samples_of(samples)) == 24
    (row,) = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert row["kind"] == "DecodeTimeoutError" and row["seconds"] >= 1.0


def test_half_a_line_of_a_ledger_is_passed_over(mixed: Path, media: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "skipped.jsonl"
    ledger.write_text(json.dumps({"file": "x.mp4", "reason": "broken"}) + '\n{"file": "y')
    assert len(stream([source(mixed, media)], ledger=ledger).ledger) == 1


def test_mistakes_in_annotations_stop_before_anything_is_read(media: Path, tmp_path: Path) -> None:
    file = write_json(tmp_path / "bad.json", [clip_entry(0), {"video": "a"}, {"QA": []}])
    with pytest.raises(DataError) as caught:
        stream([source(file, media)])
    assert "2 mistakes in the training data" in caught.value.what
    assert f"{file}, line 3: 'QA' is missing" in caught.value.what
    assert f"{file}, line 4: names neither video nor image" in caught.value.what
