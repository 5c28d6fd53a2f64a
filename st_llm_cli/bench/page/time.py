"""The page's answer to whether a score needed time: the run beside its controls."""

from __future__ import annotations

from st_llm_cli.bench.compare import RunComparison
from st_llm_cli.bench.gain import Gain
from st_llm_cli.bench.page.charts import axis, bar
from st_llm_cli.bench.page.markup import Html, tag
from st_llm_cli.bench.record import RunRecord, percent
from st_llm_cli.bench.report import rate_of
from st_llm_cli.bench.statistics import holm


def time_section(record: RunRecord) -> Html | None:
    """Show what is left of a score under each control, and the paired differences."""
    gain = record.gain
    if gain is None:
        return None
    corrected = holm([each.p_value for each in gain.against.values()])
    rows = [_row(record, "as it is", None, None, gain.against_best.scorer)]
    rows += [
        _row(record, name, gain.against[name], p_value, gain.against_best.scorer, best=name == gain.best)
        for name, p_value in zip(gain.against, corrected, strict=True)
    ]
    head = tag(
        "tr",
        tag("th", "shown", scope="col"),
        tag("th", axis("%", 100), class_="wide", scope="col"),
        tag("th", "right", class_="number", scope="col"),
        tag("th", "time adds", class_="number", scope="col"),
        tag("th", "p", class_="number n", scope="col"),
    )
    return tag(
        "section",
        tag("h2", "Does the score need time?"),
        tag("p", in_a_sentence(gain), class_="lead"),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="tasks"),
        tag(
            "p",
            "'Time adds' is the paired difference, in points, with its 95 % interval; clips are exchanged as "
            "a whole, and p is corrected for the number of controls (Holm). The temporal gain is taken over "
            "the best control, whichever that is, so it errs on the low side.",
            class_="muted",
        ),
        id="time",
    )


def in_a_sentence(gain: Gain) -> str:
    """Say what time added, and whether that can be told from nothing."""
    against = gain.against_best
    number = f"{100 * against.difference:+.1f} points [{100 * against.low:+.1f}, {100 * against.high:+.1f}]"
    start = f"Temporal gain {number} over the best control, '{gain.best}'"
    if not against.differs:
        return f"{start}: not distinguishable from none (p = {against.p_value:.2g})."
    if against.difference < 0:
        return f"{start}: the run does worse than without time (p = {against.p_value:.2g})."
    return f"{start}: the score needs time (p = {against.p_value:.2g})."


def _row(
    record: RunRecord,
    name: str,
    against: RunComparison | None,
    p_value: float | None,
    scorer: str,
    *,
    best: bool = False,
) -> Html:
    own = record.report.scorers[scorer].micro
    rate = own if against is None else rate_of(list(record.controls[name].values()), scorer)
    about = MEANING.get(name, "") + (" · the best control" if best else "")
    drawn = bar(
        100 * rate.value,
        (100 * rate.low, 100 * rate.high),
        f"{name}: {percent(rate.value)} % right",
        kind="run" if against is None else "control",
    )
    adds: tuple[str, ...] = ()
    if against is not None:
        between = f"{100 * against.low:+.1f} to {100 * against.high:+.1f}"
        adds = (f"{100 * against.difference:+.1f}", tag("span", between, class_="under"))
    return tag(
        "tr",
        tag("th", name, tag("span", about, class_="under"), scope="row"),
        tag("td", drawn, class_="wide"),
        tag("td", tag("b", percent(rate.value)), class_="number"),
        tag("td", *adds, class_="number"),
        tag("td", None if p_value is None else f"{p_value:.2g}", class_="number n"),
    )


MEANING = {
    "as it is": "all frames, in order",
    "blind": "black frames",
    "single-frame": "the middle frame alone",
    "shuffle": "frames in random order",
    "reverse": "frames backwards",
    "freeze": "the middle frame, repeated",
}
"""What a model was shown."""
