"""The numbers of a run for other programs: CSV for spreadsheets, LaTeX (booktabs) for papers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from st_llm_cli.bench.baselines import published_for
from st_llm_cli.bench.compare import RunComparison
from st_llm_cli.bench.judge_text import CRITERIA
from st_llm_cli.bench.record import RunRecord, percent
from st_llm_cli.bench.report import Rate, Scored

COLUMNS = ("section", "name", "scorer", "n", "value", "low", "high", "unit", "interval")
Row = tuple[str, str, str, int | str, float, float | str, float | str, str, str]


def csv_of(record: RunRecord) -> str:
    """Give every number of a run, one a line, with what it is of and its interval."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(record):
        writer.writerow([round(cell, 6) if isinstance(cell, float) else cell for cell in row])
    return out.getvalue()


def _rows(record: RunRecord) -> Iterator[Row]:
    for scored in record.scorers:
        yield from _scored_rows(scored)
    for name, ceiling in record.report.ceilings.items():
        n = sum(each.sample.task == name for each in record.predictions)
        for rule, share in (("order-blind", ceiling.order_blind), ("single frame", ceiling.single_frame)):
            yield "ceiling", f"{name}: {rule}", "", n, 100 * share, "", "", "%", ""
    for name, share in record.report.readings.items():
        yield "other reading", name, "", len(record.predictions), 100 * share, "", "", "%", ""
    written = sum(not each.sample.candidates for each in record.predictions)
    for name, value in record.report.judge_free.items():
        yield "without judge", name, "", written, 100 * value, "", "", "%", ""
        for task, shares in record.report.judge_free_tasks.items():
            n = sum(each.sample.task == task for each in record.predictions)
            yield "without judge", f"{name}: {task}", "", n, 100 * shares[name], "", "", "%", ""
    if record.judged is not None:
        judge = record.judged.judge
        for name, own in record.judged.criteria.items():
            if own.score is not None and not CRITERIA[name].chooses:
                bounds = (own.lowest, own.highest, "of 5", "bounds of what was not judged")
                yield ("judged", name, judge, own.judged, own.score, *bounds)
            if own.accuracy is not None and own.lowest_accuracy is not None:
                high = 100 * (own.highest_accuracy or 0)
                bounds = (100 * own.lowest_accuracy, high, "%", "bounds of what was not judged")
                yield ("judged", f"{name}: {_means(name)}", judge, own.judged, 100 * own.accuracy, *bounds)
    if record.gain is not None:
        for name, against in record.gain.against.items():
            first = 100 * against.first
            yield "control", name, against.scorer, against.n, first, "", "", "%", ""
            yield _gain_row(f"gain over {name}", against)
        yield _gain_row("temporal gain", record.gain.against_best)


def _means(criterion: str) -> str:
    return "right option found" if CRITERIA[criterion].chooses else "same as reference"


def _scored_rows(scored: Scored) -> Iterator[Row]:
    sections = {
        "task": scored.tasks,
        "all": {"micro": scored.micro, "macro": scored.macro},
        "pairs": scored.groups,
    }
    for section, rates in sections.items():
        for name, rate in rates.items():
            yield section, name, scored.scorer, rate.n, *_in_percent(rate), "%", rate.interval


def _in_percent(rate: Rate) -> tuple[float, float, float]:
    return 100 * rate.value, 100 * rate.low, 100 * rate.high


def _gain_row(name: str, against: RunComparison) -> Row:
    numbers = (100 * against.difference, 100 * against.low, 100 * against.high)
    return "control", name, against.scorer, against.n, *numbers, "points", "paired, clustered bootstrap"


def latex_of(record: RunRecord) -> str:
    r"""Give the tasks of a run as a table for a paper, published numbers beside it.

    Needs `\usepackage{booktabs}`. The caption says what the numbers cover: they mean little without it.
    """
    columns, rows = _latex_parts(record)
    caption = [
        f"{_tex(record.model)} on {_tex(record.report.benchmark)}: {_tex(record.report.coverage.label)}."
    ]
    if record.scored is not None:
        caption.append(f"Percent right by the scorer `{_tex(record.scored.scorer)}', 95\\,\\% intervals.")
    if record.judged is not None:
        judge, version = _tex(record.judged.judge), _tex(record.judged.prompt_version)
        caption.append(f"Judged by {judge} (text {version}, {_tex(record.judged_on)}).")
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{' '.join(caption)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        "    \\toprule",
        f"    {' & '.join(columns)} \\\\",
        *rows,
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_parts(record: RunRecord) -> tuple[list[str], list[str]]:
    """Give the titles of the columns, and the lines between the rules."""
    published = published_for(record.report.benchmark)
    if published is not None and published.judged and record.judged is None:
        published = None  # a judge's numbers stand beside a judge's numbers only
    shown = [] if published is None else [own for own in published.baselines if own.model in published.shown]
    columns = ["Task", "$n$", _tex(record.model), *(_tex(own.model) for own in shown)]
    digits = ".1f" if published is None or published.unit == "%" else ".2f"
    lines = ["    \\midrule"]

    def line(name: str, n: int, cell: str, others: list[float | None]) -> None:
        cells = [_tex(name), str(n), cell, *("" if own is None else f"{own:{digits}}" for own in others)]
        lines.append(f"    {' & '.join(cells)} \\\\")

    judged = published is not None and published.judged
    averages = [None if judged else own.average for own in shown]
    if record.scored is not None:
        for task, rate in record.scored.tasks.items():
            line(task, rate.n, _tex_rate(rate), [own.tasks.get(task) for own in shown])
        lines.append("    \\midrule")
        micro, macro = record.scored.micro, record.scored.macro
        line("all questions (micro)", micro.n, _tex_rate(micro), averages)
        if macro.n > 1:
            line("mean of tasks (macro)", macro.n, _tex_rate(macro), [None] * len(shown))
        for name, rate in record.scored.groups.items():
            line(f"pairs: {name}", rate.n, _tex_rate(rate), [None] * len(shown))
    if record.judged is not None:
        if record.scored is not None:
            lines.append("    \\midrule")
        for name, own in record.judged.criteria.items():
            if own.score is not None:
                cell = f"{own.score:.2f}"
                if own.accuracy is not None and CRITERIA[name].chooses:
                    cell = f"{percent(own.accuracy)}\\,\\%"
                elif own.accuracy is not None:
                    cell = f"{percent(own.accuracy)}\\,\\% / {cell}"
                line(f"judged: {name}", own.judged, cell, [each.tasks.get(name) for each in shown])
    return columns, lines


def _tex_rate(rate: Rate) -> str:
    return f"{percent(rate.value)} [{percent(rate.low)}, {percent(rate.high)}]"


def _tex(text: str) -> str:
    """Write text so that LaTeX shows it as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # at the start of a row it would be an argument of the row before
    "\n": " ",
}
