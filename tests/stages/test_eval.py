"""Evaluations with a model that answers by rote: what is asked, kept, resumed and counted."""

import json
import resource
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.sample import Prediction
from st_llm_cli.errors import CacheError, DataError, StllmError, UsageError, VideoError
from st_llm_cli.stages.drawn_shapes import CLIPS
from st_llm_cli.stages.eval import evaluate, join_clips, run
from st_llm_cli.stages.eval_plan import Plan, askable, check_plan, load, missing_media, select
from st_llm_cli.stages.prediction_file import NAME, PredictionFile, read_predictions
from st_llm_cli.stages.question import Answer, Question
from st_llm_cli.video.clip import Clip, Source
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request
from tests.bench.golden import mini_folder

MINI = mini_folder()


def clip_of(path: str, num_frames: int = 2) -> Clip:
    source = Source(path, "pyav", 4, 4, 2.0, num_frames / 2, num_frames, num_frames, 0)
    frames = np.zeros((num_frames, 4, 4, 3), np.uint8)
    return Clip(frames, tuple(range(num_frames)), tuple(n / 2 for n in range(num_frames)), source)


class Rote:
    """Answers the letter that the length of the question gives; cannot read what is named broken."""

    num_frames = 3
    transform = None

    def __init__(self, stop_after: int | None = None, error: type[StllmError] = VideoError) -> None:
        self.asked: list[str] = []
        self.requests: list[Request] = []
        self.options: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.stop_after = stop_after
        self.error = error

    def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        for request in requests:
            self.requests.append(request)
            broken = "broken" in request.path.name
            yield request, self.error("is damaged", where="x") if broken else clip_of(str(request.path))

    def _count(self, question: str) -> int:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(question)
        return len(question)

    def answer_all(self, questions: Sequence[Question], batch_size: int = 1) -> Iterator[Answer]:
        self.batches.append(len(questions))
        for question in questions:
            count = self._count(question.text)
            if question.letters:
                yield count % len(question.letters)
                continue
            options = {"max_new_tokens": question.max_new_tokens, "num_beams": question.num_beams}
            self.options.append({**options, "style": question.style})
            yield f"{'ABC'[count % 3]}) something" if question.style else "It is red." if count % 2 else ""


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def custom(folder: Path, *lines: dict[str, Any]) -> Path:
    for line in lines:
        for name in line.get("videos", [line.get("video")]):
            (folder / name).touch()
    file = folder / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def question(number: int, **other: Any) -> dict[str, Any]:
    row = {"video": f"{number}.mp4", "question": f"q{number}", "candidates": ["a", "b"], "answer": "a"}
    return {**row, "id": f"id{number}", **other}


@pytest.mark.parametrize("answer", ["options", "generate"])
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if (MINI / name).is_dir()])
def test_every_miniature_runs_to_the_end(name: str, answer: str, tmp_path: Path) -> None:
    result = run(Rote(), Plan(name, MINI / name, answer), tmp_path)
    assert len(result.predictions) == len(rows(tmp_path)) == len(BENCHMARKS[name].load(MINI / name).samples)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores == json.loads(json.dumps(result.report.as_json()))
    assert scores["scorers"] or scores["needs_judge"]


def test_predictions_are_sorted_by_id_and_stand_alone(tmp_path: Path) -> None:
    result = run(Rote(), Plan("mvbench", MINI / "mvbench"), tmp_path)
    ids = [row["id"] for row in rows(tmp_path)]
    assert ids == sorted(ids)
    read = read_predictions(tmp_path / NAME)
    told = {each.sample.id: (each.reply, each.sample.answer, each.sample.candidates) for each in read}
    assert told == {
        each.sample.id: (each.reply, each.sample.answer, each.sample.candidates)
        for each in result.predictions
    }


