"""What the bundled model is measured on, and how its answers are counted."""

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
import pytest

from st_llm_cli.bench.sample import Media, Prediction, Sample
from st_llm_cli.shapes.encode import Encoding
from st_llm_cli.shapes.folder import Clip
from st_llm_cli.shapes.rich import make_scene
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS, KIND_STORIES, with_options
from st_llm_cli.shapes.rich_words import colors_of
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.world import EVAL_SEEDS
from tests.performance.accuracy.asking import Answer
from tests.performance.accuracy.clips import (
    SIZES,
    choice_rows,
    end_questions,
    ends_wishes,
    plan_clips,
    plan_corners,
    rich_wishes,
    write_clips,
)
from tests.performance.accuracy.page import filled
from tests.performance.accuracy.pictures import (
    IN_PARTS,
    deed,
    draw_confusion,
    draw_examples,
    draw_kinds,
    draw_mix_ups,
    mix_ups,
)
from tests.performance.accuracy.rows import read_rows, write_rows
from tests.performance.accuracy.tables import (
    ORDER_KINDS,
    Choices,
    controls_table,
    ends_table,
    goals_table,
    kinds_table,
    plain_table,
    rate,
    shuffled_sentence,
    size_class,
)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return plan_clips(rich_wishes(38), "rich")


def test_every_kind_is_asked_equally_often_and_six_hundred_times_in_all(clips: list[Clip]) -> None:
    rows = choice_rows(clips)
    assert set(rows) == set(CHOICE_KINDS)
    assert len({len(own) for own in rows.values()}) == 1
    assert sum(map(len, rows.values())) >= 600


def test_right_options_stand_at_every_letter_equally_often(clips: list[Clip]) -> None:
    found = choice_rows(clips)
    for rows in (*found.values(), list(chain.from_iterable(found.values()))):
        for options in {len(row["candidates"]) for row in rows}:
            own = [row for row in rows if len(row["candidates"]) == options]
            places = Counter(row["candidates"].index(row["answer"]) for row in own)
            counts = [places[place] for place in range(options)]
            assert max(counts) - min(counts) <= 1, options


def test_questions_of_a_kind_about_one_clip_have_different_answers(clips: list[Clip]) -> None:
    for kind, rows in choice_rows(clips).items():
        pairs = [(row["video"], row["answer"]) for row in rows]
        assert len(set(pairs)) == len(pairs), kind


def test_files_are_of_every_codec_class_of_size_rate_and_outline(clips: list[Clip]) -> None:
    codecs = Counter((clip.encoding.codec, clip.encoding.antialias) for clip in clips)
    assert len(codecs) == 6
    assert min(codecs.values()) >= 50
    sizes = Counter(size_class(clip.encoding) for clip in clips)
    assert min(sizes[name] for name in SIZES) >= 30
    rates = [clip.encoding.fps for clip in clips]
    assert (min(rates), max(rates)) == (12, 60)
    assert sum(rate > 30 for rate in rates) >= 30
    assert max(clip.scene.duration_seconds for clip in clips) > 30


def test_no_clip_is_of_a_seed_that_training_or_the_benchmark_draws(clips: list[Clip]) -> None:
    seeds = [clip.scene.seed for clip in clips]
    assert len(set(seeds)) == len(seeds)
    assert all(seed in EVAL_SEEDS[1000:] for seed in seeds)


def test_plain_clips_have_one_and_two_objects_equally_often() -> None:
    found = plan_clips(ends_wishes(3), "ends")
    assert Counter(len(clip.scene.objects) for clip in found) == {1: 3, 2: 3}
    assert all(not clip.scene.story for clip in found)


def test_corners_are_large_fast_files_of_every_kind_and_long_ones() -> None:
    found = plan_corners(0)
    large = [clip for clip in found if size_class(clip.encoding) == "large"]
    files = {(e.codec, e.width, e.fps, e.antialias) for e in (clip.encoding for clip in large)}
    assert len(files) == len(large) == 24 and {fps for _, _, fps, _ in files} == {30, 60}
    objects = Counter((clip.encoding.codec, len(clip.scene.objects)) for clip in large)
    assert set(objects.values()) == {4}
    assert all(2.4 < clip.scene.duration_seconds < 5.1 for clip in large)
    long = [clip for clip in found if clip not in large]
    assert {clip.encoding.codec for clip in long} == {"h264", "mpeg4", "vp9"}
    assert all(39 < clip.scene.duration_seconds < 61 for clip in long)


def test_each_object_is_asked_about_at_both_ends() -> None:
    scene = make_scene(EVAL_SEEDS[0], story="walk", num_objects=2)
    asked = end_questions(scene)
    assert [each.kind for each in asked] == ["first_movement", "last_movement"] * 2
    for story in ("places", "shuffle"):
        assert not end_questions(make_scene(EVAL_SEEDS[0], story=story))


