"""What the measurement of the paper's claims rests on."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
import yaml

from st_llm_cli.shapes import rich_words
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.scene import COLORS, PLACES, SHAPES
from st_llm_cli.shapes.words import pieces, vocabulary
from st_llm_cli.shapes.world import EVAL_SEEDS
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.data.example import Example
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.request import Request
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.performance import claims, claims_events, claims_page, claims_start
from tests.performance.claims_events import HELD_OUT
from tests.performance.claims_files import ClipOf, drawn_clip, fill_cache, held_out, requests, write_clips
from tests.performance.claims_long import with_adapter
from tests.performance.claims_processes import stllm
from tests.performance.claims_rows import Part, Row, by_clip, measure_all, packed, read_rows, unpacked
from tests.performance.event_clips import FRAMES as EVENT_FRAMES
from tests.performance.event_clips import (
    ORDER,
    STILL_KINDS,
    event_clip,
    event_questions,
    event_scene,
    order_blind,
)
from tests.performance.long_clips import (
    FPS,
    FRAMES,
    KINDS,
    SIDE,
    VISIT,
    best_guesses,
    long_clip,
    long_scene,
    questions,
    visitors_in,
)
from tests.performance.right_answers import right_answers
from tests.training.small import small_recipe


def test_answers_judged_at_once_are_those_the_model_would_write(tmp_path: Path) -> None:
    model = load_model("tiny", cache=TokenCache(tmp_path / "tokens"))
    clips = held_out(model, write_clips(tmp_path, EVAL_SEEDS[:4], "held-out", event_clip), 8)
    written = [
        [int(_written(model, clip, task.question) == task.answer) for task in clip.tasks] for clip in clips
    ]
    assert list(right_answers(model, clips, clips=3)) == written
    wrong = [Example(None, clips[1].tasks, clips[0].tokens, "queries")]
    assert sum(next(right_answers(model, wrong))) < len(clips[1].tasks)


def _written(model: VideoModel, clip: Example, question: str) -> str:
    options = model._generation({})
    return model.written({"queries": clip.tokens}, model.chat_prompt(question), options)


@pytest.mark.parametrize(("clip_of", "frames"), [(event_clip, 8), (long_clip, 16)], ids=["events", "long"])
def test_a_drawn_clip_is_what_would_be_read_of_its_file(tmp_path: Path, clip_of: ClipOf, frames: int) -> None:
    written = clip_of(EVAL_SEEDS[0])
    path = tmp_path / "0.mp4"
    write_video(written.scene, path, written.encoding)
    transform = ResizeCenterCrop(48)
    drawn = drawn_clip(Request(path, num_frames=frames, transform=transform), written)
    read = read_clip(path, num_frames=frames, transform=transform)
    assert (drawn.indices, drawn.times_seconds) == (read.indices, read.times_seconds)
    difference = np.abs(drawn.frames.astype(int) - read.frames)
    assert 0 < difference.mean() < 4, "but for its compression"


def test_tokens_of_drawn_clips_are_found_where_no_video_is(tmp_path: Path) -> None:
    cache, seeds = tmp_path / "tokens", EVAL_SEEDS[:3]
    files = [
        write_clips(tmp_path / name, seeds, "held-out", clip_of, drawn=True)
        for name, clip_of in (("events", event_clip), ("long", long_clip))
    ]
    for file, clip_of in zip(files, (event_clip, long_clip), strict=True):
        fill_cache([(file, 8)], "tiny", cache, 1, clip_of)
    model = load_model("tiny", cache=TokenCache(cache))
    events, long = (held_out(model, file, 8) for file in files)
    assert all(clip.tokens is not None for clip in (*events, *long))
    assert not torch.equal(events[0].tokens, long[0].tokens), "of clips of one seed"
    drawn = drawn_clip(next(requests(model, files[1], 8)), long_clip(seeds[0]))
    assert torch.equal(model.see(drawn).tokens, long[0].tokens)


def test_packed_answers_come_out_again() -> None:
    bits = [0, 0, 0, 0, 1, 0, 1, 1]
    assert packed(bits) == "0b"
    assert unpacked(packed(bits)) == bits


@dataclass(frozen=True)
class FakeRuns:
    """Runs of which one fails."""

    failing: tuple[str, int] | None = None

    def fill(self, jobs: int) -> None:
        assert self.failing is None or jobs == 1

    def measure(self, variant: str, seed: int) -> Row:
        if (variant, seed) == self.failing:
            raise RuntimeError(f"{variant} {seed} failed")
        return Row(variant, seed, 0.5, 1.0, {})


def test_runs_go_on_where_one_failed_and_keep_what_was_there(tmp_path: Path) -> None:
    def measured(failing: tuple[str, int] | None) -> list[tuple[str, int]]:
        runs = FakeRuns(failing)
        path, other = tmp_path / "some.jsonl", tmp_path / "other.jsonl"
        try:
            measure_all([Part(lambda: runs, ["a", "b"], path), Part(lambda: runs, ["c"], other)], [0, 1])
        finally:
            rows = [*read_rows(path, Row), *read_rows(other, Row)]
        return [(row.variant, row.seed) for row in rows]

    with pytest.raises(RuntimeError, match="b 0 failed"):
        measured(("b", 0))
    before = read_rows(tmp_path / "some.jsonl", Row)
    assert before[0] == Row("a", 0, 0.5, 1.0, {})
    assert ("b", 0) not in {(row.variant, row.seed) for row in before}
    assert sorted(measured(None)) == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("c", 1)]
    assert read_rows(tmp_path / "some.jsonl", Row)[: len(before)] == before


def test_who_was_not_seen_is_guessed_as_often_as_is_possible() -> None:
    right, possible = [], []
    for seed in range(600):
        scene = long_scene(seed)
        shown, best = visitors_in(scene, 16), best_guesses(scene, 16)
        seen = [
            scene.objects[0],
            *(item for item, there in zip(scene.objects[1:], shown, strict=True) if there),
        ]
        color = next(name for name in COLORS if name not in {item.color for item in seen})
        shape = next(name for name in SHAPES if name not in {item.shape for item in seen})
        place = next(name for name in PLACES if name not in {item.place(0.0) for item in seen})
        for item, there, share in zip(scene.objects[1:], shown, best, strict=True):
            guesses = (item.color == color, item.shape == shape, item.place(0.0) == place)
            both = item.color == color and item.shape == shape
            right.append(1.0 if there else mean([*guesses, both]))
            possible.append(share)
    assert mean(possible) < 0.7
    assert mean(right) == pytest.approx(mean(possible), abs=0.015)


def test_long_clips_show_visits_that_every_second_time_fall_between_sixteen_frames(tmp_path: Path) -> None:
    seen = []
    for seed in range(12):
        scene = long_scene(seed)
        write_video(scene, tmp_path / f"{seed}.mp4", Encoding(SIDE, SIDE, FPS))
        visits = [np.flatnonzero(item.states(np.arange(FRAMES) / FPS).shown) for item in scene.objects[1:]]
        assert [len(frames) for frames in visits] == [VISIT, VISIT]
        assert visits[0].max() < FRAMES // 2 <= visits[1].min()
        clip = read_clip(tmp_path / f"{seed}.mp4", num_frames=FRAMES)
        assert clip.indices == tuple(range(FRAMES))
        few = read_clip(tmp_path / f"{seed}.mp4", num_frames=16).indices
        seen += [bool(set(few) & set(frames.tolist())) for frames in visits]
        assert visitors_in(scene, 16) == seen[-2:]
        usual = np.median(clip.frames, axis=0)
        changed = np.abs(clip.frames - usual).max(axis=(1, 2, 3)) > 60
        assert np.flatnonzero(changed).tolist() == sorted(np.concatenate(visits).tolist())
    assert 6 <= sum(seen) <= 18


def test_questions_about_long_clips_are_put_in_words_that_are_known() -> None:
    words = set(vocabulary())
    for seed in range(20):
        asked = questions(long_scene(seed))
        assert len(asked) == KINDS and len({question for question, _ in asked}) == KINDS
        assert {piece for pair in asked for text in pair for piece in pieces(text)} <= words


def test_a_new_global_local_adapter_adds_nothing_yet(tmp_path: Path) -> None:
    before, after = load_model("tiny"), load_model(str(with_adapter("tiny", tmp_path / "wider")))
    after.model.config.num_local_frames = 4
    clip = torch.randn(8, 9, 128)
    (alone,) = before.model.video_input([clip])
    (local,) = after.model.video_input([clip])
    torch.testing.assert_close(local, alone.unflatten(0, (8, 9))[1::2].flatten(0, 1))


def test_clips_of_four_events_do_not_tell_without_order_what_comes_when() -> None:
    best: dict[str, list[float]] = {}
    for seed in range(30):
        asked = event_questions(event_scene(seed))
        when = [each for each in asked if each.kind in ORDER]
        for each, share in zip(when, order_blind(event_scene(seed), asked, 8), strict=True):
            best.setdefault(each.kind, []).append(share)
    assert set(best) == set(ORDER)
    assert all(0.25 <= np.mean(shares) < 0.34 for shares in best.values())


def test_files_of_four_events_have_the_frames_and_the_words_that_are_asked_for(tmp_path: Path) -> None:
    words = set(rich_words.vocabulary())
    annotations = write_clips(tmp_path, range(3), "train", event_clip)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    for seed in range(3):
        clip = read_clip(tmp_path / "train" / f"{seed}.mp4", num_frames=EVENT_FRAMES)
        assert len(set(clip.indices)) == EVENT_FRAMES
        asked = event_clip(seed).asked
        assert {piece for pair in asked for text in pair for piece in pieces(text)} <= words
    assert write_clips(tmp_path, range(3), "train", event_clip) == annotations
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written


def test_each_answer_counts_for_its_own_clip_and_kind() -> None:
    scenes = [event_scene(seed) for seed in HELD_OUT]
    asked = [(clip, each.kind) for clip, scene in enumerate(scenes) for each in event_questions(scene)]
    assert len(asked) % 4 == 0  # so that they can be packed
    counted = {
        place: (clip, kind)
        for kind in (*ORDER, *STILL_KINDS)
        for clip, own in enumerate(claims_events.places((kind,)))
        for place in own
    }
    assert [counted[place] for place in range(len(asked))] == asked
    right = [int(kind == "state_change" and clip < 150) for clip, kind in asked]
    row = Row("all", 0, 1.0, 1.0, {"8": packed(right)})
    expected = [float(scene.story == "colors" and clip < 150) for clip, scene in enumerate(scenes)]
    assert by_clip([row], "8", claims_events.places(ORDER)) == expected


def test_a_new_language_model_sees_with_the_same_eyes(tmp_path: Path) -> None:
    size = claims_start.SIZES["large"]
    new = claims_start.with_new_language("tiny", tmp_path / "new", size)
    before, after = (load_model(name).model for name in ("tiny", str(new)))
    frames = [torch.randn(2, 3, 48, 48)]
    (seen,), (again,) = (model.encode_queries(model.encode_vision(frames)) for model in (before, after))
    torch.testing.assert_close(seen, again)
    language = after.config.text_config
    assert (language.num_hidden_layers, language.hidden_size) == (size.layers, size.width)
    stored = sum(path.stat().st_size for path in new.glob("*.safetensors"))
    assert stored / 2 < 25e6, "as it would be bundled, in float16"


@dataclass(frozen=True)
class LastingRuns:
    """Runs that train for hours."""

    recipe: Path
    folder: Path

    def fill(self, jobs: int) -> None: ...

    def measure(self, variant: str, seed: int) -> Row:
        stllm("train", str(self.recipe), "--output", str(self.folder))
        raise AssertionError


COMMAND = """
import sys
from pathlib import Path
from tests.performance import claims
from tests.performance.test_claims import LastingRuns

