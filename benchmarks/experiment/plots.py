"""A picture a question: bars with error bars, and learning curves with their spread."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiment.rows import BASELINE, Group, Row
from experiment.runs import Result
from poseglass_core.files import write_whole

COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Grey for the baseline, then those of Okabe and Ito that stand out on white: told apart by colour-blind readers."""


def group_picture(group: Group, results: Mapping[str, Mapping[int, Result]], out: Path) -> None:
    """Final PCK of every row, PCK by epoch and, where all rows have the same loss, training loss by epoch.

    Args:
        group: its rows that have results are shown.
        results: row name -> seed -> result.
        out: PNG to write.
    """
    rows = [(row, colour) for row, colour in zip(group.rows, COLOURS, strict=False) if results.get(row.name)]
    losses = len({row.loss for row in group.rows}) == 1
    figure = Figure(figsize=(11, 3.2 + 0.1 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 3 if losses else 2, width_ratios=(1.5, 1, 1) if losses else (1.2, 1))
    _bars(panels[0], rows, results)
    _curves(panels[1], "PCK@0.2 on dev (%)", [(c, [r.dev_pck for r in results[row.name].values()]) for row, c in rows])
    if losses:
        _curves(panels[2], "training loss", [(c, [r.loss for r in results[row.name].values()]) for row, c in rows])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_whole(out, buffer.getvalue())


def _bars(axes: Axes, rows: Sequence[tuple[Row, str]], results: Mapping[str, Mapping[int, Result]]) -> None:
    """Mean over seeds, one standard deviation either way, and every seed as a point."""
    labels = []
    for place, (row, colour) in enumerate(rows):
        finals = [result.dev_pck[-1] for result in results[row.name].values()]
        spread = np.std(finals, ddof=1) if len(finals) > 1 else None
        axes.barh(place, np.mean(finals), height=0.62, color=colour, alpha=0.55, linewidth=0)
        if spread is not None:
            axes.errorbar(np.mean(finals), place, xerr=spread, color="black", capsize=4, linewidth=1.2)
        offsets = place + 0.1 * (np.arange(len(finals)) - (len(finals) - 1) / 2)
        axes.scatter(finals, offsets, s=14, color=colour, edgecolor="white", linewidth=0.5, zorder=3)
        if row.name == BASELINE:
            axes.axvline(float(np.mean(finals)), color=colour, linewidth=0.8, linestyle="--", zorder=0)
        labels.append(f"{row.label}\n{len(finals)} seed{'s' if len(finals) > 1 else ''}")
    axes.set_yticks(range(len(rows)), labels, fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the baseline on top
    axes.set_xlim(left=0)
    axes.set_xlabel("PCK@0.2 on dev after the last epoch (%)")
    _tidy(axes, "x")


def _curves(axes: Axes, label: str, lines: Sequence[tuple[str, list[tuple[float, ...]]]]) -> None:
    """Mean over seeds and, from two on, a band of one standard deviation either way."""
    for colour, seeds in lines:
        values = np.array(seeds)  # [seeds, epochs]
        epochs, mean = np.arange(1, values.shape[1] + 1), values.mean(axis=0)
        axes.plot(epochs, mean, color=colour, marker="o", markersize=3, linewidth=1.5)
        if len(values) > 1:
            spread = values.std(axis=0, ddof=1)
            axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(axes, "both")


def _tidy(axes: Axes, grid: Literal["x", "both"]) -> None:
    axes.grid(axis=grid, alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
