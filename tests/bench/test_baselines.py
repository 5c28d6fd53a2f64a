"""Published numbers: whole rows, known sources, averages that follow from the tasks."""

import pytest

from st_llm_cli.bench.baselines import MVBENCH_TASKS, PUBLISHED, SOURCES, VCGBENCH_CRITERIA, Baseline
from st_llm_cli.bench.benchmarks import BENCHMARKS
from st_llm_cli.bench.judge_text import CRITERIA
from st_llm_cli.bench.mvbench import TASKS

ROWS = [
    pytest.param(name, row, id=f"{name} {row.model}")
    for name, each in PUBLISHED.items()
    for row in each.baselines
]


@pytest.mark.parametrize(("benchmark", "row"), ROWS)
def test_row_names_its_source_and_known_tasks(benchmark: str, row: Baseline) -> None:
    assert row.sources and set(row.sources) <= set(SOURCES)
    known = {"mvbench": {task.name for task in TASKS.values()}}.get(benchmark, set(CRITERIA))
    assert set(row.tasks) <= known
    assert row.tasks or row.average is not None


@pytest.mark.parametrize(
    ("benchmark", "row", "digits"),
    [
        pytest.param(name, row, digits, id=f"{name} {row.model}")
        for name, digits in (("mvbench", 0.06), ("vcgbench", 0.006))
        for row in PUBLISHED[name].baselines
        if row.tasks and row.average is not None
    ],
)
def test_average_is_the_mean_of_the_tasks(benchmark: str, row: Baseline, digits: float) -> None:
    """All tasks of MVBench are equally large: a mistyped number would move the mean."""
    published = {"GPT-4V": 43.65}.get(row.model, row.average)  # its source's average does not fit its tasks
    assert sum(row.tasks.values()) / len(row.tasks) == pytest.approx(published, abs=digits)


def test_tasks_are_in_the_order_of_the_benchmark() -> None:
    assert [task.name for task in TASKS.values()] == list(MVBENCH_TASKS)
    assert set(VCGBENCH_CRITERIA) <= set(CRITERIA)


def test_target_of_reproduction_is_there() -> None:
    row = next(row for row in PUBLISHED["mvbench"].baselines if row.model == "ST-LLM 7B")
    assert sum(2 * value for value in row.tasks.values()) == 2197  # right answers of 4000


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_shown_at_first_are_there(name: str) -> None:
    assert name in BENCHMARKS
    assert set(PUBLISHED[name].shown) <= {row.model for row in PUBLISHED[name].baselines}
