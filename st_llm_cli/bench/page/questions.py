"""The page's questions: what each was, what was said, and what either scorer made of it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from st_llm_cli.bench.judge_text import CRITERIA
from st_llm_cli.bench.judged import Opinion
from st_llm_cli.bench.page.markup import Html, embedded, tag
from st_llm_cli.bench.parsing import DEGENERATE, EMPTY, SEVERAL, UNPARSED
from st_llm_cli.bench.record import RunRecord, Strip, strip_key
from st_llm_cli.bench.sample import Prediction, Sample, Verdict
from st_llm_cli.bench.scoring import FAILED, SCORERS, judge_reply

MOST_QUESTIONS = 10_000
"""Questions listed; of more, every second, third … one, so that a browser can hold the page."""
STATES = {
    "all": "all",
    "right": "right",
    "wrong": "wrong",
    "unreadable": "not readable",
    "failed": "could not be shown",
    "none": "no verdict",
    "disagree": "scorers disagree",
}
"""What can be asked for, and its name."""
TIME = {
    "": "with or without time",
    "gained": "right only with time",
    "kept": "right without time too",
    "lost": "wrong only with time",
}


def questions_section(record: RunRecord) -> Html:
    """Build the place where a run's questions are shown."""
    listed = listed_of(record.predictions)
    pictures = {key: number for number, key in enumerate(record.strips)}
    rows = [row_of(each, record, pictures) for each in listed]
    fields = []
    if record.gain is not None:
        times = [tag("option", name, value=value) for value, name in TIME.items()]
        fields.append(tag("select", *times, id="time", aria_label=f"Against '{record.gain.best}'"))
    return browser(
        rows,
        record.strips,
        columns=[own.scorer for own in record.scorers],
        states=STATES,
        lead=_what_is_listed(record, len(listed)),
        others="without time",
        fields=fields,
    )


def browser(
    rows: Sequence[Mapping[str, Any]],
    strips: Mapping[str, Strip],
    *,
    columns: Sequence[str],
    states: Mapping[str, str],
    lead: str,
    others: str,
    fields: Sequence[Html] = (),
) -> Html:
    """Build the place where questions are searched, filtered, sorted and opened; the page's script fills it.

    Args:
        rows: From `row_of`, or of the same keys.
        strips: Pictures the rows' `strips` count through.
        columns: Whose verdicts have a column; the first one's answer is shown.
        states: What can be asked for, and its name; `disagree` asks for the row's key of that name.
        lead: What stands above.
        others: What a row's `others` are.
        fields: Further fields to filter by.
    """
    pictures = [
        {
            "jpeg": base64.b64encode(own.jpeg).decode("ascii"),
            "times": [round(t, 2) for t in own.times_seconds],
        }
        for own in strips.values()
    ]
    data = {"rows": rows, "strips": pictures, "scorers": columns, "others": others}
    return tag(
        "section",
        tag("h2", "Questions"),
        tag("p", lead, class_="lead"),
        tag("noscript", tag("p", "The list of questions needs JavaScript.", class_="note")),
        _filters(rows, states, fields),
        tag("p", id="count", class_="muted", aria_live="polite"),
        tag("table", _head(columns), tag("tbody", id="rows"), class_="questions"),
        tag("button", "Show more", id="more", type="button", class_="chip", hidden=True),
        embedded("data", data),
        id="questions",
    )


