"""Small charts as SVG text, for pages that are read offline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 150, 60, 22, 8
"""Pixels of a chart, and of its margins."""

POINTS = 600
"""Of a line, at most: a chart has no more pixels than that."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: for the pointer that rests on it.
        colour: as CSS has it.
        times: [N] seconds, not falling.
        values: [N]; NaN breaks the line.
    """

    name: str
    colour: str
    times: Array
    values: Array


def line_chart(lines: Sequence[Line], span: tuple[float, float], low: float, high: float, unit: str = "") -> str:
    """Values over time.

    Args:
        lines: to draw.
        span: first and last second.
        low, high: of the values' axis.
        unit: of the values, behind their numbers.
    """
    high = high if high > low else low + 1
    parts = [_frame(span, [(low, f"{low:g}{unit}"), (high, f"{high:g}{unit}")], low, high)]
    for line in lines:
        for run in _runs(*thinned(line.times, line.values)):
            points = " ".join(f"{_x(t, span):.1f},{_y(v, low, high):.1f}" for t, v in run)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.3" '
                f'stroke-linecap="round"><title>{escape(line.name)}</title></polyline>'
            )
    return _svg(HEIGHT, parts)


def band_chart(bands: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], span: tuple[float, float]) -> str:
    """Who is there when: a row a name, a bar a stretch of time.

    Args:
        bands: (name, colour, [(first second, last second)]).
        span: first and last second.
    """
    step = 16
    height = TOP + step * len(bands) + BOTTOM
    parts = [_frame(span, [], 0, 1, height)]
    for i, (name, colour, stretches) in enumerate(bands):
        y = TOP + step * i
        parts.append(f'<text x="{LEFT - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        for start, end in stretches:
            x, width = _x(start, span), max(_x(end, span) - _x(start, span), 1)
            title = f"{escape(name)}: {start:.2f} to {end:.2f} s"
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{step - 4}" fill="{colour}">'
                f"<title>{title}</title></rect>"
            )
    return _svg(height, parts)


def path_chart(lines: Sequence[tuple[str, str, Array]], size: tuple[float, float]) -> str:
    """Paths over the picture.

    Args:
        lines: (name, colour, [N, 2] pixels, NaN breaks the path).
        size: (height, width) of the picture.
    """
    height, width = size
    scale = min(WIDTH / width, 420 / height)
    parts = [f'<rect x="0" y="0" width="{width * scale:.1f}" height="{height * scale:.1f}" fill="none" stroke="#999"/>']
    for name, colour, points in lines:
        thin = points[:: max(1, len(points) // (2 * POINTS))] * scale
        for run in _runs(thin[:, 0], thin[:, 1]):
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            parts.append(
                f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.3" stroke-linecap="round">'
                f"<title>{escape(name)}</title></polyline>"
            )
    return _svg(height * scale, parts, width * scale)


def thinned(times: Array, values: Array) -> tuple[Array, Array]:
    """At most about `POINTS` points: the mean of each stretch of time, NaN where nothing in it is known."""
    if len(times) <= POINTS:
        return times, values
    bins = np.minimum((np.arange(len(times)) * POINTS) // len(times), POINTS - 1)
    known = np.isfinite(values)
    counts = np.bincount(bins[known], minlength=POINTS)
    sums = np.bincount(bins[known], values[known], minlength=POINTS)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.bincount(bins, times, minlength=POINTS) / np.bincount(bins, minlength=POINTS), means


def _runs(first: Array, second: Array) -> list[list[tuple[float, float]]]:
    """Points between breaks; one alone is doubled, so that it shows as a dot."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(first.tolist(), second.tolist(), strict=True):
        if math.isnan(x) or math.isnan(y):
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run * 2 if len(run) == 1 else run for run in runs if run]


def _x(time: float, span: tuple[float, float]) -> float:
    return LEFT + (time - span[0]) / max(span[1] - span[0], 1e-9) * (WIDTH - LEFT - 8)


def _y(value: float, low: float, high: float, height: float = HEIGHT) -> float:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return height - BOTTOM - share * (height - BOTTOM - TOP)


def _frame(
    span: tuple[float, float], ticks: Sequence[tuple[float, str]], low: float, high: float, height: float = HEIGHT
) -> str:
    """Axes: times below, values at the left."""
    base = height - BOTTOM
    parts = [
        f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - 8}" fill="none" stroke="#999"/>',
        f'<text x="{LEFT}" y="{height - 6}">{span[0]:.1f} s</text>',
        f'<text x="{WIDTH - 8}" y="{height - 6}" text-anchor="end">{span[1]:.1f} s</text>',
    ]
    for value, text in ticks:
        y = _y(value, low, high, height) + 4
        parts.append(f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end">{escape(text)}</text>')
    return "".join(parts)


def _svg(height: float, parts: Sequence[str], width: float = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">{"".join(parts)}</svg>'
