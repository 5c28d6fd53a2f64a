"""The report of one run as a page: what it came to, whether it used time, every answer, how it was made."""

from __future__ import annotations

from collections.abc import Iterator

from st_llm_cli.bench.page.markup import Html, document, tag
from st_llm_cli.bench.page.questions import questions_section
from st_llm_cli.bench.page.scores import judge_section, scores_section
from st_llm_cli.bench.page.time import time_section
from st_llm_cli.bench.record import RunRecord, chance_of, percent, prompt_shown

NAMED_AT_MOST = 50


def run_page(record: RunRecord) -> str:
    """Write the report of a run: one file, nothing loaded from anywhere.

    Args:
        record: The run, with at least one answer.
    """
    weights = f"weights {record.settings['weights']}" if "weights" in record.settings else ""
    return document(
        f"{record.report.benchmark}: {record.model}",
        header(record.report.benchmark, record.model, weights),
        tag(
            "main",
            _summary(record),
            scores_section(record),
            judge_section(record),
            time_section(record),
            questions_section(record),
            _coverage(record),
            _how(record),
        ),
        footer(),
    )


def header(title: str, model: str, under: str) -> Html:
    """Give the head of a page: what was measured, and of what."""
    theme = tag("button", "light / dark", id="theme", type="button", class_="chip")
    return tag(
        "header",
        tag("p", "stllm · evaluation", class_="eyebrow"),
        tag("h1", title, " ", tag("span", model, class_="of")),
        tag("p", under, class_="muted") if under else None,
        theme,
    )


def footer() -> Html:
    """Give the foot of a page."""
    return tag("footer", "Written by stllm. This page loads nothing from anywhere.")


def _summary(record: RunRecord) -> Html:
    cards = list(_cards(record))
    label = record.report.coverage.label
    covers = tag("p", f"Covers {label}.", class_="muted")
    if not record.is_whole:
        covers = tag("p", f"These numbers are over a part of the benchmark: {label}.", class_="note")
    return tag("section", tag("div", *cards, class_="cards"), covers, class_="summary")


def _cards(record: RunRecord) -> Iterator[Html]:
    scored, judged = record.scored, record.judged
    if scored is not None:
        chance = chance_of([each.sample for each in record.predictions])
        guess = "" if chance is None else f"; guessing: {percent(chance)}"
        rate = scored.micro
        under = f"{scored.scorer}, 95 % interval {percent(rate.low)} to {percent(rate.high)}{guess}"
        yield card(f"{percent(rate.value)} %", f"of {rate.n} questions right", under, "first")
    if judged is not None and judged.mean is not None:
        yield card(f"{judged.mean:.2f}", "of 5, by the judge", f"{judged.judge}, mean of the five", "first")
    match = None if judged is None else judged.criteria.get("match")
    if judged is not None and match is not None and match.accuracy is not None:
        under = f"{judged.judge}, {match.judged} of {match.total} judged"
        yield card(f"{percent(match.accuracy)} %", "right by the judge", under, "first")
    if scored is None and judged is None:
        for name, value in list(record.report.judge_free.items())[:1]:
            yield card(f"{value:.3f}", name, "without a judge", "first")
    if record.gain is not None:
        against = record.gain.against_best
        between = f"{100 * against.low:+.1f} to {100 * against.high:+.1f}"
        under = f"over '{record.gain.best}', {between}, p = {against.p_value:.2g}"
        yield card(f"{100 * against.difference:+.1f}", "points of temporal gain", under)
    for own in record.scorers[1:]:
        void = f"; {own.void_but_right} empty ones right" if own.void_but_right else ""
        yield card(f"{percent(own.micro.value)} %", f"right as '{own.scorer}'", f"of {own.micro.n}{void}")
    if scored is not None:
        about = f"{scored.empty} of them empty" if scored.empty else "every reply names one answer"
        if scored.unparsed and not scored.empty:
            about = "they count as wrong"
        yield card(str(scored.unparsed), "replies not readable", about)


def card(number: str, what: str, under: str, kind: str = "") -> Html:
    """Give a number with what it is, and what is to be known of it."""
    return tag(
        "div",
        tag("b", number),
        tag("span", what),
        tag("span", under, class_="under"),
        class_=f"card {kind}".strip(),
    )


def _coverage(record: RunRecord) -> Html | None:
    """Name what is not part of the numbers, or part of them as wrong."""
    coverage = record.report.coverage
    lists = {
        "Could not be shown; counted as wrong": coverage.not_decoded,
        "Cannot be right as they stand in the file; left out": coverage.problems,
        "Without their clips; left out": {k: f"{v} questions" for k, v in coverage.missing.items()},
        "Tasks without questions": dict.fromkeys(coverage.absent, "not in the folder"),
    }
    parts = []
    for title, named in lists.items():
        if named:
            items = [tag("li", tag("b", id), f": {why}") for id, why in list(named.items())[:NAMED_AT_MOST]]
            more = len(named) - NAMED_AT_MOST
            rest = tag("li", f"and {more} more, in scores.json") if more > 0 else None
            parts.append(tag("details", tag("summary", f"{title}: {len(named)}"), tag("ul", *items, rest)))
    if not parts:
        return None
    return tag("section", tag("h2", "What is not in the numbers"), *parts, id="coverage")


def _how(record: RunRecord) -> Html:
    command = record.environment.get("command")
    facts = {key: value for key, value in record.environment.items() if key != "command"}
    judged = record.judged
    judge = {} if judged is None else {"judge": judged.judge, "judge's text": judged.prompt_version}
    settings = {
        LABELS.get(key, key.replace("_", " ")): _value(value)
        for key, value in record.settings.items()
        if value is not None and value is not False and value not in ([], (), "")  # a seed of 0 is told
    }
    scorers = {"scorers": ", ".join(own.scorer for own in record.scorers)} if record.scorers else {}
    return tag(
        "section",
        tag("h2", "How it was run"),
        None if not command else tag("pre", f"$ {command}", class_="command"),
        tag(
            "div",
            _facts("What decides the answers", {**settings, **scorers, **judge}),
            _facts("With", facts),
            class_="columns",
        ),
        tag("h3", "The first question as it was put"),
        tag("pre", prompt_shown(record)),
        tag("p", "What the model's own prompt format puts around it is not shown.", class_="muted"),
        id="how",
    )


def _facts(title: str, facts: dict[str, str]) -> Html | None:
    if not facts:
        return None
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in facts.items()]
    return tag("div", tag("h3", title), tag("table", tag("tbody", *rows), class_="facts"))


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(own) for own in value)
    return "yes" if value is True else str(value)


LABELS = {
    "answer": "way of answering",
    "num_frames": "frames",
    "limit": "questions at most",
    "max_new_tokens": "new tokens at most",
    "released": "as the released scripts",
}
"""Names of settings, where their own would not be understood."""
