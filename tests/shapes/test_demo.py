from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from st_llm_cli.errors import DataError
from st_llm_cli.shapes.demo import DemoClip, demo_clips
from st_llm_cli.shapes.words import video_caption
from st_llm_cli.shapes.world import DEMO_SEEDS


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[DemoClip]:
    return demo_clips(tmp_path_factory.mktemp("demo") / "clips")


def test_sample_clips_differ_in_codec_size_rate_and_number_of_objects(clips: list[DemoClip]) -> None:
    facts = set()
    for clip in clips:
        with av.open(str(clip.path)) as container:
            stream = container.streams.video[0]
            facts.add((stream.codec_context.name, stream.width, stream.average_rate))
    assert len(clips) >= 5
    assert len(facts) == len(clips)
    assert len({codec for codec, _, _ in facts}) == 3
    assert {len(clip.scene.objects) for clip in clips} == {1, 2}


def test_sample_clips_come_from_their_own_seeds(clips: list[DemoClip]) -> None:
    assert all(clip.scene.seed in DEMO_SEEDS for clip in clips)


def test_each_clip_has_a_description_and_questions(clips: list[DemoClip]) -> None:
    for clip in clips:
        assert clip.questions[0].text == "Describe the video."
        assert clip.questions[0].answer == video_caption(clip.scene)
        assert len(clip.questions) >= 4


def test_questions_are_written_for_people_and_machines(clips: list[DemoClip]) -> None:
    folder = clips[0].path.parent
    text = (folder / "questions.txt").read_text()
    rows = json.loads((folder / "questions.json").read_text())
    assert [row["video"] for row in rows] == [clip.path.name for clip in clips]
    for row in rows:
        assert row["video"] in text
        for question in row["questions"]:
            assert f"  {question['question']}\n      {question['answer']}\n" in text
    assert text.startswith(
        "red_circle.mp4\n  Describe the video.\n      A red circle moves down and then moves left.\n"
    )


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot write here: File exists \(choose another folder\)"):
        demo_clips(tmp_path / "file")
