"""How the losses went, as a picture."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

NAMES = {"loss": "sum", "language_loss": "answers", "masked_video_loss": "masked video"}
"""Losses in the order in which they are drawn, one over the other."""


def plot_losses(metrics: Path, picture: Path) -> bool:
    """Draw the losses of all stages one after the other.

    Args:
        metrics: A `metrics.jsonl`.
        picture: Where to, PNG.

    Returns:
        Whether it was drawn: not without matplotlib, and not of nothing.
    """
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    if not lines or importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    ends = _draw(axes, lines)
    highest = axes.get_ylim()[1]
    for start, end, stage in ends:
        axes.text((start + end) / 2, highest, stage, ha="center", va="bottom", fontsize=9)
        if start:
            axes.axvline(start, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlabel="step", ylabel="loss", xlim=(0, ends[-1][1]))
    axes.set_ylim(bottom=0, top=highest)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=130)
    return True


def _draw(axes: Any, lines: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    """Draw every loss; first and last step of each stage, counted from the first stage's start."""
    ends: list[tuple[int, int, str]] = []
    curves: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in NAMES}
    for line in lines:
        if not ends or ends[-1][2] != line["stage"]:
            start = ends[-1][1] if ends else 0
            ends.append((start, start + line["steps"], line["stage"]))
            for x, y in curves.values():  # a gap between stages
                x.append(start)
                y.append(float("nan"))
        for name, (x, y) in curves.items():
            if line[name] is not None:
                x.append(ends[-1][0] + line["step"])
                y.append(line[name])
    differs = any(line["loss"] != line["language_loss"] for line in lines)
    for name, (x, y) in curves.items():
        if any(value == value for value in y) and (name != "loss" or differs):
            axes.plot(x, y, label=NAMES[name], linewidth=1.4)
    return ends