def listed_of(predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """Give the answers the page lists: all, or evenly spaced ones of very many."""
    step = -(-len(predictions) // MOST_QUESTIONS)
    return predictions[:: max(step, 1)]


def _what_is_listed(record: RunRecord, listed: int) -> str:
    total = len(record.predictions)
    all_of_them = f"All {total}" if listed == total else f"{listed} of {total}, evenly spaced"
    seen = {strip_key(clip) for each in record.predictions for clip in each.sample.clips}
    shown = len(seen & set(record.strips))
    pictures = "no pictures of clips" if not shown else "the frames the model was given"
    if 0 < shown < len(seen):
        pictures += f" for {shown} of {len(seen)} clips, wrong answers of every task first"
    return f"{all_of_them}, with {pictures}. Click a row to see the whole answer."


def _filters(rows: Sequence[Mapping[str, Any]], states: Mapping[str, str], fields: Sequence[Html]) -> Html:
    counts = Counter(str(row["state"]) for row in rows)
    counts["all"] = len(rows)
    counts["disagree"] = sum(bool(row["disagree"]) for row in rows)
    chips = [
        tag(
            "button",
            name,
            tag("small", str(counts[state])),
            type="button",
            class_="chip",
            data_state=state,
            aria_pressed="true" if state == "all" else "false",
        )
        for state, name in states.items()
        if counts[state]
    ]
    tasks = dict.fromkeys(str(row["task"]) for row in rows)
    choices = [tag("option", "every task", value="")] + [tag("option", name, value=name) for name in tasks]
    hint = "Search questions, replies, clips"
    search = tag("input", id="search", type="search", placeholder=hint, aria_label="Search")
    task = tag("select", *choices, id="task", aria_label="Task") if len(tasks) > 1 else None
    return tag(
        "div",
        tag("div", *chips, class_="chips"),
        tag("div", search, task, *fields, class_="fields"),
        class_="filters",
    )


def _head(columns: Sequence[str]) -> Html:
    titles = {"place": "question", "task": "task", "said": "answer"}
    titles |= {f"verdict {name}": name for name in columns}
    cells = [
        tag("th", tag("button", name, type="button", data_sort=key), scope="col", class_=key.split()[0])
        for key, name in titles.items()
    ]
    return tag("thead", tag("tr", *cells))


def row_of(prediction: Prediction, record: RunRecord, pictures: Mapping[str, int]) -> dict[str, Any]:
    """Give one question as the page's script needs it: texts only, nothing that is markup.

    Args:
        prediction: The answer.
        record: The run.
        pictures: Number of each strip, by its key.
    """
    id = prediction.sample.id
    verdicts = {name: judge_reply(prediction, name) for name in SCORERS}
    first = verdicts.get(record.scored.scorer) if record.scored is not None else None
    row: dict[str, Any] = {
        **plain_row(prediction, pictures),
        "state": _state(first),
        "disagree": len({own.correct for own in verdicts.values() if own is not None}) > 1,
        "verdicts": {name: plain_verdict(own) for name, own in verdicts.items() if own is not None},
        "judged": [_said_by_judge(own) for own in record.opinions.get(id, ())],
    }
    if record.gain is not None:
        row["others"] = {
            name: said_and_right(answers.get(id), record.gain.against_best.scorer)
            for name, answers in record.controls.items()
        }
        row["time"] = _time(first, record.controls[record.gain.best].get(id), record)
    return row


def _said_by_judge(opinion: Opinion) -> list[str]:
    """Give a judge's opinion as the page shows it: what about, what it says, and the reply as it was."""
    judgement = opinion.judgement
    if CRITERIA[opinion.criterion].chooses:
        said = "right option" if judgement.match else "another option, or none"
    else:
        match = {True: "yes, ", False: "no, ", None: ""}[judgement.match]
        said = f"{match}{judgement.score:g} of 5"
    return [opinion.criterion, said, opinion.reply]


def plain_row(prediction: Prediction, pictures: Mapping[str, int]) -> dict[str, Any]:
    """Give of a question what does not depend on who scores it."""
    sample = prediction.sample
    return {
        "id": sample.id,
        "task": sample.task,
        "question": _without_options(sample),
        "options": list(sample.candidates),
        "answer": sample.answer,
        "reply": prediction.reply,
        "error": prediction.error,
        "scored": prediction.option is not None,
        "clips": [strip_key(clip) for clip in sample.clips],
        "strips": [number for clip in sample.clips if (number := pictures.get(strip_key(clip))) is not None],
    }


def _without_options(sample: Sample) -> str:
    """Give a question without the lines that name its options: they are listed by themselves."""
    first, *rest = sample.question.split("\n")
    kept = [line for line in rest if not line.strip().endswith(sample.candidates or ("\n",))]
    return "\n".join([first, *kept])


def plain_verdict(verdict: Verdict) -> list[Any]:
    """Give a verdict as the page's script reads it."""
    return [verdict.correct, verdict.answer, verdict.rule]


def _state(verdict: Verdict | None) -> str:
    if verdict is None:
        return "none"
    if verdict.correct:
        return "right"
    if verdict.rule in (UNPARSED, SEVERAL, EMPTY, DEGENERATE):
        return "unreadable"
    return "failed" if verdict.rule == FAILED else "wrong"


def said_and_right(prediction: Prediction | None, scorer: str) -> list[Any]:
    """Give a reply and whether it is right, None where that cannot be said."""
    verdict = None if prediction is None else judge_reply(prediction, scorer)
    reply = None if prediction is None else prediction.reply
    return [reply, None if verdict is None else verdict.correct]


def _time(first: Verdict | None, without: Prediction | None, record: RunRecord) -> str:
    """Say what time changed about an answer, against the best control."""
    assert record.gain is not None
    other = None if without is None else judge_reply(without, record.gain.against_best.scorer)
    if first is None or other is None:
        return ""
    if first.correct:
        return "kept" if other.correct else "gained"
    return "lost" if other.correct else "never"
