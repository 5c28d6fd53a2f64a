"""Frame numbers recorded from the released code, row by row."""

import json
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import UsageError
from st_llm_cli.video.request import Request, check_request
from st_llm_cli.video.sampling import (
    middles_of_rounded_parts,
    mvbench,
    released_chat,
    released_middle,
    released_mvbench,
    released_offset,
    released_random,
    released_rate,
)
from tests.bench.golden import golden_file
from tests.parity.golden import recorded

SAMPLING = recorded("sampling")
Row = dict[str, Any]


def rows(path: Path) -> list[Any]:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines, f"no rows in {path}"
    return [
        pytest.param(row, id=row.get("id", f"row{number}"))
        for number, row in enumerate(map(json.loads, lines))
    ]


def expected_or_error(row: Row) -> list[int] | None:
    return row["result"] if "error" not in row else None


def frame_indices(sample: str, num_frames: int, vlen: int, row: Row) -> list[int]:
    """The released `get_frame_indices`, by our names for its parts."""
    if sample.startswith("fps"):
        limit = row["args"]["max_num_frames"]
        return released_rate(vlen, row["args"]["input_fps"], float(sample[3:]), limit if limit > 0 else None)
    if sample == "rand":
        return released_random(vlen, num_frames, row["seed"])
    if "fix_start" in row["args"]:
        return released_offset(vlen, num_frames, row["args"]["fix_start"])
    assert sample == "middle"
    return released_middle(vlen, num_frames)


@pytest.mark.parametrize("row", rows(SAMPLING / "get_frame_indices.jsonl"))
def test_training_frames(row: Row) -> None:
    args = row["args"]
    expected = expected_or_error(row)
    if args["sample"] == "uniform":
        with pytest.raises(UsageError, match="unknown sampler"):
            check_request(Request(Path("clip.mp4"), sampler="released_uniform"))
    elif expected is None:
        with pytest.raises(ValueError, match="at least 1"):
            frame_indices(args["sample"], args["num_frames"], args["vlen"], row)
    else:
        assert frame_indices(args["sample"], args["num_frames"], args["vlen"], row) == expected


@pytest.mark.parametrize("row", rows(SAMPLING / "get_seq_frames.jsonl"))
def test_middles_of_rounded_parts(row: Row) -> None:
    total, wanted = row["args"]["total_num_frames"], row["args"]["desired_num_frames"]
    if "error" in row:
        with pytest.raises(ValueError, match="at least 1"):
            middles_of_rounded_parts(total, wanted)
    else:
        assert middles_of_rounded_parts(total, wanted) == row["result"]


@pytest.mark.parametrize("row", rows(SAMPLING / "load_video_indices.jsonl"))
def test_chat_frames(row: Row) -> None:
    assert released_chat(row["args"]["total_frames"], row["args"]["num_frm"]) == row["result"]


@pytest.mark.parametrize("row", rows(golden_file("vcg_qa_frame_index.jsonl")))
def test_question_answering_frames(row: Row) -> None:
    assert released_chat(row["total_frames"], row["num_frm"]) == row["expected"]


def bound_of(row: Row) -> tuple[float, float] | None:
    return (row["bound"][0], row["bound"][1]) if row["bound"] else None


@pytest.mark.parametrize("row", rows(SAMPLING / "mvbench_get_index.jsonl"))
def test_mvbench_frames_of_the_script(row: Row) -> None:
    args = row["args"]
    num_frames = args["num_segments"] or None
    picks = released_mvbench(args["max_frame"], args["fps"], bound_of(args), num_frames, args["first_idx"])
    assert picks == row["result"]


@pytest.mark.parametrize("row", rows(golden_file("mvbench_frame_index.jsonl")))
def test_mvbench_frames(row: Row) -> None:
    wanted = row["num_segments"] or None
    arguments = (row["max_frame"], row["fps"], bound_of(row), wanted, row["first_idx"])
    assert released_mvbench(*arguments) == row["expected_stllm"]
    assert row.get("expected_ask_anything", row["expected_stllm"]) == row["expected_stllm"]


@pytest.mark.parametrize("row", rows(golden_file("mvbench_frame_index.jsonl")))
def test_sound_mvbench_frames_are_the_released_ones_inside_the_clip(row: Row) -> None:
    wanted = row["num_segments"] or None
    sound = mvbench(row["max_frame"], row["fps"], bound_of(row), wanted, row["first_idx"])
    starts_after_the_end = row["expected_stllm"] != sorted(row["expected_stllm"])
    if row["out_of_range"] or starts_after_the_end:
        assert len(sound) == len(row["expected_stllm"])
        assert row["first_idx"] <= min(sound) <= max(sound) <= row["max_frame"]
    else:
        assert sound == row["expected_stllm"]
