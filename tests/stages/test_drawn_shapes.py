"""Clips that the benchmark `shapes` draws itself, and what is possible without their order."""

import json
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from st_llm_cli.bench.report import Ceiling
from st_llm_cli.errors import DataError, UsageError
from st_llm_cli.shapes.folder import read_clips, write_folder
from st_llm_cli.stages.drawn_shapes import CLIPS, ceilings_of, clips_to_draw, draw
from st_llm_cli.stages.eval import evaluate, run
from st_llm_cli.stages.eval_plan import Plan, check_plan, load
from st_llm_cli.stages.rescore import rescore
from tests.stages.test_eval import Rote

RICH_CLIPS = 3


class Eight(Rote):
    num_frames = 8


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of the rich world: what `--world rich` draws, but for the number of clips."""
    folder = tmp_path_factory.mktemp("data") / "rich"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "rich", RICH_CLIPS)
        load(Plan("shapes", folder, world="rich"))
    return folder


def test_the_world_that_is_asked_for_is_drawn(rich: Path) -> None:
    clips = read_clips(rich)
    assert [clip.scene.story for clip in clips] == ["turns", "bumps", "tour"]
    assert clips_to_draw(rich, None) == clips_to_draw(rich, "rich") == 0
    assert not rich.with_name("rich.lock").exists()


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
        patch.setitem(CLIPS, "rich", 2)
        with pytest.raises(Enough):
            draw(folder, "rich", once)
        assert clips_to_draw(folder, None) == 2 and not (folder / "scenes.jsonl").exists()
        told: list[str] = []
        draw(folder, None, told.append)
    assert [clip.video for clip in read_clips(folder)] == told and len(told) == 2


def test_two_processes_that_draw_at_the_same_time_draw_once(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLIPS, "plain", 3)
        threads = [
            threading.Thread(target=draw, args=(tmp_path / "shapes", None, told.append)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(told) == 3 and len(read_clips(tmp_path / "shapes")) == 3


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
