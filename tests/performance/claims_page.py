"""Rows of measured runs → the tables and pictures of docs/claims.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from st_llm_cli.bench.statistics import clustered_bootstrap, paired_permutation
from tests.performance import claims_events, claims_long, long_clips
from tests.performance.claims_long import LongRow
from tests.performance.claims_rows import AnyRow, Places, Row, by_clip, every, read_rows, say
from tests.performance.event_clips import ORDER, STILL_KINDS
from tests.performance.long_clips import best_guesses, long_scene, visitors_in

DOCS = Path(__file__).parents[2] / "docs"
ROWS = DOCS / "claims"
PAGE = DOCS / "claims.md"
PAIRS = (
    ("mean", "all"),
    ("fixed", "all"),
    ("dynamic", "all"),
    ("dynamic + MVM", "all"),
    ("dynamic", "fixed"),
    ("dynamic + MVM", "dynamic"),
    ("from 0.3", "dynamic + MVM"),
    ("MSE", "dynamic + MVM"),
    ("MSE", "all"),
    ("compact", "dynamic + MVM"),
)
"""Variants on clips in which four things happen, and what each is held against."""
LONG_PAIRS = (("16 of 64", "all 64"), ("global-local", "all 64"), ("global-local", "16 of 64"))
BRIEF = 2 * len(long_clips.BRIEF)
FIRST = "which came first"
GROUPS = {
    "brief": range(BRIEF),
    FIRST: range(BRIEF, BRIEF + len(long_clips.ORDER)),
    "lasting": range(BRIEF + len(long_clips.ORDER), long_clips.KINDS),
}
"""Places of the questions about a long clip."""
TRAINED_ON = str(claims_events.TRAINED_ON)
"""Frames that these variants are trained on."""
_COSTS = (f"each seed at {TRAINED_ON}", ", ".join(STILL_KINDS), "seconds a step", "GB")


def write(rows: Path = ROWS, page: Path = PAGE) -> None:
    """Bring the tables of the page up to date, and draw its pictures beside it; without rows they stay."""
    measured = read(rows)
    say(f"writing {page} …")
    text = page.read_text(encoding="utf-8")
    written = tables(measured)
    if left := [name for name in re.findall(r"<!-- ([a-z ]+) -->\n\|", text) if name not in written]:
        say(f"tables that stay, as not all of their rows are there: {', '.join(left)}")
    for name, lines in written.items():
        shown = "\n".join([f"<!-- {name} -->", *lines, "<!-- end -->"])
        text = re.sub(f"<!-- {name} -->\n.*?<!-- end -->", shown, text, flags=re.DOTALL)
    page.write_text(text, encoding="utf-8")
    pictures = page.parent / "pictures"
    for events, name in (
        (measured.small.events, "claims-frames"),
        (measured.large.events, "claims-frames-large"),
    ):
        if _all_there(events, claims_events.VARIANTS):
            draw_events(events, pictures / f"{name}.png")
    if _all_there(measured.small.long, claims_long.VARIANTS):
        draw_long(measured.small.long, pictures / "claims-tokens.png")


class Rows(NamedTuple):
    """The runs of one size."""

    events: list[Row]
    long: list[LongRow]


class Measured(NamedTuple):
    """All runs."""

    small: Rows
    large: Rows
    earlier: Rows
    """Of the larger size, measured before: not all variants, nor all seeds."""


def read(rows: Path = ROWS) -> Measured:
    """Read what was measured from its folder."""
    return Measured(_read(rows, ""), _read(rows, "-large"), _read(rows / "earlier", "-large"))


def _read(rows: Path, suffix: str) -> Rows:
    events, long = rows / f"events{suffix}.jsonl", rows / f"long{suffix}.jsonl"
    return Rows(read_rows(events, Row), read_rows(long, LongRow))


def tables(measured: Measured) -> dict[str, list[str]]:
    """Each table of the page whose rows are there, by its name, as Markdown lines."""
    small, large, earlier = measured
    found: dict[str, Iterator[str]] = {}
    for size, rows in (("", small), ("larger ", large)):
        if _all_there(rows.events, claims_events.VARIANTS):
            found |= {f"{size}pairs": _pairs(rows.events), f"{size}kinds": _kinds(rows.events)}
            found |= {"larger": _larger(rows.events)} if size else {"variants": _variants(rows.events)}
        if _all_there(rows.long, claims_long.VARIANTS):
            found |= {f"{size}long pairs": _long_pairs(rows.long), f"{size}visits": _visits(rows.long)}
            found |= {"larger long": _larger_long(rows.long)} if size else {"long": _long(rows.long)}
    if earlier.events and "larger" in found and "larger long" in found:
        found["twice"] = _twice(large, earlier)
        found["twice pairs"] = _twice_pairs(large.events, earlier.events)
    return {name: list(lines) for name, lines in found.items()}


def _all_there(rows: Sequence[Row], variants: Collection[str]) -> bool:
    """Whether every variant was run, with the same seeds."""
    seeds = [{row.seed for row in of(rows, variant)} for variant in variants]
    return bool(rows) and all(each == seeds[0] for each in seeds)


def of(rows: Sequence[AnyRow], variant: str) -> list[AnyRow]:
    """The runs of a variant, by their seeds."""
    return sorted((row for row in rows if row.variant == variant), key=lambda row: row.seed)


def _events(rows: Sequence[Row], frames: str, kinds: Sequence[str] = ORDER) -> list[float]:
    return by_clip(rows, frames, claims_events.places(tuple(kinds)))


def _long_clips(rows: Sequence[LongRow], group: str) -> list[float]:
    (frames,) = rows[0].right
    return by_clip(rows, frames, _in_each(GROUPS[group]))


def _in_each(places: Sequence[int]) -> Places:
    return every(places, long_clips.KINDS, len(claims_long.HELD_OUT))


def _variants(rows: Sequence[Row]) -> Iterator[str]:
    frames = [str(number) for number in claims_events.FRAMES]
    yield _row("variant", f"{frames[0]} frames", *frames[1:], *_COSTS)
    yield "|---" * (len(frames) + len(_COSTS) + 1) + "|"
    for variant in claims_events.VARIANTS:
        runs = of(rows, variant)
        yield _row(variant, *_accuracy(runs, frames), *_costs(runs))
    blind = [f"{claims_events.without_order():.3f}" if number == TRAINED_ON else "" for number in frames]
    yield _row("*best without order*", *blind, "", "1.000", "", "")


def _accuracy(runs: Sequence[Row], frames: Sequence[str]) -> list[str]:
    """By number of frames, then in each seed, then where no time is needed."""
    still = f"{mean(_events(runs, TRAINED_ON, STILL_KINDS)):.3f}"
    return [*(_share(_events(runs, number)) for number in frames), _each_seed(runs), still]


def _each_seed(runs: Sequence[Row]) -> str:
    return ", ".join(f"{mean(_events([run], TRAINED_ON)):.2f}" for run in runs)


def _pairs(rows: Sequence[Row]) -> Iterator[str]:
    frames = [str(number) for number in claims_events.FRAMES]
    yield _row("variant", "against", f"{frames[0]} frames", *frames[1:], f"each seed at {TRAINED_ON}")
    yield "|---" * (len(frames) + 3) + "|"
    for variant, other in PAIRS:
        runs, others = of(rows, variant), of(rows, other)
        gains = [_gain(lambda own, n=number: _events(own, n), runs, others) for number in frames]
        yield _row(variant, other, *gains, _seeds(lambda own: _events(own, TRAINED_ON), runs, others))


def _kinds(rows: Sequence[Row]) -> Iterator[str]:
    kinds = (*ORDER, *STILL_KINDS)
    yield _row("variant", *(f"`{kind}`" for kind in kinds))
    yield "|---" * (len(kinds) + 1) + "|"
    for variant in claims_events.VARIANTS:
        runs = of(rows, variant)
        yield _row(variant, *(f"{mean(_events(runs, TRAINED_ON, [kind])):.2f}" for kind in kinds))
    best = [f"{claims_events.without_order((kind,)):.2f}" for kind in ORDER]
    yield _row("*best without order*", *best, *["1.00"] * len(STILL_KINDS))


def _larger(rows: Sequence[Row]) -> Iterator[str]:
    """Runs that shared a GPU, whose times say nothing."""
    frames = [str(number) for number in claims_events.FRAMES]
    columns = (*_COSTS[:2], _COSTS[-1])
    yield _row("variant", f"{frames[0]} frames", *frames[1:], *columns)
    yield "|---" * (len(frames) + len(columns) + 1) + "|"
    for variant in claims_events.VARIANTS:
        runs = of(rows, variant)
        yield _row(variant, *_accuracy(runs, frames), _costs(runs)[-1])


def _long(rows: Sequence[LongRow]) -> Iterator[str]:
    yield _row("what is read", "tokens", *GROUPS, "seconds a step", "GB", "a clip: looking", "answering")
    yield "|---" * (len(GROUPS) + 6) + "|"
    for variant in claims_long.VARIANTS:
        runs = of(rows, variant)
        shares = [_share(_long_clips(runs, group)) for group in GROUPS]
        looking, answering = min(row.look_seconds for row in runs), min(row.answer_seconds for row in runs)
        times = (f"{1000 * looking:.0f} ms", f"{1000 * answering:.0f} ms")
        yield _row(variant, str(runs[0].video_tokens), *shares, *_costs(runs), *times)


def _larger_long(rows: Sequence[LongRow]) -> Iterator[str]:
    """As `_larger`."""
    yield _row("what is read", "tokens", *GROUPS, "GB")
    yield "|---" * (len(GROUPS) + 3) + "|"
    for variant in claims_long.VARIANTS:
        runs = of(rows, variant)
        shares = [_share(_long_clips(runs, group)) for group in GROUPS]
        yield _row(variant, str(runs[0].video_tokens), *shares, _costs(runs)[-1])


def _twice(large: Rows, earlier: Rows) -> Iterator[str]:
    """Right answers of single runs, beside those of the earlier ones."""
    yield _row("runs", "these", "the earlier")
    yield "|---|---|---|"
    for variant in claims_events.VARIANTS:
        yield _row(variant, *(_each_seed(of(rows.events, variant)) for rows in (large, earlier)))
    for variant in claims_long.VARIANTS:
        first = [
            ", ".join(f"{mean(_long_clips([run], FIRST)):.2f}" for run in of(rows.long, variant))
            for rows in (large, earlier)
        ]
        yield _row(f"{variant}: {FIRST}", *(shares or "not run" for shares in first))


def _twice_pairs(events: Sequence[Row], earlier: Sequence[Row]) -> Iterator[str]:
    """Differences, each with that of the earlier runs behind it, by the seeds that those have of both."""
    frames = [str(number) for number in claims_events.FRAMES]
    yield _row("variant", "against", f"{frames[0]} frames", *frames[1:])
    yield "|---" * (len(frames) + 2) + "|"
    for variant, other in PAIRS:
        seeds = {run.seed for run in of(earlier, variant)} & {run.seed for run in of(earlier, other)}
        both = [[run for run in rows if run.seed in seeds] for rows in (events, earlier)]
        pairs = [(of(rows, variant), of(rows, other)) for rows in both]
        gains = [
            [mean(_events(runs, number)) - mean(_events(others, number)) for runs, others in pairs]
            for number in frames
        ]
        yield _row(variant, other, *(", ".join(f"{100 * gain:+.1f}" for gain in own) for own in gains))


def _long_pairs(rows: Sequence[LongRow]) -> Iterator[str]:
    yield _row("variant", "against", *GROUPS, "each seed, brief")
    yield "|---" * (len(GROUPS) + 3) + "|"
    for variant, other in LONG_PAIRS:
        runs, others = of(rows, variant), of(rows, other)
        gains = [_gain(lambda own, group=group: _long_clips(own, group), runs, others) for group in GROUPS]
        yield _row(variant, other, *gains, _seeds(lambda own: _long_clips(own, "brief"), runs, others))


def _visits(rows: Sequence[LongRow]) -> Iterator[str]:
    yield f"| what is read | visits in the {claims_long.LOCAL} frames | visits between them |"
    yield "|---|---|---|"
    scenes = [long_scene(seed) for seed in claims_long.HELD_OUT]
    shown = [visitors_in(scene, claims_long.LOCAL) for scene in scenes]
    inside, between = (
        [(clip, who) for clip, own in enumerate(shown) for who in (0, 1) if own[who] == there]
        for there in (True, False)
    )
    for variant in claims_long.VARIANTS:
        right = [_about_visit(of(rows, variant), who) for who in (0, 1)]
        yield _row(
            variant,
            *(
                _share([right[who][clip] for clip, who in about], [clip for clip, _ in about])
                for about in (inside, between)
            ),
        )
    best = [best_guesses(scene, claims_long.LOCAL) for scene in scenes]
    shares = (mean(best[clip][who] for clip, who in about) for about in (inside, between))
    yield _row(f"*best from the {claims_long.LOCAL} frames*", *(f"{share:.3f}" for share in shares))


def _about_visit(rows: Sequence[LongRow], who: int) -> list[float]:
    """Share of right answers about one of the visitors in each clip."""
    (frames,) = rows[0].right
    each = BRIEF // 2
    return by_clip(rows, frames, _in_each([*range(each * who, each * (who + 1)), BRIEF + who]))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _share(values: Sequence[float], clips: Sequence[int] | None = None) -> str:
    inside = clustered_bootstrap(values, clips or range(len(values)))
    assert inside is not None, "there are many clips"
    return f"{mean(values):.3f} [{inside.low:.3f}, {inside.high:.3f}]"


def _costs(runs: Sequence[Row]) -> tuple[str, str]:
    return f"{min(row.step_seconds for row in runs):.2f}", f"{mean(row.memory_gb for row in runs):.2f}"


Values = Callable[[Sequence[Row]], list[float]]


def _gain(values: Values, runs: Sequence[Row], others: Sequence[Row]) -> str:
    """A paired test over clips of the mean of some runs against that of others."""
    own, theirs = values(runs), values(others)
    versus = paired_permutation(theirs, own, range(len(own)))
    sure = "p < 0.001" if versus.p_value < 0.001 else f"p = {versus.p_value:.3f}"
    return f"{100 * versus.difference:+.1f} ± {196 * versus.error:.1f}, {sure}"


def _seeds(values: Values, runs: Sequence[Row], others: Sequence[Row]) -> str:
    pairs = zip(runs, others, strict=True)
    return ", ".join(f"{100 * (mean(values([run])) - mean(values([other]))):+.1f}" for run, other in pairs)


def draw_events(rows: Sequence[Row], picture: Path) -> None:
    """Accuracy against frames: the main variants on the left, the smaller switches on the right."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    variants = list(claims_events.VARIANTS)
    sides = figure.subplots(1, 2, sharey=True)
    for axes, shown in zip(sides, (variants[:5], variants[4:]), strict=True):
        for variant in shown:
            points = [_events(of(rows, variant), str(frames)) for frames in claims_events.FRAMES]
            _line(axes, list(claims_events.FRAMES), points, variant, variants.index(variant))
        axes.axhline(claims_events.without_order(), color="0.6", linestyle="--", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_xticks(claims_events.FRAMES, list(map(str, claims_events.FRAMES)))
        axes.set(xlabel=f"frames at inference (trained on {TRAINED_ON})", ylim=(0, None))
    sides[0].set_ylabel("what happens when: right")
    _save(figure, picture)


def draw_long(rows: Sequence[LongRow], picture: Path) -> None:
    """Accuracy against video tokens, a panel for each group of questions."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(GROUPS), sharey=True), GROUPS, strict=True):
        for number, variant in enumerate(claims_long.VARIANTS):
            runs = of(rows, variant)
            _line(axes, [runs[0].video_tokens], [_long_clips(runs, group)], variant, number)
        axes.set(xlabel="video tokens", title=group, xlim=(0, 650), ylim=(0, 1.05))
    figure.axes[0].set_ylabel("right")
    _save(figure, picture)


def _line(axes: Axes, places: list[int], points: list[list[float]], label: str, color: int) -> None:
    """Means with their intervals."""
    heights, below, above = [], [], []
    for values in points:
        inside = clustered_bootstrap(values, range(len(values)))
        assert inside is not None, "there are many clips"
        heights.append(mean(values))
        below.append(heights[-1] - inside.low)
        above.append(inside.high - heights[-1])
    axes.errorbar(
        places,
        heights,
        [below, above],
        label=label,
        color=f"C{color}",
        marker="o",
        markersize=4,
        capsize=2,
        linewidth=1.2,
    )


def _save(figure: Figure, picture: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(picture, dpi=100)
