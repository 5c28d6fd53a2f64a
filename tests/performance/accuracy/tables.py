"""What the answers come to, as Markdown tables and as numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from st_llm_cli.bench.sample import Prediction
from st_llm_cli.bench.scoring import judge_reply
from st_llm_cli.bench.statistics import clustered_bootstrap, wilson
from st_llm_cli.shapes.encode import Encoding
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS, ORDER_FREE
from tests.performance.accuracy.asking import CHOICES, Answer
from tests.performance.accuracy.clips import SIZES

ALL = "all free-form"
ORDER_KINDS = tuple(kind for kind in CHOICE_KINDS if kind not in ORDER_FREE)


@dataclass(frozen=True)
class Rate:
    """A share of right answers, with its 95 % interval."""

    value: float
    low: float
    high: float
    asked: int

    def __str__(self) -> str:
        """ "0.930 [0.88, 0.96]" """
        return f"{self.value:.3f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class OrderBlind:
    """Answers about frames in no order, beside the best that is possible so."""

    right: Rate
    orders: int
    """Random orders that each clip was shown in."""
    ceiling: float
    """Mean over the same questions of what the best order-blind observer gets right."""
    low: float
    """Of right minus ceiling, question by question: lower end of its 95 % interval."""
    high: float

    @property
    def verdict(self) -> str:
        """Where the answers stand: what the interval of the difference says."""
        if self.low > 0:
            return "above it"
        return "within" if self.high >= 0 else "below it"


def rate(rights: Sequence[bool], clips: Sequence[str] | None = None) -> Rate | None:
    """Share of right answers; None of none.

    Args:
        rights: One for each question.
        clips: Which clip each is about: whole clips are drawn for the interval. Wilson's interval if None, or
            where all answers are alike, from which drawing would learn no doubt.
    """
    if not rights:
        return None
    drawn = None if clips is None else clustered_bootstrap(list(map(float, rights)), clips)
    if drawn is None or drawn.low == drawn.high:
        drawn = wilson(sum(rights), len(rights))
    return Rate(sum(rights) / len(rights), drawn.low, drawn.high, len(rights))


def share(rights: Sequence[bool]) -> str:
    """ "0.930 [0.88, 0.96]"; a dash of none."""
    return str(rate(rights) or "-")


# ---- multiple choice about the rich world


@dataclass(frozen=True)
class Choices:
    """Answers to the multiple-choice questions about the rich world."""

    full: list[Prediction]
    controls: dict[str, list[Prediction]]
    """The same questions under each control; each several times where it was asked with several seeds."""
    ceilings: dict[str, float]
    """Best possible without order, by the question's id."""

    def of(self, kinds: Iterable[str], control: str | None = None) -> list[Prediction]:
        """Answers to questions of some kinds; under a control if one is named."""
        wanted = set(kinds)
        rows = self.full if control is None else self.controls[control]
        return [each for each in rows if each.sample.task in wanted]

    def ceiling(self, kinds: Iterable[str]) -> float:
        """Mean of the order-blind ceilings of questions of some kinds."""
        return mean(self.ceilings[each.sample.id] for each in self.of(kinds))

    def order_blind(self, kinds: Sequence[str], control: str) -> OrderBlind:
        """Hold the answers under a control against the ceilings of the same questions."""
        rows = self.of(kinds, control)
        clips = [each.sample.cluster for each in rows]
        rights = [is_right(each) for each in rows]
        ceilings = [self.ceilings[each.sample.id] for each in rows]
        above = [float(right) - best for right, best in zip(rights, ceilings, strict=True)]
        interval = clustered_bootstrap(above, clips)
        found = rate(rights, clips)
        assert found is not None and interval is not None, "there are questions about several clips"
        orders = len(rows) // len(self.of(kinds))
        return OrderBlind(found, orders, mean(ceilings), interval.low, interval.high)


def is_right(prediction: Prediction) -> bool:
    """Whether the option chosen says what is true."""
    verdict = judge_reply(prediction, "strict")
    return verdict is not None and verdict.correct


def over_clips(predictions: Sequence[Prediction]) -> Rate:
    """Share of right answers, with an interval from drawing clips."""
    found = rate(list(map(is_right, predictions)), [each.sample.cluster for each in predictions])
    assert found is not None, "something was asked"
    return found


