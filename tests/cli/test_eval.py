"""`stllm eval` as a user meets it."""

import json
from pathlib import Path

import pytest

from st_llm_cli.stages.drawn_shapes import CLIPS
from tests.bench.golden import mini_folder
from tests.cli.conftest import Ran, Stllm
from tests.stages.judge_server import Script, judge_server, status

MINI = mini_folder()


@pytest.fixture
def evaluate(stllm: Stllm, micro: Path, tmp_path: Path) -> Stllm:
    def run(*arguments: str | Path) -> Ran:
        cache, quick = (
            ("--cache", tmp_path / "cache"),
            () if "--pictures" in arguments else ("--pictures", "0"),
        )
        return stllm("eval", *arguments, "--model", micro, *cache, *quick, "--output", tmp_path / "run")

    return run


def test_list_names_every_benchmark(stllm: Stllm) -> None:
    ran = stllm("eval", "--list")
    assert ran.code == 0
    assert "mvbench" in ran.out and "--data: " in ran.out
    listed = json.loads(stllm("eval", "--list", "--json").out)
    assert [row["name"] for row in listed][:2] == ["mvbench", "tvbench"]


def test_table_shows_both_scorers_and_what_they_cover(evaluate: Stllm, tmp_path: Path) -> None:
    ran = evaluate("--bench", "tvbench", "--data", MINI / "tvbench", "--pictures", "9")
    assert ran.code == 0, ran.err
    assert "strict" in ran.out and "released" in ran.out
    assert "all questions (micro)" in ran.out and "mean of tasks (macro)" in ran.out
    assert "covers 20 of 20 questions" in ran.out
    assert "some replies as they were" in ran.err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "environment.json",
        "predictions.jsonl",
        "report.html",
        "scores.csv",
        "scores.json",
        "scores.tex",
        "settings.json",
        "strips.jsonl",
    }
    assert "the whole report, with every answer: " in ran.err


def test_rich_world_is_drawn_by_default_and_says_what_needs_no_order(
    evaluate: Stllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIPS, "rich", 1)
    shapes = ("--bench", "shapes", "--data", tmp_path / "shapes")
    ran = evaluate(*shapes, "--frames", "8")
    assert ran.code == 0, ran.err
    assert "drawing clips to ask about: 1/1" in ran.err
    (line,) = [line for line in ran.out.splitlines() if "moving_attribute" in line]
    assert line.split("│")[-2].strip() == "25.0" and "no order: best possible" in ran.out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["ceilings"]["moving_attribute"]["order_blind"] == 0.25
    assert "ceiling,moving_attribute: order-blind,,1,25.0" in (tmp_path / "run" / "scores.csv").read_text()
    again = evaluate(*shapes, "--frames", "8", "--json")
    assert again.code == 0 and "drawing clips to ask" not in again.err
    refused = evaluate(*shapes, "--world", "plain")
    assert refused.code == 2 and "holds clips of the rich world" in refused.err


def test_plain_world_says_what_needs_no_order_too(
    evaluate: Stllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIPS, "plain", 1)
    shapes = ("--bench", "shapes", "--data", tmp_path / "shapes")
    ran = evaluate(*shapes, "--world", "plain", "--frames", "8")
    assert ran.code == 0, ran.err
    (line,) = [line for line in ran.out.splitlines() if " color " in line]
    assert line.split("│")[-2].strip() == "100.0" and "no order: best possible" in ran.out


def test_clips_that_cannot_be_read_are_named(evaluate: Stllm, clips: Path, tmp_path: Path) -> None:
    row = {"question": "q", "candidates": ["a", "b"], "answer": "a", "task": "t"}
    names = ("a.mp4", "text.mp4", "more.mp4")
    for name in names[1:]:
        (tmp_path / name).write_text("no video")
    (tmp_path / "a.mp4").write_bytes((clips / "a.mp4").read_bytes())
    rows = [{**row, "id": f"{name}{turn}", "video": name} for turn in range(2) for name in names]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    ran = evaluate("--bench", "custom", "--data", tmp_path / "own.jsonl")
    assert ran.code == 0, ran.err
    (line,) = [line for line in ran.err.splitlines() if "clips, the first" in line]
    assert line.startswith("stllm: 2 of 3 clips, the first: ") and "text.mp4: NotAVideoError: " in line


