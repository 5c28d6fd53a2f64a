"""The page's numbers: tasks beside what is published, and what a judge made of written answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from st_llm_cli.bench.baselines import SOURCES, Published, published_for
from st_llm_cli.bench.judge_text import CRITERIA
from st_llm_cli.bench.judged import CriterionScore, Judged
from st_llm_cli.bench.page.charts import Mark, axis, bar, swatch
from st_llm_cli.bench.page.markup import Html, join, tag
from st_llm_cli.bench.record import RunRecord, chance_of, percent, with_interval
from st_llm_cli.bench.report import Ceiling, Rate, Scored

CEILINGS = (
    "'Without order', and the upright line: the best that is possible for somebody who sees the same frames "
    "but not their order; 'one frame': who sees the middle frame alone, at most. What lies above needed time."
)
BEST_SCORE = 5.0
ONLY_TASK = "all"
"""What benchmarks without tasks call their only one."""


def scores_section(record: RunRecord) -> Html | None:
    """Show every task of a run as a bar with its interval; None where no scorer can read the replies."""
    scored = record.scored
    if scored is None:
        return None
    published = published_for(record.report.benchmark)
    if published is not None and published.judged:
        published = None
    others = record.scorers[1:]
    head = tag(
        "tr",
        tag("th", "task", scope="col"),
        tag("th", axis("%", 100), class_="wide", scope="col"),
        tag("th", scored.scorer, class_="number", scope="col"),
        *(tag("th", own.scorer, class_="number other", scope="col") for own in others),
        tag("th", "without order", class_="number other", scope="col") if record.report.ceilings else None,
        tag("th", "n", class_="number n", scope="col"),
    )
    rows = [
        _row(task, rate, [own.tasks.get(task) for own in others], record, published)
        for task, rate in scored.tasks.items()
    ]
    table = tag(
        "table",
        tag("thead", head),
        tag("tbody", *rows) if list(scored.tasks) != [ONLY_TASK] else None,
        tag("tbody", *_totals(record, scored, others, published), class_="totals"),
        class_="tasks",
    )
    return tag(
        "section",
        tag("h2", "Scores"),
        tag("p", _how_to_read(scored), class_="lead"),
        tag("p", CEILINGS, class_="lead") if record.report.ceilings else None,
        None if published is None else _legend(published),
        table,
        _other_readings(record),
        None if published is None else published_notes(record, published),
        id="scores",
    )


def _other_readings(record: RunRecord) -> Html | None:
    """Tell what other programs would make of the same replies; None where all would agree on every one."""
    readings = record.report.readings
    if not readings:
        return None
    shares = "; ".join(f"{name}: {percent(share)} %" for name, share in readings.items())
    return tag("p", f"Right as other programs read the same replies. {shares}.", class_="muted")


def _how_to_read(scored: Scored) -> str:
    rules = {scored.micro.interval, scored.macro.interval, *(own.interval for own in scored.tasks.values())}
    return (
        f"Percent right by the scorer '{scored.scorer}'. The thin line through a bar is its 95 % interval "
        f"({', '.join(sorted(rules))}); the dashed line is what guessing would reach."
    )


def _row(
    name: str,
    rate: Rate,
    others: Sequence[Rate | None],
    record: RunRecord,
    published: Published | None,
    *,
    average: bool = False,
    of: str = "questions",
) -> Html:
    samples = [each.sample for each in record.predictions if average or each.sample.task == name]
    chance = chance_of(samples) if of == "questions" else None
    ceiling = None
    if of == "questions":
        ceiling = record.report.ceiling if average else record.report.ceilings.get(name)
    numbers = [] if published is None else list(_marks(published, None if average else name))
    label = f"{name}: {with_interval(rate)} % right of {rate.n} {of}"
    drawn = bar(
        100 * rate.value,
        (100 * rate.low, 100 * rate.high),
        label,
        chance=None if chance is None else 100 * chance,
        ceiling=None if ceiling is None else 100 * ceiling.order_blind,
        marks=numbers,
    )
    return tag(
        "tr",
        tag("th", name, tag("span", f"{rate.n} {of}", class_="under"), scope="row"),
        tag("td", drawn, class_="wide"),
        tag("td", tag("b", percent(rate.value)), _range(rate), class_="number"),
        *(
            tag("td", *(() if own is None else (percent(own.value), _range(own))), class_="number other")
            for own in others
        ),
        _ceiling_cell(ceiling) if record.report.ceilings else None,
        tag("td", str(rate.n), class_="number n"),
    )


def _ceiling_cell(ceiling: Ceiling | None) -> Html:
    if ceiling is None:
        return tag("td", class_="number other")
    one = tag("span", f"one frame: {percent(ceiling.single_frame)}", class_="under")
    return tag("td", percent(ceiling.order_blind), one, class_="number other")


def _range(rate: Rate) -> Html:
    return tag("span", f"{percent(rate.low)} to {percent(rate.high)}", class_="under")


def _totals(
    record: RunRecord, scored: Scored, others: Sequence[Scored], published: Published | None
) -> Iterator[Html]:
    micro = [own.micro for own in others]
    yield _row("All questions (micro)", scored.micro, micro, record, published, average=True)
    if scored.macro.n > 1:
        macro = [own.macro for own in others]
        yield _row("Mean of tasks (macro)", scored.macro, macro, record, None, of="tasks")
    for name, rate in scored.groups.items():
        yield _row(f"Pairs: {name}", rate, [own.groups.get(name) for own in others], record, None, of="pairs")


def _marks(published: Published, task: str | None) -> Iterator[Mark]:
    for number, own in enumerate(published.baselines):
        value = own.average if task is None else own.tasks.get(task)
        if value is not None:
            label = f"{own.model}: {value:g} {published.unit}"
            yield Mark(own.model, value, number, label, own.model in published.shown)


def _legend(published: Published) -> Html:
    buttons = [
        tag(
            "button",
            swatch(number),
            own.model,
            None if own.average is None else tag("small", f"{own.average:g}"),
            type="button",
            class_="chip",
            data_baseline=own.model,
            aria_pressed="true" if own.model in published.shown else "false",
        )
        for number, own in enumerate(published.baselines)
    ]
    return tag("div", tag("span", "Published:", class_="muted"), *buttons, class_="chips legend")


def published_notes(record: RunRecord, published: Published) -> Html:
    """Say where published numbers stand, and what stands between them and this run."""
    apart = []
    if not record.is_whole:
        apart.append(f"this run covers {record.report.coverage.label}")
    if record.settings.get("answer") == "options":
        apart.append(
            "this run scores the letters of the options, where published numbers have answers written"
        )
    warning = None
    if apart:
        text = f"Not the same measurement: {'; '.join(apart)}."
        warning = tag("p", text, class_="note")
    keys = dict.fromkeys(key for own in published.baselines for key in own.sources)
    items = []
    for key in keys:
        source, models = SOURCES[key], [own.model for own in published.baselines if key in own.sources]
        text = source.text if source.address is None else tag("a", source.text, href=source.address)
        items.append(tag("li", text, f": {', '.join(models)}"))
    remarks = [f"{own.model}: {own.note}." for own in published.baselines if own.note]
    return join(
        (
            warning,
            tag(
                "details",
                tag("summary", "Where the published numbers are from"),
                tag("p", " ".join(filter(None, (published.note, *remarks))))
                if published.note or remarks
                else None,
                tag("ul", *items),
                class_="sources",
            ),
        )
    )


def judge_section(record: RunRecord) -> Html | None:
    """Show what a judge made of written answers, and what can be said without one."""
    free, judged = record.report.judge_free, record.judged
    if not free and judged is None and not record.report.needs_judge:
        return None
    written = sum(not each.sample.candidates for each in record.predictions)
    by_task = record.report.judge_free_tasks
    bars = []
    for name, value in free.items():
        bars.append(_free_row(name, value, f"{written} answers"))
        bars += [_free_row(f"{name}: {task}", own[name], "") for task, own in by_task.items()]
    parts: list[Html | None] = [tag("h2", "Written answers")]
    if judged is not None:
        parts += _judged_parts(record, judged)
    elif record.report.needs_judge:
        text = f"{record.report.needs_judge} answers are for a judge (--judge-url) and have no verdict here."
        parts.append(tag("p", text, class_="note"))
    if bars:
        parts += [
            tag("h3", "Without a judge, word by word"),
            tag("table", tag("tbody", *bars), class_="tasks"),
        ]
    return tag("section", *parts, id="written")


def _free_row(name: str, value: float, about: str) -> Html:
    return _judge_row(name, f"{value:.3f}", bar(100 * value, None, f"{name}: {value:.3f}"), about)


def _judged_parts(record: RunRecord, judged: Judged) -> Iterator[Html | None]:
    day = f" on {record.judged_on}" if record.judged_on else ""
    yield tag(
        "p",
        f"Read by {judged.judge}{day} with text {judged.prompt_version}; it agrees with {judged.calibration} "
        f"known verdicts{_drift(judged)}. Comparable only with numbers of the same judge and text.",
        class_="lead",
    )
    published = published_for(record.report.benchmark)
    if published is not None and not published.judged:
        published = None
    rows = []
    for name, own in judged.criteria.items():
        rows += list(_criterion_rows(name, own, published))
    if judged.mean is not None:
        marks = [] if published is None else list(_marks(published, None))
        drawn = bar(judged.mean, None, f"mean: {judged.mean:.2f} of 5", marks=marks, top=BEST_SCORE)
        rows.append(_judge_row("Mean of the five", f"{judged.mean:.2f}", drawn, "of 5"))
    yield None if published is None else _legend(published)
    yield tag("table", tag("tbody", *rows), class_="tasks")
    yield None if published is None else published_notes(record, published)
    if judged.failed:
        items = [tag("li", tag("b", case), f": {why}") for case, why in judged.failed.items()]
        yield tag(
            "details", tag("summary", f"{len(judged.failed)} without a usable reply"), tag("ul", *items)
        )


def _drift(judged: Judged) -> str:
    if judged.calibration_first is None:
        return ""
    return f" (with {judged.calibration_first} when this run was first judged: it has changed since)"


def _criterion_rows(name: str, own: CriterionScore, published: Published | None) -> Iterator[Html]:
    if own.score is None:
        yield _judge_row(name, "none", Html(""), f"none of {own.total} judged")
        return
    about = f"{own.judged} of {own.total} judged"
    chooses = CRITERIA[name].chooses
    bounds = (own.lowest, own.highest) if own.judged < own.total else None
    if own.accuracy is not None:
        low, high = own.lowest_accuracy or 0.0, own.highest_accuracy or 0.0
        limits = (100 * low, 100 * high) if own.judged < own.total else None
        marks = [] if published is None else list(_marks(published, name))
        means = "lets the judge find the right option" if chooses else "the same as the reference"
        label = f"{name}: {percent(own.accuracy)} % {means}"
        drawn = bar(100 * own.accuracy, limits, label, marks=marks)
        yield _judge_row(means, f"{percent(own.accuracy)} %", drawn, about)
    yield from _task_rows(own)
    if chooses:
        return
    of_five = published is not None and published.unit == "of 5"
    marks = list(_marks(published, name)) if published is not None and of_five else []
    drawn = bar(own.score, bounds, f"{name}: {own.score:.2f} of 5", marks=marks, top=BEST_SCORE)
    yield _judge_row(f"{name}, of 5", f"{own.score:.2f}", drawn, about)


def _task_rows(own: CriterionScore) -> Iterator[Html]:
    """Show the tasks of what was judged, in percent or points."""
    for task, value in own.tasks.items():
        if own.accuracy is not None:
            shown = f"{percent(value)} %"
            yield _judge_row(task, shown, bar(100 * value, None, f"{task}: {shown}"), "")
        else:
            drawn = bar(value, None, f"{task}: {value:.2f} of 5", top=BEST_SCORE)
            yield _judge_row(task, f"{value:.2f}", drawn, "")


def _judge_row(name: str, value: str, drawn: Html, about: str) -> Html:
    return tag(
        "tr",
        tag("th", name, tag("span", about, class_="under"), scope="row"),
        tag("td", drawn, class_="wide"),
        tag("td", tag("b", value), class_="number"),
    )
