"""A user's mistake is answered with one clear message: what, where, what to do. No traceback."""

import random
import subprocess
import sys
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
    assert said == f"{tmp_path}/dog.mp4: no such file or folder (check the path; no video is in '{tmp_path}')"


def test_missing_file_with_a_name_that_comes_near(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / "aa.mp4")
    assert said == f"{clips}/aa.mp4: no such file or folder (did you mean '{clips}/a.mp4'?)"


def test_empty_file(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    said = one_error(stllm, "describe", tmp_path / "empty.mp4", "--model", micro)
    assert said == f"{tmp_path}/empty.mp4: the file is empty (0 bytes) (download or copy it again)"


def test_text_that_is_called_a_video(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    (tmp_path / "notes.mp4").write_text("Buy milk.\n" * 100, encoding="utf-8")
    said = one_error(stllm, "describe", tmp_path / "notes.mp4", "--model", micro)
    assert said == (
        f"{tmp_path}/notes.mp4: is not a video, it begins like a text (download the video itself)"
    )


@pytest.mark.parametrize("command", ["describe", "chat"])
def test_bad_files_are_refused_before_torch_is_loaded(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("Buy milk.\n", encoding="utf-8")
    (tmp_path / "noise.mp4").write_bytes(random.Random(0).randbytes(100_000))
    (tmp_path / "nothing").mkdir()
    videos = Path(__file__).parents[1] / "data" / "videos"
    program = (
        "import sys\nfrom st_llm_cli.cli.main import main\n"
        "for given in sys.argv[1:]:\n"
        f"    try: main(['{command}', given])\n"
        "    except SystemExit as left: assert left.code == 1, given\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    ours = ("missing.mp4", "empty.mp4", "notes.mp4", "noise.mp4", "nothing")
    bad = [str(tmp_path / name) for name in ours]
    bad += [str(videos / name) for name in ("audio_only.mp4", "cover_art.mp4", "html.mp4", "zero.mp4")]
    asked = [sys.executable, "-c", program, *bad]
    ran = subprocess.run(asked, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("stllm: error: ") == len(bad)


def test_several_videos_none_of_which_is_one(stllm: Stllm, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    ran = stllm("describe", tmp_path)
    assert ran.code == 1
    first, *errors = ran.err.splitlines()
    assert first == "stllm: 2 of 2 videos could not be described:"
    assert [line.split(": ")[2] for line in errors] == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4"]


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
    assert "60.0 s" in said


def test_time_that_is_none(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--start", "noon", code=2)
    assert said == "--start: 'noon' is not a time (write 12.5, 1:30 or 1:02:03)"


@pytest.mark.parametrize(
    ("model", "near"), [("tinny", "; did you mean 'tiny'?"), ("no/such/folder/here", "")]
)
def test_unknown_model(stllm: Stllm, clips: Path, model: str, near: str) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--model", model)
    assert said.startswith(f"no model '{model}'{near} (give a bundled model")


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
        "tiny/shpaes: no such recipe, as a file or as a bundled one "
        "(did you mean 'tiny/shapes' or 'tiny/rich'?)"
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


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--repetition-penalty", "nan", "--repetition-penalty: is not a number above 0"),
        ("--repetition-penalty", "inf", "--repetition-penalty: is not a number above 0"),
        ("--repetition-penalty", "0", "--repetition-penalty: is not a number above 0"),
        ("--temperature", "inf", "--temperature: inf is not a number"),
        ("--seed", "99999999999999999999999", "--seed: 99999999999999999999999 is too large"),
        ("--format", "", "--format: unknown format ''"),
        ("--num-beams", "65", "--num-beams: 65 does not work (give 1 to 64)"),
        ("--every", "0.05", "--every: 0.05 s are too short a part (give at least 0.1 s)"),
    ],
)
def test_value_out_of_range(stllm: Stllm, clips: Path, option: str, value: str, expected: str) -> None:
    assert one_error(stllm, "describe", clips / REAL_CLIP, option, value, code=2).startswith(expected)


def test_output_that_is_an_input(stllm: Stllm, clips: Path, tmp_path: Path) -> None:
    video = tmp_path / "in.mp4"
    video.write_bytes((clips / REAL_CLIP).read_bytes())
    link = tmp_path / "link.mp4"
    link.symlink_to(video)
    for source, output in ((video, video), (video, link), (link, video), (tmp_path, video)):
        said = one_error(stllm, "describe", source, "--output", output, "--overwrite", code=2)
        assert said.startswith(f"--output {output}: is among the inputs: ")
    assert video.read_bytes() == (clips / REAL_CLIP).read_bytes()


def test_output_that_is_a_folder(stllm: Stllm, clips: Path, tmp_path: Path) -> None:
    for output in (tmp_path, ""):
        said = one_error(stllm, "describe", clips / REAL_CLIP, "--output", output, code=2)
        assert "is a folder (name a file in it" in said


@pytest.mark.parametrize("overwrite", [True, False])
def test_mistyped_model_costs_no_output(
    stllm: Stllm, clips: Path, tmp_path: Path, micro: Path, overwrite: bool
) -> None:
    output = tmp_path / "out.txt"
    if overwrite:
        output.write_text("of an earlier run", encoding="utf-8")
    flags = ["--overwrite"] if overwrite else []
    one_error(stllm, "describe", clips / REAL_CLIP, "--model", "no/such/here", "--output", output, *flags)
    assert output.exists() == overwrite
    assert not overwrite or output.read_text(encoding="utf-8") == "of an earlier run"
    again = stllm("describe", clips / REAL_CLIP, "--model", micro, "--output", output, *flags)
    assert again.code == 0, again.err


@pytest.fixture(scope="module")
def short_sighted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells eight frames apart."""
    from tests.micro import write_micro_checkpoint

    return write_micro_checkpoint(tmp_path_factory.mktemp("short_sighted"), context=64)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("frames", ["22", "20"], ids=["alone", "with the question"])
def test_more_frames_than_the_model_reads(
    stllm: Stllm, clips: Path, short_sighted: Path, form: list[str], frames: str
) -> None:
    # 3 tokens a frame and 64 positions: 22 frames never fit, 20 do not with a question and an answer.
    asked = ("describe", clips / REAL_CLIP, "--model", short_sighted, "--frames", frames)
    said = one_error(stllm, *asked, "--max-new-tokens", "4", *form, code=2)
    assert said.startswith("--frames: ")
    assert ("reads 21 at most" in said) == (frames == "22")


def test_question_longer_than_the_model_reads(stllm: Stllm, clips: Path, short_sighted: Path) -> None:
    asked = ("describe", clips / REAL_CLIP, "--model", short_sighted, "--max-new-tokens", "4")
    said = one_error(stllm, *asked, "--prompt", "What moves? " * 20, code=2)
    assert said.startswith("question: ")
    assert said.endswith(" are more than the 64 the language model reads (ask in fewer words)")


def test_released_answers_have_no_limit(stllm: Stllm, clips: Path, short_sighted: Path) -> None:
    asked = ("describe", clips / REAL_CLIP, "--model", short_sighted, "--max-new-tokens", "4")
    ran = stllm(*asked, "--frames", "22", "--compat", "released")
    assert ran.code == 0, ran.err


def test_rate_that_gives_more_frames_than_the_model_reads(
    stllm: Stllm, clips: Path, short_sighted: Path
) -> None:
    asked = (
        "describe",
        clips / REAL_CLIP,
        "--model",
        short_sighted,
        "--fps",
        "1e9",
        "--max-new-tokens",
        "4",
    )
    said = one_error(stllm, *asked, code=2)
    assert said.startswith("--fps: ")
    assert "gives more than the 21 frames that this model reads" in said


def test_answer_longer_than_the_model_writes(stllm: Stllm, clips: Path, short_sighted: Path) -> None:
    asked = ("describe", clips / REAL_CLIP, "--model", short_sighted, "--max-new-tokens", "100000000")
    assert one_error(stllm, *asked, code=2).startswith("--max-new-tokens: 100000000 new tokens, and ")


def test_empty_name_is_not_the_folder_one_stands_in(stllm: Stllm) -> None:
    assert one_error(stllm, "describe", "").startswith("an empty name (")


def test_empty_question(stllm: Stllm, clips: Path) -> None:
    said = one_error(stllm, "describe", clips / REAL_CLIP, "--prompt", " ", code=2)
    assert said == "--prompt: an empty question (ask something, or leave it out for a description)"


def test_link_that_leads_nowhere(stllm: Stllm, tmp_path: Path) -> None:
    loop = tmp_path / "selfloop.mp4"
    loop.symlink_to(loop)
    said = one_error(stllm, "describe", loop)
    assert said == f"{loop}: a link that leads nowhere (mend or remove the link)"


def test_address(stllm: Stllm) -> None:
    said = one_error(stllm, "describe", "https://example.org/dog.mp4")
    assert said.startswith("https://example.org/dog.mp4: an address, and addresses are not read (")