def test_folder_of_other_things_is_refused_before_a_model_is_loaded(stllm: Stllm, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    asked = ("--bench", "tvbench", "--data", MINI / "tvbench", "--model", tmp_path / "nowhere")
    ran = stllm("eval", *asked, "--output", tmp_path)
    assert ran.code == 2 and f"{tmp_path}: exists, and is not a run folder (choose another" in ran.err
    assert (tmp_path / "report.html").read_text() == "mine"


def test_json_is_the_scores_file(evaluate: Stllm, tmp_path: Path) -> None:
    ran = evaluate("--bench", "tvbench", "--data", MINI / "tvbench", "--json", "--limit", "4")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == json.loads((tmp_path / "run" / "scores.json").read_text())
    assert json.loads(ran.out)["coverage"]["label"] == "4 of 20 questions; limited to 4"


def test_second_run_needs_no_clip(evaluate: Stllm) -> None:
    arguments = ("--bench", "tvbench", "--data", MINI / "tvbench", "--json")
    first, second = evaluate(*arguments), evaluate(*arguments)
    assert first.out == second.out
    assert "cache: " in first.err and "cache: " not in second.err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mvbench", "tempcompass", "vcgbench", "msvd", "msrvtt", "activitynet"])
def test_every_kind_of_benchmark_runs(name: str, evaluate: Stllm) -> None:
    ran = evaluate("--bench", name, "--data", MINI / name, "--limit", "6", "--max-new-tokens", "3", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["coverage"]["selected"] >= 6


@pytest.mark.parametrize("way", [("--answer", "generate"), ("--released",)])
def test_written_answers(way: tuple[str, ...], evaluate: Stllm, tmp_path: Path) -> None:
    arguments = ("--bench", "mvbench", "--data", MINI / "mvbench", "--limit", "2", "--max-new-tokens", "3")
    ran = evaluate(*arguments, *way, "--json")
    assert ran.code == 0, ran.err
    lines = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["option"] for line in lines] == [None, None]


def test_check_of_a_whole_benchmark(stllm: Stllm) -> None:
    ran = stllm("eval", "--bench", "mvbench", "--data", MINI / "mvbench", "--check")
    assert (ran.code, ran.out) == (0, "60 of 60 questions can be asked\n")


def test_check_says_what_is_missing_where_and_from(stllm: Stllm, tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    row = {"video": "S1.avi", "question": "q", "candidates": ["a", "b"], "answer": "a"}
    (tmp_path / "json" / "fine_grained_pose.json").write_text(json.dumps([row, {**row, "answer": "c"}]))
    ran = stllm("eval", "--bench", "mvbench", "--data", tmp_path, "--check")
    assert ran.code == 1
    assert "0 of 2 questions can be asked" in ran.out
    assert "fine_grained_pose/1: its answer 'c' is none of the candidates" in ran.out
    assert "1 clips missing, from NTU RGB+D" in ran.out
    assert str(tmp_path / "video" / "nturgbd" / "S1.avi") in ran.out
    assert "no questions of Action Count" in ran.out
    found = json.loads(stllm("eval", "--bench", "mvbench", "--data", tmp_path, "--check", "--json").out)
    assert (found["questions"], found["askable"], len(found["missing"])) == (2, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--bench: no benchmark was named"),
        (("--bench", "mvbenhc"), "did you mean 'mvbench'?"),
        (("--bench", "mvbench"), "--data: is needed"),
        (("--bench", "mvbench", "--data", "x", "--answer", "guess"), "unknown way to answer 'guess'"),
        (("--bench", "mvbench", "--data", "x", "--scorer", "stricd"), "did you mean 'strict'?"),
        (
            ("--bench", "mvbench", "--data", "x", "--released", "--answer", "options"),
            "--answer: the released",
        ),
        (("--bench", "mvbench", "--data", "x", "--limit", "0"), "--limit: 0 is not above 0"),
        (("--bench", "mvbench", "--data", "x", "--batch-size", "0"), "--batch-size: 0 is not above 0"),
        (("--bench", "mvbench", "--data", "x", "--prompt-style", "lmms"), "did you mean 'lmms-eval'"),
        (
            ("--bench", "mvbench", "--data", "x", "--prompt-style", "lmms-eval", "--released"),
            "contradicts the released one",
        ),
        (("--bench", "shapes", "--data", "x", "--world", "rihc"), "--world: unknown world 'rihc'"),
        (("--bench", "tvbench", "--data", "x", "--world", "rich"), "--world: 'tvbench' has no worlds"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, stllm: Stllm) -> None:
    ran = stllm("eval", *arguments)
    assert ran.code == 2
    assert message in ran.err and "Traceback" not in ran.err


def test_data_that_cannot_be_used_is_an_error_before_the_model(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("eval", "--bench", "mvbench", "--data", tmp_path, "--model", "no-such-model")
    assert ran.code == 1
    assert "holds no questions" in ran.err and "no-such-model" not in ran.err


@pytest.mark.parametrize("benchmark", ["custom", "mvbench", "msvd"])
def test_data_that_is_not_there_is_said_to_be_missing(benchmark: str, stllm: Stllm, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    ran = stllm("eval", "--bench", benchmark, "--data", file)
    assert ran.code == 1
    assert f"{file}: no such file or folder (check the path, " in ran.err
    assert "holds no questions" not in ran.err


def test_data_that_cannot_be_looked_at_is_an_error(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("eval", "--bench", "mvbench", "--data", tmp_path / ("x" * 300))
    assert ran.code == 1
    assert "xxx: cannot be read: File name too long (check the path, " in ran.err


SHORT = ("--limit", "3", "--max-new-tokens", "2")
JUDGED = ("--bench", "msvd", "--data", MINI / "msvd", *SHORT, "--judge-model", "m")


def test_judge_reads_written_answers(
    evaluate: Stllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    script = Script(usual='{"pred": "no", "score": 2}')
    with judge_server(script) as url:
        ran = evaluate(*JUDGED, "--judge-url", url, "--judge-key-env", "MY_KEY")
        again = evaluate(*JUDGED, "--judge-url", url, "--json")
    assert ran.code == 0, ran.err
    assert "judge m: 13 questions to ask" in ran.err and "judge m: 0 questions to ask" in again.err
    assert "match: 2.00 of 5, 0.0 % the same as the reference; as released accuracy 0.000" in ran.out
    assert "agrees with 5 of 10 known verdicts" in ran.out
    assert script.headers[0]["Authorization"] == "Bearer secret"
    assert json.loads(again.out)["judged"]["criteria"]["match"]["judged"] == 3
    assert "secret" not in (tmp_path / "run" / "judged.json").read_text() + ran.out + ran.err


def test_captions_are_judged_with_their_price_told_before(evaluate: Stllm, tmp_path: Path) -> None:
    captions = ("--bench", "tempcompass", "--data", MINI / "tempcompass", "--tasks", "captioning", *SHORT)
    script = Script({"Description:": ['{"option": "D"}']})
    with judge_server(script) as url:
        named = ("--judge-url", url, "--judge-model", "m", "--judge-price", "1000,0", "--judge-rate", "6000")
        ran = evaluate(*captions, *named)
    assert ran.code == 0, ran.err
    assert "judge m, once the answers are there: 13 questions to ask, about" in ran.err
    assert "caption: 33.3 % let the judge find the right option" in ran.out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "right option" in page and "another option, or none" in page


@pytest.mark.parametrize("price", ["cheap", "1", "1,-2"])
def test_price_that_is_none_is_refused(price: str, evaluate: Stllm) -> None:
    ran = evaluate(*JUDGED, "--judge-url", "http://x/v1", "--judge-price", price)
    assert ran.code == 2 and f"--judge-price: '{price}' is not two prices" in ran.err


def test_without_a_judge_only_what_needs_none_is_shown(evaluate: Stllm, tmp_path: Path) -> None:
    arguments = ("--bench", "vcgbench", "--data", MINI / "vcgbench", "--limit", "3", "--max-new-tokens", "2")
    ran = evaluate(*arguments)
    assert ran.code == 0
    assert "token F1: " in ran.out and "replies are for a judge to read" in ran.out
    assert not (tmp_path / "run" / "judged.json").exists()


def test_judge_that_refuses_the_key_is_an_error_before_the_model(evaluate: Stllm, tmp_path: Path) -> None:
    with judge_server(Script(usual=status(401, b"bad key"))) as url:
        ran = evaluate(*JUDGED, "--judge-url", url)
    assert ran.code == 2
    assert "status 401: bad key" in ran.err and "--judge-key-env" in ran.err
    assert not (tmp_path / "run").exists()


def test_judge_that_is_not_there_is_an_error_before_the_model(evaluate: Stllm, tmp_path: Path) -> None:
    ran = evaluate(*JUDGED, "--judge-url", "http://127.0.0.1:9/v1")
    assert ran.code == 2
    assert "--judge-url: does not reply" in ran.err
    assert not (tmp_path / "run").exists()


def test_judge_needs_address_and_model(stllm: Stllm) -> None:
    ran = stllm("eval", *JUDGED)
    assert ran.code == 2
    assert "--judge-url: is needed to name a judge" in ran.err


def test_controls_and_their_gain(evaluate: Stllm, tmp_path: Path) -> None:
    ran = evaluate("--bench", "tvbench", "--data", MINI / "tvbench", *SHORT, "--control", "blind,reverse")
    assert ran.code == 0, ran.err
    assert "control blind: " in ran.out and "control reverse: " in ran.out
    assert "temporal gain: " in ran.out
    kept = json.loads((tmp_path / "run" / "controls.json").read_text())
    assert set(kept["scores"]) == {"blind", "reverse"}


def test_unknown_control_comes_with_the_near_one(evaluate: Stllm) -> None:
    ran = evaluate("--bench", "tvbench", "--data", MINI / "tvbench", "--control", "revers")
    assert ran.code == 2
    assert "did you mean 'reverse'?" in ran.err


def test_unknown_control_is_refused_before_clips_are_drawn(evaluate: Stllm, tmp_path: Path) -> None:
    ran = evaluate("--bench", "shapes", "--data", tmp_path / "shapes", "--control", "revers")
    assert ran.code == 2 and "did you mean 'reverse'?" in ran.err
    assert not (tmp_path / "shapes").exists()


def test_run_is_not_mixed_with_answers_of_other_weights(stllm: Stllm, micro: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in micro.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    arguments = ("--bench", "tvbench", "--data", MINI / "tvbench", *SHORT, "--cache", "off")
    run = ("eval", *arguments, "--model", model, "--output", tmp_path / "run")
    assert stllm(*run).code == 0
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "image_mean": [0.1, 0.1, 0.1]}))
    ran = stllm(*run)
    assert ran.code == 2
    assert "weights was 'sha256:" in ran.err