@pytest.mark.parametrize("stop_after", [0, 1, 17, 59])
def test_interrupted_run_goes_on_and_leaves_the_same_bytes(stop_after: int, tmp_path: Path) -> None:
    plan = Plan("mvbench", MINI / "mvbench")
    run(Rote(), plan, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(Rote(stop_after), plan, tmp_path / "cut")
    model = Rote()
    run(model, plan, tmp_path / "cut")
    assert len(model.asked) == 60 - stop_after
    for name in (NAME, "scores.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("size", [1, 40, 200, 2000, 9999])
def test_kill_in_the_middle_of_a_line_costs_that_line_only(size: int, tmp_path: Path) -> None:
    plan = Plan("tvbench", MINI / "tvbench")
    run(Rote(), plan, tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    kept = whole[:size].count(b"\n")
    (tmp_path / NAME).write_bytes(whole[:size])
    model = Rote()
    run(model, plan, tmp_path)
    assert len(model.asked) == whole.count(b"\n") - kept
    assert (tmp_path / NAME).read_bytes() == whole


def test_finished_run_asks_nothing_again(tmp_path: Path) -> None:
    plan = Plan("tvbench", MINI / "tvbench")
    run(Rote(), plan, tmp_path)
    model = Rote()
    run(model, plan, tmp_path)
    assert not model.asked and not model.requests


def test_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path, settings={"model": "one"})
    with pytest.raises(UsageError, match="model was 'one', is 'two'"):
        run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path, settings={"model": "two"})
    with pytest.raises(UsageError, match="num_frames was 3, is 8"):
        run(Rote(), Plan("tvbench", MINI / "tvbench", num_frames=8), tmp_path, settings={"model": "one"})


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_damaged_settings_are_named(damage: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(damage)
    with pytest.raises(
        DataError, match=r"settings\.json: is damaged \(choose another --output, or move this"
    ):
        run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path)


def test_predictions_of_unknown_origin_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("mine")
    with pytest.raises(UsageError, match="nothing that says how they were made"):
        run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path)
    assert (tmp_path / NAME).read_text() == "mine"


@pytest.mark.parametrize(
    "damage",
    [
        "nonsense\n",
        '{"no": "id"}\n',
        '{"id": "a"}\n{"id": "a"}\n',
        "[" * 50_000 + "\n",
    ],
    ids=["no JSON", "no id", "one id twice", "nested too deeply"],
)
def test_damaged_line_is_named(damage: str, tmp_path: Path) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path)
    (tmp_path / NAME).write_text(damage)
    with pytest.raises(
        DataError, match=r"line [12] is damaged \(remove the line, choose another --output, or move this"
    ):
        run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path)


def test_damaged_line_of_a_file_that_is_only_read_leaves_its_question_out(tmp_path: Path) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), tmp_path)
    path = tmp_path / NAME
    whole = path.read_text()
    path.write_text(f"nonsense\n{whole}")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert str(caught.value) == f"{path}: line 1 is damaged (remove the line, which leaves its question out)"
    path.write_text(whole)
    assert len(read_predictions(path)) == 1


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,2\n", b"\0\0\0 ftypisom", b"\0\nmdat\n", b'{\n "benchmark": "t"\n}\n', b'{"id": [1]}\n'],
    ids=["table", "video", "video with line ends", "scores", "id of another type"],
)
def test_file_without_a_prediction_is_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    fix = "give a run's folder or its predictions.jsonl"
    assert str(caught.value) == f"{path}: is not a predictions.jsonl ({fix})"


@pytest.mark.parametrize("content", ["", '{"id": "a", "ta'], ids=["empty", "half a line"])
def test_predictions_of_a_run_that_has_just_begun_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(content)
    assert read_predictions(tmp_path / NAME) == []


def test_question_that_changed_since_is_not_mixed_up(tmp_path: Path) -> None:
    data = custom(tmp_path, question(0), question(1))
    run(Rote(), Plan("custom", data), tmp_path / "run")
    custom(tmp_path, question(0), question(1, answer="b"))
    with pytest.raises(UsageError, match="another question under the id 'id1'"):
        run(Rote(), Plan("custom", data), tmp_path / "run")


def test_clip_that_cannot_be_decoded_is_a_counted_and_named_failure(tmp_path: Path) -> None:
    data = custom(tmp_path, question(0), question(1, video="broken.mp4"), question(2))
    result = run(Rote(), Plan("custom", data), tmp_path / "run")
    assert result.report.coverage.not_decoded == {"id1": "VideoError: is damaged"}
    strict = result.report.scorers["strict"]
    assert (strict.micro.n, strict.rules["not asked"]) == (3, 1)
    assert result.predictions[1] == Prediction(
        result.predictions[1].sample, None, error="VideoError: is damaged"
    )


