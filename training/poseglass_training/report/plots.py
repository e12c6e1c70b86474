"""A report's plots, as SVG that takes the page's colours and font."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poseglass_core.metrics import PckResult
from poseglass_core.reliability import Reliability
from poseglass_core.skeleton import Skeleton
from poseglass_training.evaluation import THRESHOLD
from poseglass_training.report.analysis import CURVE, Analysis, Group

INK = "#010203"
"""Stands for the page's text colour, dark or light."""

COLOURS = ("#3b82f6", "#f07318", "#1f9d61", "#c03fd1", "#b98a00", "#e5484d", "#0e9aa7", "#8a8f98", "#9a6b4f")
"""Told apart on white and on near-black."""

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "poseglass",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


def curve_plot(analysis: Analysis, reference: str) -> str:
    """PCK over the threshold, by one or both diagonals."""

    def draw(axes: Axes) -> None:
        _curve(axes, analysis.curve, COLOURS[0], reference)
        if analysis.mirrored is not None:
            pair, curve = analysis.mirrored
            _curve(axes, curve, COLOURS[1], _spaced(" – ".join(pair)))
        _threshold_axes(axes)
        axes.legend(loc="lower right")

    return _svg("PCK by threshold", draw)


def joint_plot(analysis: Analysis, skeleton: Skeleton) -> str:
    """PCK of each joint over the threshold; left and right share a colour."""
    names = [row.joint for row in analysis.joints]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(min(name, skeleton.joints[skeleton.flip_index[skeleton.index(name)]]), []).append(name)

    def draw(axes: Axes) -> None:
        for i, (first, members) in enumerate(groups.items()):
            for name in members:
                label = _spaced(first.replace("left", "") if len(members) > 1 else name)
                axes.plot(
                    CURVE,
                    [point.per_joint[name] for point in analysis.curve],
                    color=COLOURS[i % len(COLOURS)],
                    linestyle="-" if name == first else "--",
                    linewidth=1.5,
                    label=label if name == first or len(members) == 1 else None,
                )
        _threshold_axes(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4, columnspacing=1, handlelength=1.2)

    rows = -(-len(groups) // 4)
    return _svg("PCK of each joint by threshold", draw, height=2.9 + 0.2 * rows)


def reliability_plot(scores: Reliability) -> str:
    """Share of right joints over their score, and how many have such a score."""
    means, shares, counts = (np.array(column) for column in zip(*scores.bins, strict=True))

    def draw(axes: Axes) -> None:
        axes.bar(means, 100 * counts / counts.sum(), width=0.06, color=COLOURS[7], alpha=0.45, label="share of joints")
        axes.plot([0, 1], [0, 100], color=INK, linewidth=0.8, linestyle=":", label="as good as its word")
        axes.plot(means, 100 * shares, color=COLOURS[0], marker="o", markersize=4, label="right")
        axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="score", ylabel="%")
        axes.grid(alpha=0.15)
        axes.legend(loc="upper left")

    return _svg("Reliability of the scores", draw)


def group_plot(title: str, groups: Sequence[Group]) -> str:
    """PCK of groups of people, with intervals."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(groups))
        values = np.array([group.result.pck for group in groups])
        low, high = np.array([group.result.interval for group in groups]).T
        axes.bar(places, values, width=0.62, color=COLOURS[0], alpha=0.75)
        whiskers = np.maximum([values - low, high - values], 0)
        axes.errorbar(places, values, yerr=whiskers, fmt="none", ecolor=INK, elinewidth=1.2, capsize=4)
        for place, group in zip(places, groups, strict=True):
            axes.annotate(f"{group.result.pck:.0f}", (place, 2), ha="center", va="bottom", color="white", weight="bold")
        axes.set_xticks(places, [f"{group.label}\n{group.result.people} people" for group in groups], fontsize=9)
        axes.set(ylim=(0, 100), ylabel=f"PCK@{THRESHOLD:g} (%)")
        axes.grid(axis="y", alpha=0.15)

    return _svg(title, draw, height=2.5)


def _curve(axes: Axes, curve: Sequence[PckResult], colour: str, label: str) -> None:
    low, high = np.array([point.interval for point in curve]).T
    axes.fill_between(CURVE, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(CURVE, [point.pck for point in curve], color=colour, linewidth=2, label=label)


def _threshold_axes(axes: Axes) -> None:
    axes.axvline(THRESHOLD, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlim=(CURVE[0], CURVE[-1]), ylim=(0, 100), xlabel="threshold (share of the reference length)")
    axes.set_xticks([0.1, 0.2, 0.3, 0.4, 0.5])
    axes.set_ylabel("right (%)")
    axes.grid(alpha=0.15)


def _spaced(name: str) -> str:
    return name.replace("_", " ").strip()


def _svg(title: str, draw: Callable[[Axes], None], height: float = 2.9) -> str:
    """One plot as an SVG element; small, so that its text is as large as the page's on a phone."""
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(4.2, height), layout="constrained")
        draw(drawing.subplots())
        written = io.StringIO()
        drawing.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # they repeat from plot to plot, and nothing refers to them
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)  # the page's instead
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