def test_clips_are_written_once_and_others_are_refused(tmp_path: Path) -> None:
    brief = sorted(plan_clips(ends_wishes(20), "ends"), key=lambda clip: clip.scene.duration_seconds)
    write_clips(tmp_path / "clips", brief[:1], "plain", 1)
    video = tmp_path / "clips" / "video" / brief[0].video
    written = video.stat().st_mtime_ns
    write_clips(tmp_path / "clips", brief[:1], "plain", 1)
    assert video.stat().st_mtime_ns == written
    with pytest.raises(SystemExit, match="holds other clips"):
        write_clips(tmp_path / "clips", brief[1:2], "plain", 1)


# ---- counting


def prediction(kind: str, number: int, right: bool) -> Prediction:
    media = (Media(f"{kind}-{number // 2}.mp4", None),)
    sample = Sample(f"{kind}/{number}", kind, "choice", media, "What?", "What?", "a", ("a", "b", "c", "d"))
    return Prediction(sample, "A" if right else "B", 0 if right else 1)


def choices(shuffled_right: int) -> Choices:
    """Twelve questions of each kind, one in four wrong; shuffled so many of them right."""
    full = [prediction(kind, number, number % 4 > 0) for kind in CHOICE_KINDS for number in range(12)]
    shuffled = [
        prediction(kind, number, number * 5 % 12 < shuffled_right)
        for kind in CHOICE_KINDS
        for number in range(12)
    ]
    ceilings = {each.sample.id: 0.25 for each in full}
    return Choices(full, {"shuffle": shuffled}, ceilings)


@pytest.mark.parametrize(("right", "verdict"), [(3, "within"), (8, "above it"), (0, "below it")])
def test_shuffled_answers_are_held_against_the_ceiling(right: int, verdict: str) -> None:
    found = choices(right).order_blind(ORDER_KINDS, "shuffle")
    assert found.right.value == pytest.approx(right / 12)
    assert found.ceiling == 0.25
    assert found.verdict == verdict


def test_several_orders_of_a_clip_are_one_clip() -> None:
    once = choices(3)
    thrice = replace(once, controls={"shuffle": 3 * once.controls["shuffle"]})
    one, three = (each.order_blind(ORDER_KINDS, "shuffle") for each in (once, thrice))
    assert (one.orders, three.orders) == (1, 3) and three.ceiling == one.ceiling
    assert three.right.low == pytest.approx(one.right.low, abs=0.01)  # not narrower: no new clips were seen
    assert "each clip in 3 random orders" in shuffled_sentence(three)


def test_table_of_kinds_shows_each_beside_its_ceiling() -> None:
    lines = kinds_table(choices(3)).splitlines()
    (row,) = [line for line in lines if line.startswith("| `state_change`")]
    assert row.startswith("| `state_change` | 0.750 [") and row.endswith("| 0.25 | 0.25 | 12 |")
    assert any(line.startswith("| **all 13 that need order** | 0.750 [") for line in lines)


def answer(kind: str, truth: str, reply: str, objects: int = 1, **file: object) -> Answer:
    encoding = Encoding(**{"width": 320, "height": 240, "fps": 12, **file})  # type: ignore[arg-type]
    return Answer(f"{truth}{reply}.mp4", "plain", objects, encoding, kind, "What?", truth, reply, 3.0, 0.5)


ENDS = [
    answer("first_movement", "It moves left.", "It moves left."),
    answer("last_movement", "It moves up.", "It moves down."),
    answer(
        "first_movement", "It blinks.", "It blinks.", objects=2, codec="vp9", fps=60, width=1280, height=720
    ),
    answer("last_movement", "It turns red.", "It turns blue.", objects=2, antialias=False),
]


def test_table_of_ends_tells_files_apart() -> None:
    lines = ends_table(ENDS, ENDS).splitlines()
    assert any(line.startswith("| VP9 | 1.000 [") and line.endswith("| - | 0.50 | 1 |") for line in lines)
    assert any(line.startswith("| 960x540 and 1280x720 | 1.000 [") for line in lines)
    assert any(line.startswith("| jagged outlines | - | 0.000 [") for line in lines)


def test_corners_stand_below_in_rows_of_their_own() -> None:
    lines = ends_table(ENDS, ENDS).splitlines()
    corners = lines[[line.startswith("| 960x540 and 1280x720 at ") for line in lines].index(True) :]
    names = [line.split(" | ")[0] for line in corners]
    assert names[1:] == [
        *("| · two objects", "| · VP9", "| · 1280x720", "| · 60 frames a second", "| · smooth outlines"),
        "| 40 to 60 seconds",
    ]
    assert [line.split(" | ")[-1] for line in corners] == ["1 |"] * 6 + ["3 |"]


def test_goals_are_held_against_what_was_measured() -> None:
    lines = goals_table(choices(3), ENDS).splitlines()
    assert lines[2].startswith("| all kinds, with options | 0.85 | 0.750 [") and lines[2].endswith("| no |")
    assert lines[4].endswith("| yes |")
    assert [line.split(" | ")[-1] for line in lines[5:]] == ["yes |", "yes |", "no |", "no |"]