def kinds_table(choices: Choices) -> str:
    """A row for each kind: right, the order-blind ceiling, right with shuffled frames."""
    lines = ["| kind | right | best without order | frames shuffled | asked |", "|---|---|---|---|---|"]
    for kind in (*ORDER_KINDS, *ORDER_FREE):
        own, shuffled = choices.of([kind]), choices.of([kind], "shuffle")
        cells = [str(over_clips(own)), f"{choices.ceiling([kind]):.2f}"]
        cells.append(f"{mean(map(is_right, shuffled)):.2f}")
        name = f"`{kind}`" + (" (needs no order)" if kind in ORDER_FREE else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {len(own)} |")
    for name, kinds in SUMS.items():
        own, shuffled = choices.of(kinds), choices.of(kinds, "shuffle")
        cells = [str(over_clips(own)), f"{choices.ceiling(kinds):.2f}", str(over_clips(shuffled))]
        lines.append(f"| **{name}** | {' | '.join(cells)} | {len(own)} |")
    return "\n".join(lines) + "\n"


def controls_table(choices: Choices) -> str:
    """A row for each way to take time away: right of the kinds that need order, and of all."""
    lines = ["| frames | kinds that need order | all kinds |", "|---|---|---|"]
    for control in (None, *choices.controls):
        cells = [str(over_clips(choices.of(kinds, control))) for kinds in (ORDER_KINDS, tuple(CHOICE_KINDS))]
        lines.append(f"| {FRAMES[control]} | {' | '.join(cells)} |")
    best = [f"{choices.ceiling(kinds):.3f}" for kinds in (ORDER_KINDS, tuple(CHOICE_KINDS))]
    lines.append(f"| *best possible without order* | {' | '.join(best)} |")
    return "\n".join(lines) + "\n"


def shuffled_sentence(found: OrderBlind) -> str:
    """Say whether shuffled frames leave what an order-blind observer can know, and no more."""
    return (
        f"With frames shuffled, each clip in {found.orders} random orders, {found.right.value:.3f} of the "
        f"answers to questions that need order are right, 95 % interval [{found.right.low:.3f}, "
        f"{found.right.high:.3f}]; the best order-blind observer would get {found.ceiling:.3f}. Right minus "
        f"ceiling, question by question, is {100 * (found.right.value - found.ceiling):+.1f} points "
        f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}] (whole clips drawn 2000 times, with all their "
        f"orders), so the ceiling is {HOLDS[found.verdict]}.\n"
    )


# ---- what an object does first and at the end, asked freely


def ends_table(answers: Sequence[Answer], corners: Sequence[Answer]) -> str:
    """Rows by number of objects, codec, size, rate, outlines and background; a column for each end.

    Below them those of the corners: files that the others leave out.
    """
    lines = ["| clips | first | at the end | best without order | asked |", "|---|---|---|---|---|"]
    for name, own in {**ends_groups(answers), **corner_groups(corners)}.items():
        cells = [str(ends_rate(own, kind) or "-") for kind in ("first_movement", "last_movement")]
        cells.append(f"{mean(each.order_blind for each in own):.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} | {len(own)} |")
    return "\n".join(lines) + "\n"


def ends_rate(answers: Sequence[Answer], kind: str) -> Rate | None:
    """Share right of one kind, its interval from drawing clips."""
    own = [each for each in answers if each.kind == kind]
    return rate([each.right for each in own], [each.video for each in own])


