"""A user's mistake is answered with one clear message: what, where, what to do. No traceback."""

from pathlib import Path

import pytest

from tests.cli.conftest import Stllm

REAL_CLIP = "a.mp4"


def one_error(stllm: Stllm, *arguments: str | Path, code: int = 1) -> str:
    """The only thing a command says about a mistake."""
    ran = stllm(*arguments)
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.startswith("stllm: error: ")
    return ran.err.removeprefix("stllm: error: ").rstrip("\n")


def test_missing_file(stllm: Stllm, tmp_path: Path) -> None:
    said = one_error(stllm, "describe", tmp_path / "dog.mp4")
    assert said == f"{tmp_path}/dog.mp4: no such file or folder (0 videos are in '{tmp_path}')"


def test_missing_file_with_a_name_that_comes_near(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / "aa.mp4")
    assert said == f"{clips}/aa.mp4: no such file or folder (did you mean '{clips}/a.mp4'?)"


def test_empty_file(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    said = one_error(stllm, "describe", tmp_path / "empty.mp4", "--model", micro)
    assert said.startswith(f"{tmp_path}/empty.mp4: ")
    assert "empty" in said


def test_text_that_is_called_a_video(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    (tmp_path / "notes.mp4").write_text("Buy milk.\n" * 100, encoding="utf-8")
    said = one_error(stllm, "describe", tmp_path / "notes.mp4", "--model", micro)
    assert said.startswith(f"{tmp_path}/notes.mp4: ")
    assert "not a video" in said


def test_sound_without_pictures(stllm: Stllm, micro: Path) -> None:
    path = Path(__file__).parents[1] / "data" / "videos" / "audio_only.mp4"
    said = one_error(stllm, "describe", path, "--model", micro)
    assert said.startswith(f"{path}: ")
    assert "no video stream" in said or "no pictures" in said


def test_folder_without_videos(stllm: Stllm, tmp_path: Path) -> None:
    said = one_error(stllm, "describe", tmp_path)
    assert said.startswith(
        f"{tmp_path}: no video in this folder or below (videos are known by their endings: "
    )


def test_end_before_start(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--start", "5", "--end", "2", code=2)
    assert said == "--end: the end, 2 s, is not after the start, 5 s (raise --end or lower --start)"


def test_start_behind_the_end_of_the_clip(stllm: Stllm, clips: Path, micro: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--start", "1:00", "--model", micro)
    assert said.startswith(f"{clips}/{REAL_CLIP}: ")
    assert "ends after" in said
    assert "60" in said


def test_time_that_is_none(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--start", "noon", code=2)
    assert said == "--start: 'noon' is not a time (write 12.5, 1:30 or 1:02:03)"


@pytest.mark.parametrize(
    ("model", "near"), [("tinny", "; did you mean 'tiny'?"), ("no/such/folder/here", "")]
)
def test_unknown_model(stllm: Stllm, clips: Path, model: str, near: str) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--model", model)
    assert said.startswith(f"--model: no model '{model}'{near} (give a bundled model")


def test_folder_that_is_no_model(stllm: Stllm, clips: Path, tmp_path: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--model", tmp_path)
    assert str(tmp_path) in said
    assert "config.json" in said


def test_damaged_weights(stllm: Stllm, clips: Path, micro: Path, tmp_path: Path) -> None:
    copy = copy_of(micro, tmp_path / "damaged")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--model", copy)
    assert "model.safetensors" in said
    assert "damaged" in said or "cut short" in said


def copy_of(folder: Path, copy: Path) -> Path:
    import shutil

    shutil.copytree(folder, copy)
    return copy


def test_unknown_format(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips, "--format", "jsnl", code=2)
    assert said == "--format: unknown format 'jsnl' (did you mean 'jsonl'?)"


def test_subtitles_of_several_videos(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips, "--format", "srt", code=2)
    assert said == (
        "--format: srt holds the subtitles of one video, 3 were given"
        " (describe one video at a time, or use --format jsonl)"
    )


def test_json_and_another_format(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips, "--json", "--format", "csv", code=2)
    assert said == "--json: --json contradicts --format csv (give one of them)"


def test_unknown_reader(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--reader", "ffmpeg", code=2)
    assert "unknown reader 'ffmpeg'" in said
    assert "pyav, torchcodec, decord" in said


def test_unknown_device(stllm: Stllm, clips: Path, micro: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--model", micro, "--device", "gpu", code=2)
    assert "'gpu'" in said


def test_unknown_dtype(stllm: Stllm, clips: Path, micro: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--model", micro, "--dtype", "fp16", code=2)
    assert "'fp16'" in said
    assert "float16" in said


def test_output_in_a_folder_that_is_not_there(stllm: Stllm, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "nowhere" / "out.jsonl"
    said = one_error(stllm, "describe", clips, "--output", output, code=2)
    assert said == f"{output}: cannot be written: No such file or directory (choose another --output)"


def test_output_that_is_someone_elses(stllm: Stllm, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "thesis.txt"
    output.write_text("important", encoding="utf-8")
    said = one_error(stllm, "describe", clips, "--output", output, code=2)
    assert said == (
        f"{output}: exists, and is not the work of an earlier `stllm describe`"
        " (choose another --output, or add --overwrite)"
    )
    assert output.read_text(encoding="utf-8") == "important"


def test_share_without_drawing(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--top-p", "0.9", code=2)
    assert said == (
        "--top-p: needs --temperature above 0; without it no words are drawn (add --temperature 0.7)"
    )


def test_manifest_without_videos(stllm: Stllm, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name\na.mp4\n", encoding="utf-8")
    said = one_error(stllm, "describe", tmp_path / "list.csv")
    assert said == f"{tmp_path}/list.csv, line 2: names no video (give it a 'video')"


RECIPES = {
    "is a list": ("- train: {}\n", "is a list, a recipe is a mapping (write the keys "),
    "is not YAML": ("video: {num_frames: 8\n", "line 2, column 1: is not valid YAML: "),
    "has a wrong key": (
        "video: {num_frame: 8}\nmodel: {checkpoint: tiny}\nstages: []\n",
        "line 1, video.num_frame: unknown key; did you mean 'num_frames'?",
    ),
    "is empty": ("", "is empty (a recipe is a mapping with the keys "),
}


@pytest.mark.parametrize("case", RECIPES)
@pytest.mark.parametrize("command", [("recipes", "check"), ("recipes", "show"), ("train",)], ids=" ".join)
def test_recipe_that(stllm: Stllm, tmp_path: Path, case: str, command: tuple[str, ...]) -> None:
    text, expected = RECIPES[case]
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    said = one_error(stllm, *command, path)
    assert said.startswith(str(path))
    assert expected in said


def test_missing_recipe(stllm: Stllm) -> None:
    said = one_error(stllm, "train", "tiny/shpaes")
    assert said == (
        "tiny/shpaes: no such recipe, as a file or as a bundled one (did you mean 'tiny/shapes'?)"
    )


def test_demo_folder_that_is_a_file(stllm: Stllm, tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    said = one_error(stllm, "demo", tmp_path / "demo")
    assert said.startswith(f"{tmp_path}/demo: cannot write here: ")


def test_unknown_option_is_wrong_usage(stllm: Stllm) -> None:
    ran = stllm("describe", "a.mp4", "--promt", "x")
    assert ran.code == 2
    assert "--promt" in ran.err
    assert "--prompt" in ran.err, "names the option that comes near"