def test_part_after_the_end_of_its_clip_is_that_questions_failure_and_says_so(tmp_path: Path) -> None:
    row = {**question(0, video="a.mp4"), "start": 50.0, "end": 60.0}
    data = custom(tmp_path, row)
    (tmp_path / "a.mp4").write_bytes((MINI / "tvbench" / "video" / "action_count" / "p079.mp4").read_bytes())

    class Reading(Rote):
        def read_clips(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
            return read_clips(requests, workers=1)

    result = run(Reading(), Plan("custom", data), tmp_path / "run")
    error = "PartOutsideError: ends after 2.0 s, the clip was to start at 50.0 s"
    assert result.report.coverage.not_decoded == {"id0": error}
    assert result.report.coverage.label == (
        "1 of 1 questions; 1 about a part after the end of the clip, counted as wrong"
    )


def test_error_that_is_no_clips_fault_ends_the_run(tmp_path: Path) -> None:
    data = custom(tmp_path, question(1, video="broken.mp4"))
    with pytest.raises(CacheError, match="is damaged"):
        run(Rote(error=CacheError), Plan("custom", data), tmp_path / "run")


def test_questions_about_one_clip_are_asked_in_a_row_of_one_reading(tmp_path: Path) -> None:
    same = {"video": "0.mp4"}
    data = custom(tmp_path, question(0), question(1), question(2, **same), question(3, **same, start=1.0))
    model = Rote()
    run(model, Plan("custom", data), tmp_path / "run")
    assert [(request.path.name, request.start) for request in model.requests] == [
        ("0.mp4", None),
        ("1.mp4", None),
        ("0.mp4", 1.0),
    ]
    assert [text[:12] for text in model.asked] == [
        "Question: q0",
        "Question: q2",
        "Question: q1",
        "Question: q3",
    ]


def test_question_about_two_clips_sees_them_one_after_the_other() -> None:
    joined = join_clips([clip_of("a", 2), clip_of("b", 3)])
    assert isinstance(joined, Clip)
    assert len(joined.frames) == 5
    assert joined.times_seconds == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert isinstance(join_clips([clip_of("a"), VideoError("is damaged")]), VideoError)


def test_question_about_two_clips_runs(tmp_path: Path) -> None:
    data = custom(tmp_path, question(0, videos=["a.mp4", "b.mp4"]))
    source = MINI / "tvbench" / "video" / "action_count" / "p079.mp4"
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(source.read_bytes())
    result = run(Rote(), Plan("custom", data), tmp_path / "run")
    assert result.predictions[0].error is None


def test_bounds_frames_and_folders_reach_the_video_room(tmp_path: Path) -> None:
    model = Rote()
    run(model, Plan("mvbench", MINI / "mvbench", num_frames=5), tmp_path)
    by_name = {request.path.name: request for request in model.requests}
    bounded, folder = by_name["p002.mp4"], by_name["show_s01e0p056"]
    assert (bounded.sampler, bounded.num_frames, bounded.start, bounded.end) == ("mvbench", 5, 0.3, 1.6)
    assert (folder.folder_fps, folder.start) == (3.0, 0.3)
    assert by_name["p007.webm"].start is None


@pytest.mark.parametrize(
    ("name", "sampler", "num_frames", "options"),
    [
        ("mvbench", "released_mvbench", None, {"max_new_tokens": 100, "num_beams": 1, "style": "released"}),
        ("msvd", "released_chat", 64, {"max_new_tokens": 300, "num_beams": 5, "style": None}),
        ("activitynet", "released_chat", 16, {"max_new_tokens": 300, "num_beams": 5, "style": None}),
    ],
)
def test_released_protocol(
    name: str, sampler: str, num_frames: int | None, options: dict[str, Any], tmp_path: Path
) -> None:
    model = Rote()
    run(model, Plan(name, MINI / name, "generate", released=True), tmp_path)
    assert {(request.sampler, request.num_frames) for request in model.requests} == {(sampler, num_frames)}
    assert all(each == options for each in model.options)


def test_limit_is_a_seeded_choice_that_keeps_groups_whole() -> None:
    samples = BENCHMARKS["vcgbench"].load(MINI / "vcgbench").samples
    first, again, other = (select(samples, limit=9, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert 9 <= len(first) <= 10
    for chosen in (first, other):
        ids = {sample.id for sample in chosen}
        assert all(
            {each.id for each in samples if each.group == sample.group} <= ids
            for sample in chosen
            if sample.group
        )


@pytest.mark.parametrize("name", ["action_count", "Action Count"])
def test_tasks_by_file_or_by_name(name: str) -> None:
    _, selected = load(Plan("mvbench", MINI / "mvbench", tasks=(name,)))
    assert {sample.task for sample in selected} == {"Action Count"} and len(selected) == 3


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan("mvbench", MINI, answer="guess"), "unknown way to answer 'guess'"),
        (Plan("mvbench", MINI, limit=0), "limit: 0 is not above 0"),
        (Plan("mvbench", MINI, num_frames=-1), "num_frames: -1 is not above 0"),
        (Plan("mvbench", MINI, num_frames=8, released=True), "contradict"),
    ],
)
def test_plan_that_cannot_work_is_refused(plan: Plan, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_plan(plan)


def test_unknown_names_come_with_the_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'mvbench'"):
        load(Plan("mvbenhc", MINI))
    with pytest.raises(UsageError, match="did you mean 'Action Count'"):
        load(Plan("mvbench", MINI / "mvbench", tasks=("Action Cout",)))


def test_missing_clips_are_listed_once_and_their_questions_left_out(tmp_path: Path) -> None:
    data = custom(tmp_path, question(0), question(1, video="gone.mp4"), question(2, video="gone.mp4"))
    (tmp_path / "gone.mp4").unlink()
    _, selected = load(Plan("custom", data))
    assert [media.name for media in missing_media(selected)] == ["gone.mp4"]
    assert [sample.id for sample in askable(selected)] == ["id0"]
    result = run(Rote(), Plan("custom", data), tmp_path / "run")
    assert result.report.coverage.missing == {"questions": 2}
    assert result.report.scorers["strict"].micro.n == 1


def test_nothing_to_ask_is_an_error(tmp_path: Path) -> None:
    data = custom(tmp_path, question(0))
    (tmp_path / "0.mp4").unlink()
    with pytest.raises(UsageError, match="none of 1 questions can be asked") as caught:
        run(Rote(), Plan("custom", data), tmp_path / "run")
    command = f"stllm eval --bench custom --data {shlex.quote(str(data))} --check"
    assert caught.value.fix == f"`{command}` says where they are looked for"


def test_shapes_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLIPS, "rich", 2)
    plan = Plan("shapes", tmp_path / "shapes")
    loaded, _ = load(plan)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "shapes").rglob("*")}
    assert loaded.samples and not missing_media(loaded.samples)
    assert load(plan)[0] == loaded
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "shapes").rglob("*")}


