"""Two runs side by side as a page: which is better, by how much, on which tasks, and every flipped answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from st_llm_cli.bench.compare import RunComparison, in_words
from st_llm_cli.bench.page.charts import difference_bar
from st_llm_cli.bench.page.markup import Html, document, tag
from st_llm_cli.bench.page.questions import (
    MOST_QUESTIONS,
    browser,
    plain_row,
    plain_verdict,
    said_and_right,
)
from st_llm_cli.bench.page.run_page import card, footer, header
from st_llm_cli.bench.record import Strip, percent
from st_llm_cli.bench.sample import Prediction
from st_llm_cli.bench.scoring import judge_reply

LEAST_SCALE = 10.0
"""Points at the ends of the axis, at least: small differences should look small."""
STATES = {
    "all": "all",
    "won": "won",
    "lost": "lost",
    "both": "right in both",
    "neither": "wrong in both",
}


def compare_page(
    compared: RunComparison,
    names: tuple[str, str],
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    strips: Mapping[str, Strip],
) -> str:
    """Write a comparison: one file, nothing loaded from anywhere.

    Args:
        compared: What came out.
        names: Of the first run, which is the base, and of the second.
        first: Answers of the first.
        second: Answers of the second.
        strips: Pictures of clips.
    """
    base, other = names
    return document(
        f"{other} against {base}",
        header(other, f"against {base}", ""),
        tag(
            "main",
            _summary(compared),
            _tasks(compared) if len(compared.tasks) > 1 else None,
            _questions(compared, names, first, second, strips),
        ),
        footer(),
    )


def _summary(compared: RunComparison) -> Html:
    verdict = in_words(compared)
    t_test = "" if compared.t_p_value is None else f", paired t-test {compared.t_p_value:.2g}"
    cards = [
        card(
            f"{100 * compared.difference:+.1f}",
            "points",
            f"95 % interval {100 * compared.low:+.1f} to {100 * compared.high:+.1f}",
            "first",
        ),
        card(
            f"{compared.p_value:.2g}",
            "p-value",
            f"clip by clip; McNemar {compared.mcnemar_p_value:.2g}{t_test}",
        ),
        card(
            f"{percent(compared.first)} → {percent(compared.second)} %",
            f"of {compared.n} questions right",
            f"by the scorer '{compared.scorer}'",
        ),
        card(f"{len(compared.won)} / {len(compared.lost)}", "won and lost", "questions only one got right"),
    ]
    left_out = compared.only_first + compared.only_second
    apart = None
    if left_out:
        text = (
            f"Left out: {compared.only_first} only in the base, {compared.only_second} only in the other run."
        )
        apart = tag("p", text, class_="note")
    return tag(
        "section",
        tag("p", f"{verdict[0].upper()}{verdict[1:]}.", class_="lead", id="verdict"),
        tag("div", *cards, class_="cards"),
        apart,
        class_="summary",
    )


def _tasks(compared: RunComparison) -> Html:
    sizes = [100 * abs(each.difference) for each in compared.tasks.values()]
    top = max(LEAST_SCALE, *sizes)
    rows = [
        tag(
            "tr",
            tag("th", task, scope="row"),
            tag(
                "td",
                difference_bar(100 * each.difference, f"{task}: {100 * each.difference:+.1f}", top),
                class_="wide",
            ),
            tag("td", tag("b", f"{100 * each.difference:+.1f}"), class_="number"),
            tag("td", f"{each.p_value:.2g}", class_="number other"),
            tag("td", str(each.n), class_="number n"),
        )
        for task, each in compared.tasks.items()
    ]
    titles = {
        "task": "",
        f"points, to {top:.0f} either way": "wide",
        "points": "number",
        "corrected p": "number",
        "n": "number n",
    }
    head = tag("tr", *(tag("th", title, scope="col", class_=kind or None) for title, kind in titles.items()))
    return tag(
        "section",
        tag("h2", "Tasks"),
        tag("p", "p-values are corrected for the number of tasks (Holm).", class_="lead"),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="tasks"),
        id="scores",
    )


def _questions(
    compared: RunComparison,
    names: tuple[str, str],
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    strips: Mapping[str, Strip],
) -> Html:
    base, other = names
    earlier = {each.sample.id: each for each in first}
    pictures = {key: number for number, key in enumerate(strips)}
    rows = []
    for each in second:
        before = earlier.get(each.sample.id)
        if before is None:
            continue
        old, new = judge_reply(before, compared.scorer), judge_reply(each, compared.scorer)
        if old is None or new is None:
            continue
        state = {(0, 1): "won", (1, 0): "lost", (1, 1): "both"}.get((old.correct, new.correct), "neither")
        rows.append(
            {
                **plain_row(each, pictures),
                "state": state,
                "disagree": False,
                "verdicts": {other: plain_verdict(new), base: plain_verdict(old)},
                "others": {
                    name: said_and_right(own, compared.scorer)
                    for name, own in ((base, before), (other, each))
                },
            }
        )
    flipped = [row for row in rows if row["state"] in ("won", "lost")]
    same = [row for row in rows if row["state"] not in ("won", "lost")]
    listed = flipped + same[: max(0, MOST_QUESTIONS - len(flipped))]
    lead = (
        f"{len(listed)} of {len(rows)} questions, those that flipped first. Click a row to see both answers."
    )
    return browser(listed, strips, columns=(other, base), states=STATES, lead=lead, others="replies")
