import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from st_llm_cli.stages.video_model import VideoModel
from tests.cli.conftest import Ran, Stllm

SHORT = ("--max-new-tokens", "4")


@pytest.fixture
def describe(stllm: Stllm, micro: Path) -> Stllm:
    def run(*arguments: str | Path) -> Ran:
        return stllm("describe", *arguments, "--model", micro, *SHORT)

    return run


def test_one_video_gives_its_answer_and_nothing_else(describe: Stllm, clips: Path) -> None:
    ran = describe(clips / "a.mp4")
    assert ran.code == 0, ran.err
    assert ran.out.strip()
    assert ran.out.count("\n") == 1
    assert str(clips) not in ran.out


def test_folder_names_each_video_in_order(describe: Stllm, clips: Path) -> None:
    ran = describe(clips, "--format", "jsonl")
    assert ran.code == 0, ran.err
    videos = [json.loads(line)["video"] for line in ran.out.splitlines()]
    assert videos == [str(clips / "a.mp4"), str(clips / "b.webm"), str(clips / "deep" / "c.mkv")]


@pytest.fixture
def without_text_names(clips: Path, tmp_path: Path) -> Path:
    """A folder of two videos: a name is no text, the other has two lines."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (os.fsdecode(b"caf\xe9.mp4"), "new\nline.mp4"):
        (folder / name).write_bytes((clips / "a.mp4").read_bytes())
    return folder


@pytest.mark.parametrize("ending", ["csv", "jsonl", "txt"])
def test_file_name_that_is_no_text_is_spelt_and_found_again(
    ending: str, describe: Stllm, without_text_names: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"out.{ending}"
    written = []
    for _ in range(2):  # the second time nothing is left to do
        ran = describe(without_text_names, "--output", output)
        assert ran.code == 0, ran.err
        assert f"{output}: 2 descriptions" in ran.err
        written.append(output.read_text(encoding="utf-8"))
    spelt = rf"{without_text_names}/caf\xe9.mp4"
    assert (json.dumps(spelt) if ending == "jsonl" else spelt) in written[0]
    assert written[0] == written[1]


@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
def test_file_name_that_is_no_text_is_spelt_on_standard_output(
    form: str, describe: Stllm, without_text_names: Path
) -> None:
    ran = describe(without_text_names, "--format", form)
    assert ran.code == 0, ran.err
    assert r"\xe9.mp4" in ran.out


def test_damage_is_told_in_one_line_and_in_the_json(describe: Stllm, clips: Path) -> None:
    path = Path(__file__).parents[1] / "data" / "videos" / "corrupt_middle.mp4"
    lost = "243 of the 300 frames it promises can be read"
    alone = describe(path)
    assert (alone.code, alone.err.splitlines()[:-1]) == (0, [f"stllm: {path}: damaged, {lost}"])
    many = describe(path, clips / "a.mp4", "--every", "6", "--frames", "12", "--json")
    assert many.code == 0
    assert many.err.splitlines().count(f"stllm: {path}: damaged, {lost}") == 1
    told = [(row["video"], row["damage"]) for row in map(json.loads, many.out.splitlines())]
    assert told[1:] == [(str(path), lost), (str(clips / "a.mp4"), None)]


def test_doubt_names_the_videos_that_it_is_about(
    describe: Stllm, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoModel, "caveat", lambda self, clip: "looks odd")
    one, many = describe(clips / "a.mp4"), describe(clips, clips / "a.mp4", "--every", "1")
    assert f"stllm: {clips / 'a.mp4'}: looks odd" in one.err.splitlines()
    told = [line for line in many.err.splitlines() if "looks odd" in line]
    assert told == [f"stllm: 3 of 3 videos, the first: {clips / 'a.mp4'}: looks odd"]


def test_json_is_the_short_way_to_ask_for_lines_of_json(describe: Stllm, clips: Path) -> None:
    (line,) = describe(clips / "a.mp4", "--json").out.splitlines()
    assert set(json.loads(line)) == {"video", "start_seconds", "end_seconds", "num_frames", "text", "damage"}


def test_same_answer_whether_streamed_or_not(describe: Stllm, clips: Path) -> None:
    streamed = describe(clips / "a.mp4").out.strip()
    assert json.loads(describe(clips / "a.mp4", "--json").out)["text"] == streamed


def test_windows_give_subtitles(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    ran = describe(clips / "a.mp4", "--every", "0.5", "--output", tmp_path / "a.srt")
    assert ran.code == 0, ran.err
    cues = (tmp_path / "a.srt").read_text(encoding="utf-8").strip().split("\n\n")
    assert len(cues) > 2
    assert cues[0].startswith("1\n00:00:00,000 --> 00:00:00,500\n")
    assert cues[1].startswith("2\n00:00:00,500 --> 00:00:01,000\n")


def test_standard_output_is_no_file_to_write_to(
    describe: Stllm, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = describe(clips, "--output", "-")
    said = "stllm: error: --output -: is not a file (leave it out to write to standard output)\n"
    assert (ran.code, ran.out, ran.err) == (2, "", said)
    assert not list(tmp_path.iterdir())


def test_file_that_is_called_as_standard_output_can_be_named_by_its_folder(
    describe: Stllm, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(clips / "a.mp4"))))
        ran = describe("-", "--output", "./-")
        assert (ran.code, ran.out) == (0, ""), ran.err
    assert (tmp_path / "-").read_text(encoding="utf-8").startswith(str(clips / "a.mp4"))


def test_form_follows_the_ending_of_the_output(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    assert describe(clips, "--output", tmp_path / "out.csv").code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"))))
    assert [Path(row["video"]).name for row in rows] == ["a.mp4", "b.webm", "c.mkv"]


def test_bad_video_is_named_at_the_end_and_stops_nothing(
    describe: Stllm, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_text("no video\n" * 50, encoding="utf-8")
    ran = describe(clips / "a.mp4", tmp_path / "bad.mp4", clips / "b.webm", "--json")
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 2
    assert "1 of 3 videos could not be described:" in ran.err
    assert f"stllm: error: {tmp_path}/bad.mp4: " in ran.err


def test_missing_video_of_a_list_is_named_at_the_end(describe: Stllm, clips: Path) -> None:
    manifest = clips.parent / "list.txt"
    manifest.write_text(f"{clips}/a.mp4\n{clips}/gone.mp4\n", encoding="utf-8")
    ran = describe(manifest, "--json")
    assert (ran.code, len(ran.out.splitlines())) == (1, 1)
    assert f"{clips}/gone.mp4: " in ran.err


def test_words_that_the_model_does_not_know_are_named(describe: Stllm, clips: Path) -> None:
    ran = describe(clips / "a.mp4", "--prompt", "What zebra moves zebra")
    assert "stllm: the model does not know 'zebra': put the question in other words\n" in ran.err


def test_progress_is_told_on_standard_error_only(describe: Stllm, clips: Path) -> None:
    ran = describe(clips, "--json")
    assert "stllm: describing: 3/3" in ran.err
    assert "describing" not in ran.out


def test_second_run_describes_only_what_is_missing(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    describe(clips / "a.mp4", "--output", output)
    first = output.read_bytes()
    ran = describe(clips, "--output", output)
    assert ran.code == 0, ran.err
    assert f"{output}: going on after 1 description\n" in ran.err
    assert output.read_bytes().startswith(first)
    assert len(output.read_text(encoding="utf-8").splitlines()) == 3


def test_finished_output_is_left_as_it_is(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    describe(clips, "--output", tmp_path / "out.jsonl")
    first = (tmp_path / "out.jsonl").read_bytes()
    assert describe(clips, "--output", tmp_path / "out.jsonl").code == 0
    assert (tmp_path / "out.jsonl").read_bytes() == first


def test_output_of_another_question_is_refused(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    describe(clips / "a.mp4", "--output", output)
    ran = describe(clips / "a.mp4", "--output", output, "--prompt", "What moves?")
    assert ran.code == 2
    assert "prompt was 'Describe the video.', is 'What moves?'" in ran.err


def test_overwriting_begins_anew(describe: Stllm, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    describe(clips, "--output", output)
    assert describe(clips / "a.mp4", "--output", output, "--overwrite", "--prompt", "What moves?").code == 0
    assert len(output.read_text(encoding="utf-8").splitlines()) == 1


def test_drawn_answers_follow_the_seed(describe: Stllm, clips: Path) -> None:
    def drawn(seed: str) -> str:
        return describe(clips / "a.mp4", "--json", "--temperature", "3", "--seed", seed).out

    assert drawn("1") == drawn("1")
    assert len({drawn(seed) for seed in "12345"}) > 1


def test_an_answer_that_is_drawn_as_one_watches_is_the_same(describe: Stllm, clips: Path) -> None:
    drawn = (clips / "a.mp4", "--temperature", "3", "--top-p", "0.9", "--seed", "1")
    watched = describe(*drawn)
    assert watched.code == 0
    assert watched.out.strip() == json.loads(describe(*drawn, "--json").out)["text"]


def start(clips: Path, micro: Path, output: Path) -> subprocess.Popen[str]:
    asked = ["describe", clips, "--every", "0.4", "--model", micro, *SHORT, "--output", output]
    command = [sys.executable, "-m", "st_llm_cli", *map(str, asked)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, text=True)


def wait_for_bytes(process: subprocess.Popen[str], output: Path, size: int) -> None:
    """Wait until an output has so many bytes, or its writer is gone."""
    while process.poll() is None and (not output.exists() or output.stat().st_size < size):
        time.sleep(0.005)


@pytest.mark.slow
def test_kill_and_repeat_gives_an_undisturbed_runs_bytes(clips: Path, micro: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    undisturbed = start(clips, micro, whole)
    _, said = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, said
    for share in (0.3, 0.7):
        process = start(clips, micro, cut)
        wait_for_bytes(process, cut, int(whole.stat().st_size * share))
        assert process.poll() is None, "nothing left to kill"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(clips, micro, cut)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_interrupt_leaves_with_130_and_says_how_to_go_on(clips: Path, micro: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    process = start(clips, micro, output)
    wait_for_bytes(process, output, 1)
    assert process.poll() is None, "nothing left to interrupt"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process in the foreground
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"so far are in {output}, the same command goes on" in said


def test_closed_pipe_is_no_error_worth_words() -> None:
    asked = f"'{sys.executable}' -m st_llm_cli recipes show tiny/shapes | head -c 1"
    ran = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""