def test_what_is_written_is_read_again_with_all_that_tables_need(tmp_path: Path) -> None:
    once = choices(3)
    asked = replace(once, controls={"shuffle": 3 * once.controls["shuffle"], "freeze": once.full})
    said = "A red star moves up. A blue star moves left."
    answers = {"ends": ENDS, "corners": ENDS[:2], "plain": [answer("caption", f"{said[:-5]}down.", said, 2)]}
    write_rows(tmp_path, asked, answers)
    found, found_answers = read_rows(tmp_path)
    assert found_answers == answers
    for of in (kinds_table, controls_table, lambda each: goals_table(each, ENDS)):
        assert of(found) == of(asked)
    assert found.order_blind(ORDER_KINDS, "shuffle") == asked.order_blind(ORDER_KINDS, "shuffle")


def test_table_of_the_plain_world_counts_rights_and_sentences() -> None:
    said = "A red star moves up. A blue star moves left."
    truth = "A red star moves up. A blue star moves down."
    lines = plain_table([answer("caption", truth, said, 2), answer("color", "red", "red")]).splitlines()
    assert any(line.startswith("| caption: sentences | 0.500") for line in lines)
    assert any(line.startswith("| color | 1.000") and line.endswith("| 0.50 | 1 |") for line in lines)
    assert any(line.startswith("| all free-form | 0.500") for line in lines)


def test_interval_is_wilsons_where_questions_are_independent_or_all_alike() -> None:
    assert rate([]) is None
    assert str(rate([True] * 8 + [False] * 2)) == "0.800 [0.49, 0.94]"
    alike = rate([True] * 10, list("aabbccddee"))
    assert alike is not None
    assert alike.low == pytest.approx(0.72, abs=0.01)


# ---- showing


def test_page_gets_what_was_measured_and_keeps_the_rest() -> None:
    page = "Before.\n\n<!-- measured: ends -->\nold\n<!-- /measured -->\n\nAfter.\n"
    once = filled(page, {"ends": "| a |\n", "other": "not on this page"})
    assert once == "Before.\n\n<!-- measured: ends -->\n\n| a |\n\n<!-- /measured -->\n\nAfter.\n"
    assert filled(once, {"ends": "| a |\n"}) == once


def test_page_with_a_place_for_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no text for 'end'"):
        filled("<!-- measured: end -->\n<!-- /measured -->", {"ends": "x"})
    with pytest.raises(ValueError, match="no place"):
        filled("Nothing here.", {"ends": "x"})


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("It moves left.", "moves left"),
        ("It turns green.", "turns …"),
        ("It bumps into the red star.", "bumps into …"),
        ("It moves purple.", "other words"),
        ("", "other words"),
    ],
)
def test_deeds_are_named_colours_and_partners_aside(said: str, name: str) -> None:
    assert deed(said) == name


def mixed_up() -> tuple[Choices, dict[str, Scene]]:
    """One question of each kind, the right option first and the last one chosen."""
    full, scenes = [], {}
    for kind in IN_PARTS:
        scene = make_scene(0, story=KIND_STORIES[kind][0])
        form = with_options(CHOICE_KINDS[kind](scene)[0], Random(0), key=0)
        media = (Media(f"{kind}.mp4", None),)
        last = len(form.candidates) - 1
        sample = Sample(kind, kind, "choice", media, form.text, form.text, form.answer, form.candidates)
        full.append(Prediction(sample, "ABCD"[last], last))
        scenes[media[0].name] = scene
    return Choices(full, {}, {}), scenes


def test_what_is_mixed_up_is_counted_by_letter_and_by_part() -> None:
    answers, scenes = mixed_up()
    for kind in IN_PARTS:
        letters, parts = mix_ups(answers, scenes, kind)
        assert letters.sum() == letters[0, answers.of([kind])[0].option] == 1
        assert np.trace(parts) < parts.sum() == (4 if kind == "scene_transition" else 1)
    (worn,) = [own for item in scenes["state_change.mp4"].objects if len(set(own := colors_of(item))) > 1]
    (asked,) = answers.of(["state_change"])
    chosen = worn.index(asked.sample.candidates[-1])
    _, parts = mix_ups(answers, scenes, "state_change")
    assert parts[0, chosen] == 1  # asked what it is at first


def test_pictures_are_small(tmp_path: Path) -> None:
    brief = min(plan_clips(rich_wishes(2), "rich"), key=lambda clip: clip.scene.duration_seconds)
    write_clips(tmp_path / "clips", [brief], "rich", 1)
    video = tmp_path / "clips" / "video" / brief.video
    sample = Sample("a/0", "a", "choice", (Media(video.name, video),), "What?", "What?", "a", ("a", "b"))
    draw_examples([Prediction(sample, "A", 0), Prediction(sample, "B", 1)], tmp_path / "examples.png")
    draw_kinds(choices(3), tmp_path / "kinds.png")
    draw_confusion(ENDS, tmp_path / "deeds.png")
    draw_mix_ups(*mixed_up(), tmp_path / "mix-ups.png")
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.png")}
    assert len(sizes) == 4
    assert all(1_000 < size < 150_000 for size in sizes.values()), sizes