def ends_groups(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers about one and two objects by everything that makes files differ, and about more at the end."""
    few = [each for each in answers if each.objects <= 2]
    groups = {"one and two objects": few}
    for of in (_number, _world, _codec, _size, _rate, _outlines):
        found: dict[str, list[Answer]] = defaultdict(list)
        for each in few:
            found[of(each)].append(each)
        groups |= {name: found[name] for name in sorted(found, key=NAMES.index)}
    more = [each for each in answers if each.objects > 2]
    return {**groups, "three and four objects": more} if more else groups


def corner_groups(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers about large files at high rates by what makes them differ, then those about long ones."""
    large = [each for each in answers if size_class(each.encoding) == "large"]
    groups = {"960x540 and 1280x720 at 30 and 60": large}
    for of in (_number, _codec, _exact_size, _exact_rate, _outlines):
        for name in sorted(set(map(of, large))):
            groups[f"· {name}"] = [each for each in large if of(each) == name]
    long = [each for each in answers if size_class(each.encoding) != "large"]
    return {**groups, "40 to 60 seconds": long}


def _exact_size(answer: Answer) -> str:
    return f"{answer.encoding.width}x{answer.encoding.height}"


def _exact_rate(answer: Answer) -> str:
    return f"{answer.encoding.fps} frames a second"


def _number(answer: Answer) -> str:
    return "one object" if answer.objects == 1 else "two objects"


def _world(answer: Answer) -> str:
    return f"{answer.world} world"


def _codec(answer: Answer) -> str:
    return {"h264": "H.264", "mpeg4": "MPEG-4", "vp9": "VP9"}[answer.encoding.codec]


def _size(answer: Answer) -> str:
    return SIZE_NAMES[size_class(answer.encoding)]


def size_class(encoding: Encoding) -> str:
    """Which of `SIZES` a file belongs to."""
    size = (encoding.width, encoding.height)
    return next(name for name, sizes in SIZES.items() if size in sizes)


def _rate(answer: Answer) -> str:
    fps = answer.encoding.fps
    return RATE_NAMES[0 if fps <= 15 else 1 if fps <= 30 else 2]


def _outlines(answer: Answer) -> str:
    return "smooth outlines" if answer.encoding.antialias else "jagged outlines"


# ---- the plain world


def plain_table(answers: Sequence[Answer]) -> str:
    """Share right with Wilson's interval, by kind and number of objects; what is possible without order."""
    groups: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    ceilings: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        objects = "one" if answer.objects == 1 else "two"
        free = not answer.kind.startswith(CHOICES)
        for kind in (answer.kind, ALL if free else CHOICES + "all"):
            groups[kind]["both"].append(answer.right)
            groups[kind][objects].append(answer.right)
            ceilings[kind].append(answer.order_blind)
        if answer.kind == "caption":
            truths = answer.truth.split(". ")
            said = {sentence.rstrip(".") for sentence in answer.reply.split(". ")}
            for truth in truths:
                for column in ("both", objects):
                    groups["caption: sentences"][column].append(truth.rstrip(".") in said)
    lines = ["| question | right | one object | two objects | best without order | asked |"]
    lines.append("|---|---|---|---|---|---|")
    # Sums stand below what they sum up.
    for kind in sorted(groups, key=lambda kind: (kind.startswith(CHOICES), kind in (ALL, CHOICES + "all"))):
        group = groups[kind]
        cells = [share(group[column]) for column in ("both", "one", "two")]
        cells.append(f"{mean(ceilings[kind]):.2f}" if kind in ceilings else "-")
        lines.append(f"| {kind} | {' | '.join(cells)} | {len(group['both'])} |")
    return "\n".join(lines) + "\n"


# ---- in short


def goals_table(choices: Choices, ends: Sequence[Answer]) -> str:
    """What was asked for beside what was measured."""
    lines = ["| what | asked for | measured | reached |", "|---|---|---|---|"]
    for name, kinds, goal in (
        ("all kinds, with options", tuple(CHOICE_KINDS), 0.85),
        ("kinds that need order, with options", ORDER_KINDS, 0.80),
    ):
        found = over_clips(choices.of(kinds))
        lines.append(f"| {name} | {goal:.2f} | {found} | {_yes(found.value >= goal)} |")
    blind = choices.order_blind(ORDER_KINDS, "shuffle")
    measured = f"{blind.right}, best without order {blind.ceiling:.3f}"
    goal_text = "interval holds the order-blind ceiling"
    lines.append(
        f"| the same, frames shuffled | {goal_text} | {measured} | {_yes(blind.verdict == 'within')} |"
    )
    few = [each for each in ends if each.objects <= 2]
    for name, kind in (("first", "first_movement"), ("at the end", "last_movement")):
        for number, objects in ((1, "one object"), (2, "two objects")):
            rates = ends_rate([each for each in few if each.objects == number], kind)
            assert rates is not None, "both numbers of objects are asked about"
            what = f'"What does the X do {name}?", {objects}'
            lines.append(f"| {what} | 0.90 | {rates} | {_yes(rates.value >= 0.9)} |")
    return "\n".join(lines) + "\n"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def as_numbers(
    choices: Choices, ends: Sequence[Answer], corners: Sequence[Answer], plain: Sequence[Answer]
) -> dict[str, Any]:
    """All of it as JSON can hold it."""
    kinds: Mapping[str, Sequence[str]] = {**{kind: (kind,) for kind in CHOICE_KINDS}, **SUMS}

    def summed(control: str | None) -> dict[str, Any]:
        return {name: asdict(over_clips(choices.of(own, control))) for name, own in kinds.items()}

    blind = choices.order_blind(ORDER_KINDS, "shuffle")
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for each in plain:
        by_kind[each.kind].append(each.right)
    return {
        "rich": summed(None),
        "order_blind_ceilings": {name: choices.ceiling(own) for name, own in kinds.items()},
        "controls": {control: summed(control) for control in choices.controls},
        "shuffled_against_ceiling": {**asdict(blind), "verdict": blind.verdict},
        "ends": {
            name: {kind: _numbers(ends_rate(own, kind)) for kind in ("first_movement", "last_movement")}
            for name, own in {**ends_groups(ends), **corner_groups(corners)}.items()
        },
        "plain": {kind: _numbers(rate(rights)) for kind, rights in by_kind.items()},
    }


def _numbers(found: Rate | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


SUMS: dict[str, tuple[str, ...]] = {
    f"all {len(ORDER_KINDS)} that need order": ORDER_KINDS,
    f"all {len(CHOICE_KINDS)}": tuple(CHOICE_KINDS),
}
FRAMES: dict[str | None, str] = {
    None: "as they are",
    "shuffle": "shuffled",
    "reverse": "in reverse",
    "freeze": "the middle one again and again",
    "single-frame": "the middle one alone",
    "blind": "black",
}
HOLDS = {
    "within": "within the interval: without order the model is not shown to know more than can be known",
    "below it": "above the interval: without order the model knows less than could be known",
    "above it": "below the interval: more is answered right than frames without order can tell",
}
SIZE_NAMES = {
    "small": "up to 320x240 pixels",
    "medium": "480x360 to 640x480",
    "large": "960x540 and 1280x720",
}
RATE_NAMES = ("12 and 15 frames a second", "24 to 30", "50 and 60")
NAMES = [
    *("one object", "two objects", "plain world", "rich world", "H.264", "MPEG-4", "VP9"),
    *SIZE_NAMES.values(),
    *RATE_NAMES,
    *("smooth outlines", "jagged outlines"),
]
"""Rows of the table in their order."""
