import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Stllm


@pytest.fixture
def extract(stllm: Stllm, micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stllm:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Ran:
        return stllm("extract-features", *arguments, "--model", micro, "--cache", tmp_path / "cache")

    return run


@pytest.fixture
def with_a_bad_one(clips: Path, tmp_path: Path) -> Path:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    manifest = tmp_path / "list.txt"
    manifest.write_text(f"{clips / 'a.mp4'}\n{bad}\n{clips / 'b.webm'}\n")
    return manifest


def test_clips_are_encoded_once(extract: Stllm, clips: Path) -> None:
    first, second = extract(clips), extract(clips)
    assert first.code == second.code == 0, first.err
    assert first.out.startswith("3 clips encoded (4.6 KB), 0 were there, in ")
    assert second.out.startswith("0 clips encoded (0 B), 3 were there, in ")
    assert re.search(r"extracting: 3/3, [\d.]+/(s|min), 4\.6 KB in \d", first.err), "rate, bytes and time"


def test_describing_finds_what_was_extracted(
    extract: Stllm, stllm: Stllm, clips: Path, micro: Path, tmp_path: Path
) -> None:
    extract(clips)
    options = ("--model", micro, "--cache", tmp_path / "cache", "--max-new-tokens", "2", "--json")
    assert "cache: 3 hits, 0 misses" in stllm("describe", clips, *options).err


def test_describing_at_a_rate_finds_what_was_extracted_at_it(
    extract: Stllm, stllm: Stllm, clips: Path, micro: Path, tmp_path: Path
) -> None:
    extract(clips, "--fps", "2")
    options = ("--model", micro, "--cache", tmp_path / "cache", "--max-new-tokens", "2", "--fps", "2")
    assert "cache: 3 hits, 0 misses" in stllm("describe", clips, *options).err


def test_bad_clip_is_skipped_and_written_down(extract: Stllm, with_a_bad_one: Path, tmp_path: Path) -> None:
    ran = extract(with_a_bad_one, "--json")
    assert ran.code == 0, ran.err
    summary = json.loads(ran.out)
    assert (summary["encoded"], summary["skipped"], summary["ledger"]) == (2, 1, "skipped.jsonl")
    (row,) = map(json.loads, (tmp_path / "skipped.jsonl").read_text().splitlines())
    assert (row["file"], row["kind"]) == (str(tmp_path / "bad.mp4"), "NotAVideoError")


def test_run_without_a_failure_leaves_no_ledger(extract: Stllm, clips: Path, tmp_path: Path) -> None:
    extract(clips)
    assert not (tmp_path / "skipped.jsonl").exists()


WRONG_LEDGERS = {
    "list.txt": "is among the inputs: list.txt",
    "notes.jsonl": "does not say that it is a ledger",
    "folder": "is a folder",
    "none/skipped.jsonl": "cannot be written: No such file or directory",
}


@pytest.mark.parametrize("given", WRONG_LEDGERS)
def test_ledger_that_must_not_be_written_is_refused_before_anything_is_loaded(
    given: str, stllm: Stllm, with_a_bad_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jsonl").write_text("{}\n")
    (tmp_path / "folder").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ran = stllm("extract-features", "list.txt", "--skipped", given, "--model", "no such model")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"stllm: error: --skipped {given}: ")
    assert WRONG_LEDGERS[given] in ran.err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_failure_ends_the_run_where_asked(extract: Stllm, with_a_bad_one: Path) -> None:
    ran = extract(with_a_bad_one, "--on-error", "fail")
    assert ran.code == 1
    assert "bad.mp4" in ran.err
    ran = extract(with_a_bad_one, "--max-failures", "0")
    assert ran.code == 1
    assert "1 clips failed, and at most 0 may" in ran.err


def test_nothing_but_failures_is_a_failure(extract: Stllm, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    assert extract(tmp_path / "bad.mp4").code == 1


def test_check_names_the_bad_ones_without_a_model(stllm: Stllm, with_a_bad_one: Path, tmp_path: Path) -> None:
    ran = stllm("extract-features", with_a_bad_one, "--check", "--model", "no such model")
    assert ran.code == 1
    assert ran.out.startswith(f"{tmp_path / 'bad.mp4'}: is not a video")
    assert "2 of 3 clips are sound" in ran.err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_check_spells_a_file_name_that_is_no_text(
    options: tuple[str, ...], stllm: Stllm, tmp_path: Path
) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_text("no video")
    assert r"\xe9.mp4" in stllm("extract-features", tmp_path, "--check", *options).out


def test_dry_run_says_what_it_would_take_and_does_nothing(
    extract: Stllm, clips: Path, tmp_path: Path
) -> None:
    ran = extract(clips, "--dry-run")
    assert ran.code == 0, ran.err
    assert "clips      3 (3 tried out)\nframes     12\non disk    4.6 KB\n" in ran.out
    assert re.search(r"^time       \d+ s$", ran.out, re.MULTILINE)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert json.loads(extract(clips, "--dry-run", "--json").out)["frames"] == 12


def test_shares_complete_each_other(extract: Stllm, clips: Path) -> None:
    ran = extract(clips, "--shard", "1/2")
    assert ran.out.startswith("2 clips encoded")
    assert "share 1 of 2 (--shard): 2 of 3 clips" in ran.err
    assert extract(clips, "--shard", "2/2").out.startswith("1 clips encoded")
    assert extract(clips).out.startswith("0 clips encoded (0 B), 3 were there")


def test_ledger_of_a_share_has_its_own_name(extract: Stllm, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    extract(tmp_path / "bad.mp4", "--shard", "1/2")
    assert (tmp_path / "skipped-1of2.jsonl").exists()


def test_wrong_words_are_refused(extract: Stllm, clips: Path) -> None:
    for arguments, message in (
        (("--on-error", "panic"), "--on-error: unknown choice 'panic' (skip or fail)"),
        (("--shard", "3/2"), "--shard: '3/2' is not a share (write 2/8 for the second of 8)"),
    ):
        ran = extract(clips, *arguments)
        assert (ran.code, ran.err) == (2, f"stllm: error: {message}\n")


def test_cache_turned_off_is_refused(stllm: Stllm, clips: Path, micro: Path) -> None:
    ran = stllm("extract-features", clips, "--model", micro, "--cache", "off")
    assert ran.code == 2
    assert "filling it is all this command does" in ran.err


def test_recipe_names_its_model_and_its_clips(
    stllm: Stllm, micro: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = [{"video": name, "question": "What?", "answer": "red"} for name in ("a.mp4", "b.webm")]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, entries)))
    stage = {"name": "answers", "steps": 1, "batch_size": 1, "freeze": ["vision", "qformer"]}
    stage["data"] = [{"jsonl": {"annotations": "data.jsonl", "media": str(clips)}}]
    recipe = {"model": {"checkpoint": str(micro)}, "stages": [{"train": stage}]}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    ran = stllm("extract-features", "recipe.yaml", "--cache", "cache")
    assert ran.out.startswith("2 clips encoded"), ran.err
    half = stllm("extract-features", "recipe.yaml", "--cache", "cache", "--shard", "2/2")
    assert half.out.startswith("0 clips encoded (0 B), 1 were there")


WRONG_WITH_A_RECIPE = {
    "stands alone": ("recipe.yaml", "videos"),
    "says itself which frames it looks at": ("recipe.yaml", "--frames", "4"),
}


@pytest.mark.parametrize("said", WRONG_WITH_A_RECIPE)
def test_what_does_not_go_with_a_recipe_is_refused(extract: Stllm, said: str) -> None:
    ran = extract(*WRONG_WITH_A_RECIPE[said])
    assert ran.code == 2
    assert said in ran.err


def test_a_new_model_of_a_recipe_is_not_extracted_with(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("extract-features", "wide.yaml", "--cache", tmp_path / "cache")
    assert ran.code == 2
    assert "the recipe makes a new model, which knows nothing yet (train it, and name the run)" in ran.err


@pytest.fixture
def benchmark(clips: Path, tmp_path: Path) -> Path:
    """A benchmark of two questions about one of two clips."""
    folder = tmp_path / "Vino"
    (folder / "vinoground_videos").mkdir(parents=True)
    for name in ("a.mp4", "b.webm"):
        shutil.copy(clips / name, folder / "vinoground_videos" / name)
    rows = [
        {"idx": f"0_{half}", "video_name": "a.mp4", "question": "Which?\n(A) x\n(B) y", "GT": "A"}
        for half in ("pos", "neg")
    ]
    (folder / "vinoground_textscore.json").write_text(json.dumps(rows))
    return folder


def test_a_benchmark_is_known_by_its_layout(extract: Stllm, benchmark: Path) -> None:
    ran = extract(benchmark)
    assert ran.out.startswith("1 clips encoded"), ran.err
    assert f"{benchmark}: taken as --bench vinoground, by its layout" in ran.err
    assert extract(f"{benchmark}/**/*.*").out.startswith("1 clips encoded (1.5 KB), 1 were there")


def test_a_folder_laid_out_as_two_benchmarks_are_is_refused(extract: Stllm, tmp_path: Path) -> None:
    (tmp_path / "some" / "json").mkdir(parents=True)
    (tmp_path / "some" / "json" / "action_count.json").write_text("[]")
    ran = extract("some/")
    assert ran.code == 2
    said = "some/: laid out as 2 benchmarks are (add --bench mvbench or --bench tvbench; or name its videos"
    assert f"{said} alone: 'some/**/*.mp4')" in ran.err


def test_check_reads_the_clips_of_a_benchmark_and_of_a_recipe(
    stllm: Stllm, benchmark: Path, tmp_path: Path
) -> None:
    assert "1 of 1 clips are sound" in stllm("extract-features", benchmark, "--check").err
    (benchmark / "vinoground_videos" / "a.mp4").write_text("no video")
    bad = stllm("extract-features", benchmark, "--check", "--json")
    assert bad.code == 1
    assert json.loads(bad.out)["file"] == str(benchmark / "vinoground_videos" / "a.mp4")
    stage = {"bench": "vinoground", "data": str(benchmark)}
    recipe = {"model": {"checkpoint": "tiny"}, "stages": [{"eval": stage}]}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    ran = stllm("extract-features", tmp_path / "recipe.yaml", "--check")
    assert ran.code == 1
    assert "0 of 1 clips are sound" in ran.err


def test_missing_clips_of_a_benchmark_are_named_by_the_command_that_is_hinted_at(
    extract: Stllm, stllm: Stllm, benchmark: Path, tmp_path: Path
) -> None:
    folder = benchmark.rename(tmp_path / "my Vino")
    hint = f"stllm eval --bench vinoground --data '{folder}' --check"
    annotations = folder / "vinoground_textscore.json"
    row = {"idx": "1_pos", "video_name": "none.mp4", "question": "Which?\n(A) x\n(B) y", "GT": "A"}
    annotations.write_text(json.dumps([*json.loads(annotations.read_text()), row]))
    assert f"1 clips of the benchmark are missing; `{hint}` lists them" in extract(folder).err
    (folder / "vinoground_videos" / "a.mp4").unlink()
    assert f"(`{hint}` says where they are looked for)" in extract(folder).err
    hinted = stllm(*shlex.split(hint)[1:])
    assert hinted.code == 1
    assert str(folder / "vinoground_videos" / "a.mp4") in hinted.out