def test_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    output = tmp_path / "own"
    output.mkdir()
    (output / "scores.csv").write_text("mine")
    with pytest.raises(UsageError) as caught:
        run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), output)
    fix = "choose another --output, or move this folder away"
    assert str(caught.value) == f"{output}: exists, and is not a run folder ({fix})"
    assert [path.name for path in output.iterdir()] == ["scores.csv"]


@pytest.mark.parametrize("left", [(), (".settings.json.41-0f.part",)])
def test_folder_of_a_run_killed_at_its_start_goes_on(left: tuple[str, ...], tmp_path: Path) -> None:
    for name in left:
        (tmp_path / name).touch()
    assert run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), tmp_path).predictions


def test_file_that_cannot_be_written_is_a_wrong_output(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"), PredictionFile(tmp_path / "file", {}):
        pass


def test_answers_that_find_no_room_are_told_and_given_once_there_is_some(tmp_path: Path) -> None:
    plan = Plan("tvbench", MINI / "tvbench", limit=4)
    whole = run(Rote(), plan, tmp_path / "whole").predictions
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "whole" / NAME).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(DataError, match=rf"{NAME}: cannot be written: File too large"):
            run(Rote(), plan, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    later = Rote()
    assert run(later, plan, tmp_path / "run").predictions == whole
    assert 0 < len(later.asked) < 4


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), ('{"id": 1}\n', "line 1 is no prediction, it lacks")]
)
def test_predictions_that_cannot_be_read_back(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / NAME).write_text(content)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / NAME)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reply", 5),
        ("reply", "\ud800"),
        ("candidates", [1, 2]),
        ("task", 3),
        ("id", 4),
        ("answer", None),
    ],
)
def test_prediction_of_another_type_is_named(key: str, value: object, tmp_path: Path) -> None:
    run(Rote(), Plan("tvbench", MINI / "tvbench", limit=1), tmp_path)
    (row,) = rows(tmp_path)
    (tmp_path / NAME).write_text(json.dumps({**row, key: value}) + "\n")
    with pytest.raises(DataError, match=f"line 1 is no prediction, it holds something else: '{key}' is"):
        read_predictions(tmp_path / NAME)


def test_evaluate_from_python_gives_the_numbers_of_a_run(tmp_path: Path) -> None:
    report = evaluate(Rote(), "tvbench", data=str(MINI / "tvbench"))
    assert report == run(Rote(), Plan("tvbench", MINI / "tvbench"), tmp_path).report
    assert evaluate(Rote(), "tvbench", data=MINI / "tvbench", limit=3).scorers["strict"].micro.n == 3


def test_style_decides_words_and_length_of_multiple_choice(tmp_path: Path) -> None:
    model = Rote()
    plan = Plan("custom", custom(tmp_path, question(0)), "generate", prompt_style="lmms-eval")
    run(model, plan, tmp_path / "run")
    asked = "Question:q0\nOption:\n(A) a\n(B) b\nOnly give the best option.\n"
    assert model.asked == [asked] == [rows(tmp_path / "run")[0]["prompt"]]
    assert model.options == [{"max_new_tokens": 16, "num_beams": 1, "style": "lmms-eval"}]


def test_single_questions_are_answered_in_batches_and_those_of_one_clip_together(tmp_path: Path) -> None:
    lines = [question(number, video=f"{min(number, 5)}.mp4") for number in range(9)]
    model = Rote()
    run(model, Plan("custom", custom(tmp_path, *lines)), tmp_path / "run", batch_size=3)
    assert model.batches == [3, 4, 2]
