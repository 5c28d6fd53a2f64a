"""MSVD-QA, MSRVTT-QA and ActivityNet-QA: free questions with short answers.

Two layouts each: one file with questions and answers (test_qa.json), or two that are joined on their ids
(test_q.json, test_a.json). `--data` may also name the annotation file itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from st_llm_cli.bench.benchmark import Loaded
from st_llm_cli.bench.files import Row, find_media, name_problem, read_rows, read_text, text_in, with_suffixes
from st_llm_cli.bench.sample import Media, Sample
from st_llm_cli.errors import DataError

SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov")
KIND = "short answer"


@dataclass(frozen=True)
class Layout:
    """Where one of the three sets keeps its files."""

    size: int
    """Questions of the test split."""
    folders: tuple[str, ...]
    """Folders of clips."""
    annotations: tuple[str, ...]
    """Folders of annotations."""
    prefix: str
    """What stands before a clip's name or number in some of the layouts, and not in others."""
    origin: str
    types: tuple[str, ...] = ()
    """Names of the question types, by number."""
    mapping: str | None = None
    """File that says which clip a number stands for."""


def load_msvd(data: Path) -> Loaded:
    """Read MSVD-QA; see `load`."""
    return load(data, MSVD)


def load_msrvtt(data: Path) -> Loaded:
    """Read MSRVTT-QA; see `load`."""
    return load(data, MSRVTT)


def load_activitynet(data: Path) -> Loaded:
    """Read ActivityNet-QA; see `load`."""
    return load(data, ACTIVITYNET)


def load(data: Path, layout: Layout) -> Loaded:
    """Read questions and answers and find the clips.

    Args:
        data: Folder, or annotation file in it.
        layout: Of which set.

    Raises:
        DataError: If there are no questions, a question has no answer, or a file is not what it should be.
    """
    folder = data.parent if data.is_file() else data
    source = data if data.is_file() else _annotation_file(data, layout)
    rows = _joined(source) if source.name.endswith("_q.json") else list(_numbered(read_rows(source), source))
    titles = _titles(folder, layout)
    found: dict[str, Media] = {}  # many questions are about one clip, and looking takes time
    samples = [_sample(folder, layout, row, titles, found) for row in rows]
    return Loaded(tuple(_with_unique_ids(samples)), layout.size, str(source), (), layout.types)


def _annotation_file(folder: Path, layout: Layout) -> Path:
    tried = [folder / inside / name for inside in ("", *layout.annotations) for name in FILES]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        what = "holds no questions: looked for " + ", ".join(str(path.relative_to(folder)) for path in tried)
        raise DataError(what, where=str(folder), fix="give the folder or the annotation file as `data`")
    return found


def _numbered(rows: list[Row], path: Path) -> Iterator[Row]:
    for number, row in enumerate(rows):
        yield {**row, "where": f"{path}: row {number}"}


def _joined(questions: Path) -> list[Row]:
    """Join questions with their answers on the question's id; the order of the two files need not agree."""
    path = questions.with_name(questions.name.replace("_q.json", "_a.json"))
    answers: dict[str, Row] = {}
    for row in _numbered(read_rows(path), path):
        id = text_in(row, "question_id", row["where"])
        if id in answers:
            raise DataError(f"answers question '{id}' twice", where=row["where"], fix="remove one of them")
        answers[id] = row
    joined = []
    for row in _numbered(read_rows(questions), questions):
        id = text_in(row, "question_id", row["where"])
        if id not in answers:
            raise DataError(
                f"has no answer to question '{id}'", where=str(path), fix="use files of one split"
            )
        joined.append({**answers[id], **row})
    return joined


def _titles(folder: Path, layout: Layout) -> dict[str, str]:
    """Read which clip a number stands for, `{"1300": "clip name"}`; nothing where no file says so."""
    path = folder / layout.mapping if layout.mapping else None
    if path is None or not path.is_file():
        return {}
    titles = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        title, _, id = line.strip().rpartition(" vid")
        if not title and line.strip():
            what = f"'{line.strip()}' is not '<clip> vid<number>'"
            raise DataError(what, where=f"{path}:{number}", fix="download the file again")
        titles[id] = title
    return titles


def _sample(
    folder: Path, layout: Layout, row: Row, titles: dict[str, str], found: dict[str, Media]
) -> Sample:
    where = row["where"]
    key = next((key for key in ("video_name", "video", "video_id") if key in row), "video_name")
    name = text_in(row, key, where)
    question, answer = text_in(row, "question", where), text_in(row, "answer", where)
    id_key = "question_id" if "question_id" in row else "id"
    id = text_in(row, id_key, where)
    problem = name_problem(name)
    if name not in found and problem is None:
        names = list(dict.fromkeys((layout.prefix + name, name, name.removeprefix(layout.prefix))))
        names += [titles[name]] if name in titles else []
        folders = [folder / inside for inside in layout.folders]
        found[name] = find_media(name, with_suffixes(folders, names, SUFFIXES), origin=layout.origin)
    media = found.get(name, Media(name, None))
    return Sample(id, _task(layout, row, where), KIND, (media,), question, question, answer, problem=problem)


def _task(layout: Layout, row: Row, where: str) -> str:
    """Name the type of a question; these sets without types are one task."""
    if not layout.types:
        return "all"
    number = text_in(row, "type", where)
    if not number.isdigit() or int(number) >= len(layout.types):
        raise DataError(f"'type' is {number}", where=where, fix=f"0 to {len(layout.types) - 1} are known")
    return layout.types[int(number)]


def _with_unique_ids(samples: list[Sample]) -> Iterator[Sample]:
    """Number repeated ids, as the released scripts do, so that nothing is lost by an id that occurs twice."""
    counts = Counter(sample.id for sample in samples)
    seen: Counter[str] = Counter()
    for sample in samples:
        if counts[sample.id] > 1:
            seen[sample.id] += 1
            yield replace(sample, id=f"{sample.id}_{seen[sample.id] - 1}")
        else:
            yield sample


FILES = ("test_qa.json", "test_q.json")
MSVD = Layout(
    size=13157,
    folders=("YouTubeClips", "videos", "video", ""),
    annotations=("MSVD_Zero_Shot_QA", "MSVD-QA", "annotations"),
    prefix="vid",
    origin="the Microsoft Research Video Description Corpus (YouTubeClips.tar)",
    mapping="youtube_mapping.txt",
)
MSRVTT = Layout(
    size=72821,
    folders=("videos/all", "videos", "video", "TestVideo", "TrainValVideo", ""),
    annotations=("MSRVTT_Zero_Shot_QA", "MSRVTT-QA", "annotations"),
    prefix="video",
    origin="the MSR-VTT data set (test_videos.zip)",
)
ACTIVITYNET = Layout(
    size=8000,
    folders=("all_test", "videos", "video", ""),
    annotations=("Activitynet_Zero_Shot_QA", "activitynet-qa", "annotations"),
    prefix="v_",
    origin="ActivityNet 1.3, by its request form (http://activity-net.org/download.html)",
    types=("motion", "spatial", "temporal", "yes or no", "colour", "object", "location", "number", "other"),
)
