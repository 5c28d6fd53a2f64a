"""Bars with intervals and the marks of published numbers, drawn as SVG that needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from st_llm_cli.bench.page.markup import Html, tag

SHAPES = ("0,-6 6,0 0,6 -6,0", "-5,5 5,5 0,-6", "-4.5,-4.5 4.5,-4.5 4.5,4.5 -4.5,4.5", "-5,-5 5,-5 0,6")
"""Diamond, triangle, square, triangle upside down."""
HUES = 5
"""Colours of marks in the style, `--mark-0` and so on."""


@dataclass(frozen=True)
class Mark:
    """A published number beside a bar."""

    name: str
    value: float
    """In the unit of the axis."""
    number: int
    """Of the model in its list: gives shape and colour."""
    label: str
    """What the number is, in words."""
    shown: bool = True


def bar(
    value: float,
    interval: tuple[float, float] | None,
    label: str,
    *,
    chance: float | None = None,
    ceiling: float | None = None,
    marks: Sequence[Mark] = (),
    top: float = 100.0,
    kind: str = "run",
) -> Html:
    """Draw one bar as wide as the place it is put in.

    Args:
        value: Its length, in the unit of the axis.
        interval: Ends of the whisker, if any.
        label: What it shows, in words, for those who cannot see it.
        chance: Where guessing would lead.
        ceiling: The best that is possible without the order of frames.
        marks: Published numbers.
        top: Right end of the axis.
        kind: `run` or `control`; decides the colour.
    """

    def at(number: float) -> str:
        return f"{100 * max(0.0, min(1.0, number / top)):.2f}%"

    parts = [tag("line", class_="grid", x1=at(top * q), x2=at(top * q), y1="0", y2="24") for q in QUARTERS]
    parts.append(tag("rect", class_=f"bar {kind}", x="0", y="7", height="10", rx="1.5", width=at(value)))
    if interval is not None:
        low, high = interval
        parts.append(tag("line", class_="whisker", x1=at(low), x2=at(high), y1="12", y2="12"))
        parts += [
            tag("line", class_="whisker", x1=at(end), x2=at(end), y1="8.5", y2="15.5") for end in interval
        ]
    if chance is not None:
        title = tag("title", f"guessing: {chance:.1f}")
        line = tag("line", class_="chance", x1=at(chance), x2=at(chance), y1="1", y2="23")
        parts.append(tag("g", title, line))
    if ceiling is not None:
        title = tag("title", f"best without order: {ceiling:.1f}")
        line = tag("line", class_="ceiling", x1=at(ceiling), x2=at(ceiling), y1="1", y2="23")
        parts.append(tag("g", title, line))
    for mark in marks:
        # The nested picture puts a shape of fixed size at a place given in percent.
        drawn = tag("svg", tag("g", shape(mark.number), tag("title", mark.label)), x=at(mark.value), y="12")
        hidden = "" if mark.shown else " hidden"
        parts.append(tag("g", drawn, class_=f"mark{hidden}", data_model=mark.name))
    return tag(
        "svg",
        tag("title", label),
        *parts,
        class_="chart",
        width="100%",
        height="24",
        role="img",
        overflow="visible",
    )


def difference_bar(value: float, label: str, top: float) -> Html:
    """Draw a difference from the middle: better to the right, worse to the left.

    Args:
        value: In points.
        label: What it shows, in words.
        top: Points at either end.
    """
    half = 50 * min(abs(value) / top, 1.0)
    start = 50 - half if value < 0 else 50
    kind = "bar worse" if value < 0 else "bar run"
    drawn = tag("rect", class_=kind, x=f"{start:.2f}%", y="7", height="10", rx="1.5", width=f"{half:.2f}%")
    middle = tag("line", class_="middle", x1="50%", x2="50%", y1="0", y2="24")
    return tag(
        "svg", tag("title", label), drawn, middle, class_="chart", width="100%", height="24", role="img"
    )


def shape(number: int) -> Html:
    """Draw the mark of a published model around the origin."""
    style = f"fill:var(--mark-{number % HUES})"
    return tag("polygon", points=SHAPES[number % len(SHAPES)], style=style)


def swatch(number: int) -> Html:
    """Draw the mark of a published model for the legend."""
    return tag("svg", shape(number), width="14", height="14", viewBox="-7 -7 14 14", aria_hidden="true")


def axis(unit: str, top: float) -> Html:
    """Name the ends and quarters of the axis."""
    ticks = [
        tag("span", f"{top * q:g}" + (f" {unit}" if q == 1 else ""), style=f"left:{100 * q:g}%")
        for q in (0, *QUARTERS)
    ]
    return tag("div", *ticks, class_="axis", aria_hidden="true")


QUARTERS = (0.25, 0.5, 0.75, 1)
