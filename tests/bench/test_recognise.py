from pathlib import Path

import pytest

from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.recognise import SIGNS, recognise

LAYOUTS = {
    "mvbench": (["mvbench"], ["json/action_antonym.json", "json/state_change.json", "video/clevrer/a.mp4"]),
    "tvbench": (["tvbench"], ["json/action_antonym.json", "json/object_count.json"]),
    "tasks of both": (["mvbench", "tvbench"], ["json/action_antonym.json"]),
    "tempcompass": (["tempcompass"], ["questions/multi-choice.json", "videos/1.mp4"]),
    "vinoground": (["vinoground"], ["vinoground_videos/vinoground_textscore.json"]),
    "vcgbench": (["vcgbench"], ["Benchmarking_QA/temporal_qa.json"]),
    "msvd": (["msvd"], ["test_qa.json", "YouTubeClips/a.avi"]),
    "msrvtt": (["msrvtt"], ["test_q.json", "videos/all/video1.mp4"]),
    "activitynet": (["activitynet"], ["test_q.json", "test_a.json", "all_test/v_a.mp4"]),
    "open questions": (["msvd", "msrvtt", "activitynet"], ["test_qa.json", "videos/a.mp4"]),
    "shapes": (["shapes"], ["json/shape.json", "scenes.jsonl", "settings.json"]),
    "clips without questions": ([], ["YouTubeClips/a.avi", "all_test/b.mp4", "video/c.mp4"]),
    "questions of one's own": ([], ["json/mine.json", "video/a.mp4", "test.json"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_is_known_by_what_only_one_benchmark_has(layout: str, tmp_path: Path) -> None:
    expected, files = LAYOUTS[layout]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert recognise(tmp_path) == expected


def test_every_benchmark_is_recognised_but_those_of_ones_own() -> None:
    assert set(BENCHMARKS) - set(SIGNS) == {"custom"}
