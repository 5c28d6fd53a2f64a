"""What the answers come to, as pictures of small files."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from st_llm_cli.bench.sample import Prediction
from st_llm_cli.shapes.rich_questions import ORDER_FREE
from st_llm_cli.shapes.rich_words import PART_WORDS, act_text, colors_of, deeds, texture_words
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.stories import PARTS
from st_llm_cli.shapes.words import name_of, sentence
from st_llm_cli.video.reader import read_clip
from st_llm_cli.video.transform import ResizeCenterCrop
from tests.performance.accuracy.asking import Answer
from tests.performance.accuracy.tables import ORDER_KINDS, Choices, is_right, over_clips

BLUE, RED, PINK, GREY = "#2a6fb0", "#c0392b", "#ffc4bb", "0.55"


def draw_kinds(choices: Choices, path: Path) -> None:
    """Draw a row for each kind: right answers, their interval, shuffled frames, the order-blind ceiling."""
    kinds = [*ORDER_KINDS, *ORDER_FREE][::-1]  # from the bottom up
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.add_subplot()
    rows = range(len(kinds))
    rates = [over_clips(choices.of([kind])) for kind in kinds]
    values = [each.value for each in rates]
    spread = [[each.value - each.low for each in rates], [each.high - each.value for each in rates]]
    shuffled = [mean(map(is_right, choices.of([kind], "shuffle"))) for kind in kinds]
    axes.errorbar(values, rows, xerr=spread, fmt="o", color=BLUE, capsize=2, label="right, 95 % interval")
    axes.plot(shuffled, rows, "D", color=RED, markersize=5, fillstyle="none", label="frames shuffled")
    ceilings = [choices.ceiling([kind]) for kind in kinds]
    axes.plot(ceilings, rows, "|", color="0.2", markersize=16, label="best without order")
    axes.axhline(len(ORDER_FREE) - 0.5, color="0.8", linewidth=0.8)  # below it order is not needed
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(kinds) - 0.4), xlabel="share of questions")
    axes.set_yticks(list(rows), [kind.replace("_", " ") for kind in kinds])
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    _finish(figure, axes, path)


def draw_confusion(answers: Sequence[Answer], path: Path) -> None:
    """Draw which deed was named, where another one or the same was true; colours and partners aside."""
    pairs = Counter((deed(each.truth), deed(each.reply)) for each in answers)
    known = sorted({true for true, _ in pairs}, key=lambda name: (DEEDS.index(name), name))
    columns = known + sorted({said for _, said in pairs} - set(known))
    counts = np.array([[pairs[true, said] for said in columns] for true in known])
    size = (2.9 + 0.42 * len(columns), 2.3 + 0.36 * len(known))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    _cells(axes, counts)
    axes.set_xticks(range(len(columns)), columns, rotation=55, ha="left", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(known)), known, fontsize=9)
    axes.set(ylabel="what is true", title="what the model says")
    axes.title.set_fontsize(10)
    _save(figure, path)


def _cells(axes: Axes, counts: Any) -> None:
    """Draw counts [true, said] as shares of their row; what is on the diagonal is right."""
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row, column in zip(*np.nonzero(counts), strict=True):
        color, wrong = ("white", PINK) if shares[row, column] > 0.6 else ("black", RED)
        if row != column:
            color = wrong
        text = {"ha": "center", "va": "center", "fontsize": 8, "color": color}
        axes.text(column, row, str(counts[row, column]), **text)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)


def draw_mix_ups(choices: Choices, scenes: Mapping[str, Scene], path: Path) -> None:
    """Draw, for kinds about things that follow each other, which option is chosen where which is right.

    Above by their letters, below by the part of the clip in which it is true what each of them says.

    Args:
        choices: The answers.
        scenes: Of the clips, by the names of their files.
        path: The picture to write.
    """
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.subplots(2, len(IN_PARTS))
    for column, kind in enumerate(IN_PARTS):
        for own, counts, names in zip(
            axes[:, column], mix_ups(choices, scenes, kind), ("ABCD", PART_WORDS), strict=True
        ):
            _cells(own, counts)
            own.set_xticks(range(PARTS), names, fontsize=9)
            own.set_yticks(range(PARTS), names, fontsize=9)
        axes[0, column].set_title(kind.replace("_", " "), fontsize=10)
    axes[0, 0].set_ylabel("letter that is right")
    axes[1, 0].set_ylabel("part in which the right option is true")
    figure.align_ylabels()
    figure.supxlabel("what is chosen: above its letter, below the part in which it is true", fontsize=10)
    _save(figure, path)


def mix_ups(choices: Choices, scenes: Mapping[str, Scene], kind: str) -> Any:
    """Count which option is chosen where which is right.

    Returns:
        By letters, [true, chosen], and by parts in which it is true what the options say; [2, 4, 4].
    """
    counts = np.zeros((2, PARTS, PARTS), dtype=int)
    for asked in choices.of([kind]):
        if asked.option is None:
            continue
        sample = asked.sample
        counts[0, sample.candidates.index(sample.answer), asked.option] += 1
        scene, chosen = scenes[sample.clips[0].name], sample.candidates[asked.option]
        true, said = (IN_PARTS[kind](scene, option) for option in (sample.answer, chosen))
        np.add.at(counts[1], (true, said), 1)
    return counts


def _part_of_color(scene: Scene, option: str) -> list[int]:
    (worn,) = [colors for item in scene.objects if len(set(colors := colors_of(item))) > 1]
    return [worn.index(option)]


def _parts_of_backgrounds(scene: Scene, option: str) -> list[int]:
    """Of a background that is named as the first, the second, and so on: when each is there."""
    order = texture_words(scene)
    return [order.index(name) for name in option.removeprefix("from ").split(" to ")]


def _part_of_event(scene: Scene, option: str) -> list[int]:
    return [
        scene.part_of((each.start_seconds + each.end_seconds) / 2)
        for item in scene.objects
        for each in deeds(item, scene)
        if sentence(f"the {name_of(item)} {act_text(each, scene)}") == option
    ]


def deed(answer: str) -> str:
    """What an answer says that is done: "It turns green." → "turns …"."""
    words = answer.removeprefix("It ").removesuffix(".")
    for start in ("turns", "bumps into"):
        if words.startswith(f"{start} "):
            return f"{start} …"
    return words if words in DEEDS else OTHER


def draw_examples(asked: Sequence[Prediction], path: Path) -> None:
    """Draw clips one below the other: their frames, the question, and what was chosen."""
    parts = [_example(each) for each in asked]
    picture = Image.fromarray(np.concatenate(parts, axis=0))
    picture.quantize(256, Image.Quantize.MEDIANCUT).save(path, optimize=True)


def _example(asked: Prediction) -> Any:
    """One example as a picture, [height, width, 3]."""
    (media,) = asked.sample.clips
    assert media.path is not None
    frames = read_clip(media.path, num_frames=NUM_FRAMES, transform=ResizeCenterCrop(SIDE)).frames
    gap = np.full((SIDE, 3, 3), 255, np.uint8)
    strip = np.concatenate([part for frame in frames for part in (frame, gap)][:-1], axis=1)
    sample = asked.sample
    right = is_right(asked)
    said = "nothing" if asked.option is None else sample.candidates[asked.option]
    letters = zip(sample.letters, sample.candidates, strict=True)
    options = [f"({letter}) {option}" for letter, option in letters]
    verdict = [f"chosen: {said}", "right"] if right else [f"chosen: {said}", f"wrong; true: {sample.answer}"]
    color = "green" if right else "firebrick"
    told = ([sample.question], "black"), (options, "dimgray"), (verdict, color)
    lines = [(line, shade) for pieces, shade in told for line in _lines(pieces)]
    text = Image.new("RGB", (strip.shape[1], LINE * len(lines) + 12), "white")
    pen, font = ImageDraw.Draw(text), ImageFont.load_default(13)
    for number, (line, color) in enumerate(lines):
        pen.text((1, 2 + LINE * number), line, fill=color, font=font)
    return np.concatenate([strip, np.asarray(text)], axis=0)


def _lines(pieces: Sequence[str]) -> list[str]:
    """Put pieces side by side as long as there is room, and break only those that are longer than a line."""
    lines = [""]
    for piece in pieces:
        joined = f"{lines[-1]}   {piece}" if lines[-1] else piece
        if len(joined) <= WIDTH:
            lines[-1] = joined
        else:
            lines += textwrap.wrap(piece, WIDTH)
    return [line for line in lines if line]


def first_of_each_kind(choices: Choices, kinds: Sequence[str]) -> list[Prediction]:
    """The first question of each of some kinds, whatever came of it."""
    return [choices.of([kind])[0] for kind in kinds]


def first_mistakes(choices: Choices, most: int) -> list[Prediction]:
    """The first mistake in each of the kinds with the most of them."""
    wrong = {
        kind: [each for each in choices.of([kind]) if not is_right(each)]
        for kind in (*ORDER_KINDS, *ORDER_FREE)
    }
    ranked = sorted((kind for kind in wrong if wrong[kind]), key=lambda kind: -len(wrong[kind]))
    return [wrong[kind][0] for kind in ranked[:most]]


def _finish(figure: Figure, axes: Any, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = (found[-1:] + found[:-1] for found in axes.get_legend_handles_labels())
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Save in few colours, and without what tells the version of a library."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
    picture = Image.open(path).convert("RGB")
    picture.quantize(64, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


IN_PARTS: dict[str, Callable[[Scene, str], list[int]]] = {
    "state_change": _part_of_color,
    "scene_transition": _parts_of_backgrounds,
    "action_sequence": _part_of_event,
}
"""Kinds whose options are about things of different parts, and of which parts one is."""
OTHER = "other words"
DEEDS = (
    *("moves left", "moves right", "moves up", "moves down", "stays still"),
    *("moves left and back", "moves right and back", "moves up and back", "moves down and back"),
    *("blinks", "vanishes", "grows", "shrinks", "turns …", "bumps into …", OTHER),
)
"""What can be done, in the order of the picture."""
NUM_FRAMES = 8
SIDE = 80
LINE = 17
WIDTH = 92
"""Letters in a line below an example."""