folder = Path(sys.argv.pop())
claims.knows_plain_pictures = str
claims.LongRuns = lambda *given: LastingRuns(folder / "lasting.yaml", folder / "lasting")
claims.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_training_ends_with_the_command(tmp_path: Path, number: signal.Signals) -> None:
    recipe = small_recipe({"steps": 5000, "save_every": 0}).model_dump(mode="json", exclude_none=True)
    (tmp_path / "lasting.yaml").write_text(yaml.safe_dump(recipe))
    places = ["--only", "long", "--rows", str(tmp_path / "rows"), "--output", str(tmp_path)]
    metrics = tmp_path / "lasting" / "metrics.jsonl"
    with (tmp_path / "said").open("wb") as said:
        line = [sys.executable, "-c", COMMAND, *places, str(tmp_path)]
        command = subprocess.Popen(line, stdout=said, stderr=said)
        try:
            _wait(lambda: metrics.exists() and metrics.stat().st_size > 0)
            ended = time.time()
            command.send_signal(number)
            if number == signal.SIGTERM:
                time.sleep(0.01)
                command.send_signal(number)  # as `timeout` does
            code = command.wait(20)
        finally:
            command.kill()
    _wait(lambda: time.time() - metrics.stat().st_mtime > 2.0)
    # Without care it would train on until it has something to say, every ten seconds, and nobody listens.
    assert metrics.stat().st_mtime - ended < 5.0
    lines = (tmp_path / "said").read_text().splitlines()
    assert lines[0] == "long: all 64, seed 0 (1 of 9) …"
    if number != signal.SIGKILL:
        assert code == 130
        assert lines[1:] == ["told to stop; the same command goes on"]


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_start_of_long_clips_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[object] = []

    def made(*arguments: object) -> FakeRuns:
        given.append(arguments[0])
        return FakeRuns()

    monkeypatch.setattr(claims_start, "stllm", lambda *arguments: given.append(" ".join(arguments)))
    monkeypatch.setattr(claims, "LongRuns", made)
    monkeypatch.setattr(claims, "measure_all", lambda parts, *_: [part.runs() for part in parts])
    own = ["--only", "long", "--rows", str(tmp_path), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["claims.py", *own])
    claims.main()
    make = "train tiny/shapes --until images --output runs/shapes"
    assert given == [make, "runs/shapes/checkpoints/images-2"]
    assert "training what runs start from" in capsys.readouterr().out


def test_tables_without_rows_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "claims.md"
    page.write_text("<!-- long -->\n| before |\n<!-- end -->\n")
    claims_page.write(tmp_path, page)
    assert "| before |" in page.read_text()
    assert "tables that stay, as not all of their rows are there: long" in capsys.readouterr().out
