"""Clips that the benchmark `shapes` draws itself, and what is possible without their order."""

import json
import multiprocessing
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from st_llm_cli.bench.report import Ceiling
from st_llm_cli.errors import DataError, StllmError, UsageError
from st_llm_cli.shapes.folder import read_clips, write_folder
from st_llm_cli.stages.drawn_shapes import CLIPS, FILE_PIXELS, ceilings_of, draw
from st_llm_cli.stages.eval import evaluate, run
from st_llm_cli.stages.eval_plan import Plan, check_plan, load
from st_llm_cli.stages.rescore import rescore
from tests.stages.test_eval import Rote

RICH_CLIPS = 3


class Eight(Rote):
    num_frames = 8


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of the rich world: what is drawn by default, but for the number of clips."""
    folder = tmp_path_factory.mktemp("data") / "rich"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "rich", RICH_CLIPS)
        load(Plan("shapes", folder))
    return folder


class Watched:
    """Keeps what is told of a drawing."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.videos: list[str] = []

    def begin(self, total: int) -> Callable[[str], None]:
        self.totals.append(total)
        return self.videos.append


def test_the_rich_world_is_drawn_by_default_and_once(rich: Path) -> None:
    clips = read_clips(rich)
    assert [clip.scene.story for clip in clips] == ["turns", "bumps", "tour"]
    watched = Watched()
    for world in (None, "rich"):
        draw(rich, world, watched.begin)
    assert watched.totals == watched.videos == []
    assert not rich.with_name("rich.lock").exists()


def test_clips_of_the_rich_world_are_quick_to_draw() -> None:
    """A newcomer waits for them: 10 million pixels take a slow core most of a second."""
    assert CLIPS["rich"] * FILE_PIXELS["rich"] <= 1.2e9


def test_the_plain_world_is_drawn_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIPS, "plain", 1)
    draw(tmp_path / "shapes", "plain")
    assert [clip.scene.story for clip in read_clips(tmp_path / "shapes")] == [""]


def test_several_processes_leave_the_bytes_of_one(rich: Path, tmp_path: Path) -> None:
    folder, watched = tmp_path / "rich", Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "rich", RICH_CLIPS)
        draw(folder, "rich", watched.begin, processes=2)
    assert watched.totals == [RICH_CLIPS] and len(watched.videos) == RICH_CLIPS
    assert not multiprocessing.active_children()
    ours, theirs = (
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (folder, rich)
    )
    assert ours == theirs


def test_drawing_goes_on_after_one_of_its_processes_was_killed(tmp_path: Path) -> None:
    def kill(video: str) -> None:
        multiprocessing.active_children()[0].kill()

    folder, watched = tmp_path / "rich", Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "rich", 12)
        with pytest.raises(
            StllmError, match=r"a process that draws clips was ended .the same command goes on"
        ):
            draw(folder, None, lambda total: kill, processes=2)
        assert not multiprocessing.active_children()
        draw(folder, None, watched.begin, processes=2)
    assert len(watched.videos) == len(read_clips(folder)) == 12


def test_each_task_comes_with_what_its_rows_say_is_possible_without_order(rich: Path, tmp_path: Path) -> None:
    report = run(Eight(), Plan("shapes", rich), tmp_path / "run").report
    rows = {path.stem: json.loads(path.read_text()) for path in (rich / "json").glob("*.json")}
    assert len(rows) >= 3 and set(report.ceilings) == set(rows)
    for task, own in rows.items():
        mean = Ceiling(*(sum(r[key] for r in own) / len(own) for key in ("order_blind", "single_frame")))
        assert report.ceilings[task] == mean
    (scored, _) = report.scorers.values()
    weights = Counter({task: rate.n for task, rate in scored.tasks.items()})
    assert report.ceiling is not None
    assert report.ceiling.order_blind == pytest.approx(
        sum(report.ceilings[task].order_blind * n for task, n in weights.items()) / weights.total()
    )


def test_ceilings_are_kept_when_a_run_is_scored_again(rich: Path, tmp_path: Path) -> None:
    report = run(Eight(), Plan("shapes", rich), tmp_path / "run").report
    assert report.ceilings and rescore(tmp_path / "run").report.ceilings == report.ceilings
    assert evaluate(Eight(), "shapes", data=rich, world="rich").ceilings == report.ceilings
    with pytest.raises(UsageError, match="holds clips of the rich world"):
        evaluate(Eight(), "shapes", data=rich, world="plain")


def test_frames_that_show_the_parts_unevenly_give_some_order_away(rich: Path) -> None:
    """Three frames of four parts: which three they are is seen, so the ceiling is counted for them."""
    samples = load(Plan("shapes", rich))[0].samples
    eight, three = (ceilings_of(rich, samples, number) for number in (8, 3))
    assert eight != three
    assert all(three[task].order_blind >= eight[task].order_blind for task in eight)


def test_of_questions_that_were_added_by_hand_no_ceiling_is_told(rich: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(rich, folder)
    path = folder / "json" / "moving_attribute.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([{**row, "question": "Which one?"} for row in rows]))
    (folder / "json" / "mine.json").write_text(json.dumps(rows))
    samples = load(Plan("shapes", folder))[0].samples
    found, whole = ceilings_of(folder, samples, 8), ceilings_of(rich, samples, 8)
    assert {"mine", "moving_attribute"} & set(found) == set()
    assert set(found) == set(whole) - {"moving_attribute"} and found


def test_of_the_plain_world_it_is_told_as_well(tmp_path: Path) -> None:
    write_folder(tmp_path / "plain", 2)
    report = run(Eight(), Plan("shapes", tmp_path / "plain"), tmp_path / "run").report
    assert report.ceilings["color"] == Ceiling(1.0, 1.0)
    assert 0.5 <= report.ceilings["last_place"].order_blind < 1
    assert report.ceiling is not None


def test_drawing_that_was_interrupted_goes_on_with_its_own_world(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def once(video: str) -> None:
        raise Enough

    folder = tmp_path / "shapes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "plain", 2)
        with pytest.raises(Enough):
            draw(folder, "plain", lambda total: once)
        assert not (folder / "scenes.jsonl").exists()
        watched = Watched()
        draw(folder, None, watched.begin)
    clips = read_clips(folder)
    assert [clip.video for clip in clips] == watched.videos and watched.totals == [2]
    assert all(not clip.scene.story for clip in clips)


def test_two_processes_that_draw_at_the_same_time_draw_once(tmp_path: Path) -> None:
    watched = Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "plain", 3)
        threads = [
            threading.Thread(target=draw, args=(tmp_path / "shapes", "plain", watched.begin))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(watched.videos) == 3 and len(read_clips(tmp_path / "shapes")) == 3


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan("shapes", Path("x"), world="rihc"), "unknown world 'rihc' .did you mean 'rich'"),
        (Plan("tvbench", Path("x"), world="rich"), "'tvbench' has no worlds"),
    ],
)
def test_world_that_cannot_be_is_refused(plan: Plan, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_plan(plan)


def test_folder_of_another_world_is_refused(rich: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds clips of the rich world"):
        check_plan(Plan("shapes", rich, world="plain"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be drawn here"):
        draw(tmp_path / "file" / "below", None)
    (tmp_path / "settings.json").write_text("[")
    with pytest.raises(DataError, match=r"settings.json: cannot be used"):
        load(Plan("shapes", tmp_path, world="rich"))
